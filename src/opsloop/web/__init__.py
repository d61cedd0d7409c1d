"""HTTP only: the intake of alerts, the JSON API, and the stand-in for Slack and PagerDuty."""
