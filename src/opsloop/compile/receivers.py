"""Receivers of alertmanager.yml: the engine, Slack, PagerDuty, and what people read there."""

from __future__ import annotations

from typing import Any, TypeAlias

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile import places
from opsloop.compile.options import Options

PEOPLE = "people"  # Slack
PEOPLE_PAGE = "people-page"  # PagerDuty and Slack
ENGINE_MAX_ALERTS = 10_000
SECRETS = f"../../{names.SECRETS_DIR}"

Node: TypeAlias = dict[str, Any]


def pages(catalog: Catalog, options: Options) -> bool:
    """Whether P0 goes to PagerDuty too."""
    return options.pagerduty != "none" and catalog.notifications.pagerduty is not None


def people(catalog: Catalog, options: Options, severity: str) -> str:
    """The receiver for a severity."""
    return PEOPLE_PAGE if severity == "P0" and pages(catalog, options) else PEOPLE


def receivers(catalog: Catalog, options: Options) -> list[Node]:
    """Every receiver that a route names."""
    bind, ports = catalog.stack.bind, options.ports
    slack = _slack(catalog)
    found: list[Node] = [
        {"name": PEOPLE, "slack_configs": [slack]},
        {
            "name": names.RECEIVER_ENGINE,
            "webhook_configs": [
                {
                    "url": f"http://{places.address(bind, ports.engine)}/api/v1/alerts",
                    "send_resolved": True,
                    "max_alerts": ENGINE_MAX_ALERTS,
                    "http_config": {
                        "authorization": {
                            "type": "Bearer",
                            "credentials_file": f"{SECRETS}/{names.SECRET_WEBHOOK_TOKEN}",
                        }
                    },
                }
            ],
        },
        {"name": names.RECEIVER_NOBODY},
    ]
    if pages(catalog, options):
        found.append(
            {
                "name": PEOPLE_PAGE,
                "pagerduty_configs": [_pagerduty(catalog, options)],
                "slack_configs": [slack],
            }
        )
    return found


_TITLE = (
    '{{ if eq .Status "firing" }}[{{ .CommonLabels.severity }}] '
    "{{ else }}[resolved] {{ end }}{{ .CommonLabels.alertname }}"
    "{{ with .CommonLabels.original }} of {{ . }}{{ end }}"
    "{{ with .CommonLabels.service }}: {{ . }}{{ end }}"
    "{{ if gt (len .Alerts) 1 }} ({{ .Alerts.Firing | len }} firing){{ end }}"
)
_TEXT = """{{ range .Alerts }}*{{ .Annotations.summary }}*{{ if eq .Status "resolved" }} (resolved){{ end }}
{{ with .Annotations.description }}{{ . }}
{{ end }}{{ with .Annotations.impact }}Impact: {{ . }}
{{ end }}{{ if not .Labels.original }}{{ with .Annotations.remediation }}Loop: {{ . }}
{{ end }}{{ end }}{{ with .Labels.team }}Team: {{ . }}
{{ end }}{{ with .Annotations.runbook }}Runbook: {{ . }}
{{ end }}{{ with .Annotations.dashboard }}Dashboard: {{ . }}
{{ end }}{{ with .Annotations.console }}Console: {{ . }}
{{ end }}
{{ end }}"""
# What still fires, when anything does: a group also holds alerts that have just ended.
_SUMMARY = (
    "{{ with .Alerts.Firing }}{{ (index . 0).Annotations.summary }}"
    "{{ if gt (len .) 1 }} and {{ len (slice . 1) }} more{{ end }}"
    "{{ else }}{{ (index .Alerts 0).Annotations.summary }}{{ end }}"
)
_COLOUR = (
    '{{ if ne .Status "firing" }}good{{ else if eq .CommonLabels.severity "P0" }}danger'
    "{{ else }}warning{{ end }}"
)


# The console's page of the first alert; an alert of someone else's may have none.
_LINK = (
    "{{{{ with (index .Alerts 0).Annotations.console }}}}{{{{ . }}}}"
    '{{{{ else }}}}{{{{ template "{}" . }}}}{{{{ end }}}}'
)


def _slack(catalog: Catalog) -> Node:
    return {
        "channel": catalog.notifications.slack.channel,
        "send_resolved": True,
        "username": "opsloop",
        "color": _COLOUR,
        "title": _TITLE,
        "title_link": _LINK.format("slack.default.titlelink"),
        "fallback": _TITLE,
        "text": _TEXT,
    }


def _pagerduty(catalog: Catalog, options: Options) -> Node:
    node: Node = {"routing_key_file": f"{SECRETS}/{names.SECRET_PAGERDUTY_KEY}"}
    if options.pagerduty == "stand-in":
        inbox = places.address(catalog.stack.bind, options.ports.inbox)
        node["url"] = f"http://{inbox}/pagerduty/v2/enqueue"
    return node | {
        "send_resolved": True,
        "severity": '{{ if eq .CommonLabels.severity "P0" }}critical{{ else }}error{{ end }}',
        "description": _SUMMARY,
        "class": "{{ .CommonLabels.alertname }}",
        "component": "{{ .CommonLabels.service }}",
        "group": "{{ .CommonLabels.team }}",
        "client": "opsloop",
        "client_url": _LINK.format("pagerduty.default.clientURL"),
        "details": {
            "description": "{{ range .Alerts }}{{ .Annotations.description }}\n{{ end }}",
            "remediation": "{{ range .Alerts }}{{ .Annotations.remediation }}\n{{ end }}",
            "runbook": "{{ (index .Alerts 0).Annotations.runbook }}",
        },
    }
