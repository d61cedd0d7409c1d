"""messages.tmpl: what people read in Slack, PagerDuty and mail, as Alertmanager's templates."""

from __future__ import annotations

MESSAGES_TMPL = "alertmanager/messages.tmpl"
DETAILED = 10  # alerts of a group that are told in full

# The names of a group's alerts, each once; a group holds all alerts of a service and severity.
_NAMES = (
    '{{{{ $seen := "," }}}}{{{{ range {alerts} }}}}{{{{ $name := .Labels.alertname }}}}'
    '{{{{ if not (match (print "," $name ",") $seen) }}}}'
    '{{{{ if ne $seen "," }}}}, {{{{ end }}}}{{{{ $name }}}}'
    '{{{{ $seen = print $seen $name "," }}}}{{{{ end }}}}{{{{ end }}}}'
)
# What still fires, when anything does: a group also holds alerts that have just ended.
NAMES = (
    "{{ if .Alerts.Firing }}"
    + _NAMES.format(alerts=".Alerts.Firing")
    + "{{ else }}"
    + _NAMES.format(alerts=".Alerts")
    + "{{ end }}"
)
TITLE = (
    '{{ if eq .Status "firing" }}[{{ .CommonLabels.severity }}] {{ else }}[resolved] {{ end }}'
    + NAMES
    + "{{ with .CommonLabels.original }} of {{ . }}{{ end }}"
    "{{ with .CommonLabels.service }}: {{ . }}{{ end }}"
    "{{ if gt (len .Alerts.Firing) 1 }} ({{ .Alerts.Firing | len }} firing){{ end }}"
)
TEXT = (
    "{{ range $i, $a := .Alerts }}{{ if lt $i "
    + str(DETAILED)
    + """ }}*{{ .Annotations.summary }}*{{ if eq .Status "resolved" }} (resolved){{ end }}
{{ with .Annotations.description }}{{ . }}
{{ end }}{{ if eq .Status "firing" }}{{ with .Annotations.impact }}Impact: {{ . }}
{{ end }}{{ if not .Labels.original }}{{ with .Annotations.remediation }}Loop: {{ . }}
{{ end }}{{ end }}{{ with .Annotations.first_steps }}First steps:
{{ . }}
{{ end }}{{ end }}{{ with .Labels.team }}Team: {{ . }}
{{ end }}{{ with .Annotations.runbook }}Runbook: {{ . }}
{{ end }}{{ with .Annotations.dashboard }}Dashboard: {{ . }}
{{ end }}{{ with .Annotations.console }}Console: {{ . }}
{{ end }}
{{ end }}{{ end }}{{ if gt (len .Alerts) """
    + str(DETAILED)
    + """ }}and {{ len (slice .Alerts """
    + str(DETAILED)
    + """) }} more{{ end }}"""
)
SUMMARY = (
    "{{ with .Alerts.Firing }}{{ (index . 0).Annotations.summary }}"
    "{{ if gt (len .) 1 }} and {{ len (slice . 1) }} more{{ end }}"
    "{{ else }}{{ (index .Alerts 0).Annotations.summary }}{{ end }}"
)
COLOUR = (
    '{{ if ne .Status "firing" }}good{{ else if eq .CommonLabels.severity "P0" }}danger'
    '{{ else if eq .CommonLabels.severity "P2" }}#439FE0{{ else }}warning{{ end }}'
)
PAGERDUTY_SEVERITY = (
    '{{ if eq .CommonLabels.severity "P0" }}critical'
    '{{ else if eq .CommonLabels.severity "P2" }}warning{{ else }}error{{ end }}'
)
SINCE = '{{ (index .Alerts 0).StartsAt.UTC.Format "2006-01-02 15:04:05 UTC" }}'
DETAILS = ("description", "impact", "first_steps", "remediation")
# Alertmanager's own page of this receiver's alerts.
ALERTS = '{{ template "slack.default.titlelink" . }}'


def _web(annotation: str, other: str) -> str:
    """The first alert's link, where it is an address of the web: vendors refuse anything else."""
    return (
        f"{{{{ $link := (index .Alerts 0).Annotations.{annotation} }}}}"
        f'{{{{ if match "^https?://" $link }}}}{{{{ $link }}}}{{{{ else }}}}{other}{{{{ end }}}}'
    )


CONSOLE = _web("console", ALERTS)
RUNBOOK = _web("runbook", ALERTS)
# A new silence of what the group has in common, ready to be sent. The labels are Alertmanager's
# own matchers; `#/` is the page of its web interface.
SILENCE = (
    "{{ .ExternalURL }}/#/silences/new?filter=%7B{{ range $i, $p := .GroupLabels.SortedPairs }}"
    "{{ if .Value }}{{ .Name }}%3D%22{{ urlquery .Value }}%22%2C{{ end }}{{ end }}"
    "{{ with .CommonLabels.alertname }}alertname%3D%22{{ . }}%22{{ end }}%7D"
)
LINKS = (
    ("Console", _web("console", "")),
    ("Runbook", _web("runbook", "")),
    ("Dashboard", _web("dashboard", "")),
)


def each(annotation: str) -> str:
    """An annotation of every alert of the group, a line each."""
    return (
        f"{{{{ range $i, $a := .Alerts }}}}{{{{ if lt $i {DETAILED} }}}}"
        f"{{{{ with .Annotations.{annotation} }}}}{{{{ . }}}}\n{{{{ end }}}}"
        "{{ end }}{{ end }}"
    )


def template(name: str) -> str:
    """How a receiver names one of the templates of messages.tmpl."""
    return f'{{{{ template "opsloop.{name}" . }}}}'


def messages_tmpl() -> str:
    """Every template once, however many receivers there are."""
    made = {
        "title": TITLE,
        "names": NAMES,
        "text": TEXT,
        "summary": SUMMARY,
        "colour": COLOUR,
        "pagerduty.severity": PAGERDUTY_SEVERITY,
        "since": SINCE,
        "console": CONSOLE,
        "runbook": RUNBOOK,
        "silence": SILENCE,
        **{f"link.{text.lower()}": href for text, href in LINKS},
        **{f"each.{name}": each(name) for name in DETAILS},
    }
    made |= {f"label.{name}": _label(name) for name in ("severity", "team", "environment")}
    return (
        "\n".join(
            f'{{{{ define "opsloop.{name}" }}}}{text}{{{{ end }}}}' for name, text in made.items()
        )
        + "\n"
    )


def _label(name: str) -> str:
    return f"{{{{ with .CommonLabels.{name} }}}}{{{{ . }}}}{{{{ else }}}}-{{{{ end }}}}"
