"""Receivers of alertmanager.yml: the engine, Slack, PagerDuty, mail, webhooks and a heartbeat."""

from __future__ import annotations

from typing import Any, TypeAlias

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.notify import Email, Heartbeat, PagerDuty, Slack
from opsloop.compile import places
from opsloop.compile.audience import Ways, audiences
from opsloop.compile.messages import DETAILS, LINKS, template
from opsloop.compile.options import Options

ENGINE_MAX_ALERTS = 10_000
SECRETS = f"../../{names.SECRETS_DIR}"
HEARTBEAT = "heartbeat"
STAND_IN_KEY = "opsloop-stand-in-routing-key-000"  # 32 characters, as PagerDuty's own; no secret

Node: TypeAlias = dict[str, Any]


def receivers(catalog: Catalog, options: Options) -> list[Node]:
    """Every receiver that a route may name."""
    make = _Receivers(catalog, options)
    found = [make.people(name, ways) for name, ways in audiences(catalog, options).items()]
    found += [make.engine(), {"name": names.RECEIVER_NOBODY}]
    if catalog.notifications.heartbeat is not None:
        found.append(make.heartbeat(catalog.notifications.heartbeat))
    return found


class _Receivers:
    """Makes receivers for one catalog: who stands in for whom is the options'."""

    def __init__(self, catalog: Catalog, options: Options) -> None:
        self._catalog = catalog
        self._options = options
        inbox = places.address(catalog.stack.bind, options.ports.inbox)
        self._inbox = f"http://{inbox}"

    def people(self, name: str, ways: Ways) -> Node:
        found: Node = {"name": name}
        if ways.pagerduty:
            found["pagerduty_configs"] = [self._pagerduty(ways.pagerduty)]
        found["slack_configs"] = [self._slack(ways.slack)]
        mail, hook = ways.email, ways.webhook
        hooks = [self._webhook("alerts", hook.url, hook.token_file)] if hook else []
        if mail and self._stood_in(mail.password_file):
            hooks.append(self._webhook("email", "", mail.password_file))
        elif mail:
            found["email_configs"] = [_email(mail)]
        if hooks:
            found["webhook_configs"] = hooks
        return found

    def engine(self) -> Node:
        catalog, ports = self._catalog, self._options.ports
        address = places.address(catalog.stack.bind, ports.engine)
        hook = {
            "url": f"http://{address}/api/v1/alerts",
            "send_resolved": True,
            "max_alerts": ENGINE_MAX_ALERTS,
            "http_config": _bearer(f"{SECRETS}/{names.SECRET_WEBHOOK_TOKEN}"),
        }
        return {"name": names.RECEIVER_ENGINE, "webhook_configs": [hook]}

    def heartbeat(self, given: Heartbeat) -> Node:
        hook = self._webhook(HEARTBEAT, given.url, given.token_file)
        return {"name": HEARTBEAT, "webhook_configs": [hook | {"send_resolved": False}]}

    def _stood_in(self, file: str | None) -> bool:
        return file is not None and file in self._options.stand_ins

    def _webhook(self, stand_in: str, url: str, token_file: str | None) -> Node:
        if self._stood_in(token_file):
            return {"url": f"{self._inbox}/webhook/{stand_in}", "send_resolved": True}
        hook: Node = {"url": url, "send_resolved": True}
        if token_file:
            hook["http_config"] = _bearer(places.beside_catalog(token_file))
        return hook

    def _slack(self, slack: Slack) -> Node:
        node: Node = {"channel": slack.channel}
        if self._stood_in(slack.url_file):
            node["api_url"] = f"{self._inbox}/slack/services/demo"
        elif slack.url_file:
            node["api_url_file"] = places.beside_catalog(slack.url_file)
        fields = {label.title(): f"label.{label}" for label in ("severity", "team", "environment")}
        fields["Since"] = "since"
        buttons = ("console", "runbook", "silence")
        return node | {
            "send_resolved": True,
            "username": "opsloop",
            "color": template("colour"),
            "title": template("title"),
            "title_link": template("console"),
            "fallback": template("title"),
            "text": template("text"),
            "fields": [
                {"title": title, "value": template(name), "short": True}
                for title, name in fields.items()
            ],
            "actions": [
                {"type": "button", "text": name.title(), "url": template(name)} for name in buttons
            ],
        }

    def _pagerduty(self, given: PagerDuty) -> Node:
        file = given.routing_key_file
        own = f"{SECRETS}/{names.SECRET_PAGERDUTY_KEY}"
        node: Node = {"routing_key_file": places.beside_catalog(file) if file else own}
        if self._stood_in(file):
            node = {"routing_key": STAND_IN_KEY}
        if self._stood_in(file) or (not file and self._options.pagerduty == "stand-in"):
            node["url"] = f"{self._inbox}/pagerduty/v2/enqueue"
        return node | {
            "send_resolved": True,
            "severity": template("pagerduty.severity"),
            "description": template("summary"),
            "class": template("names"),
            "component": "{{ .CommonLabels.service }}",
            "group": "{{ .CommonLabels.team }}",
            "client": "opsloop",
            "client_url": template("console"),
            "links": [
                {"href": template(f"link.{text.lower()}"), "text": text} for text, _ in LINKS
            ],
            "details": {"alerts": template("title")}
            | {name: template(f"each.{name}") for name in DETAILS}
            | {"runbook": "{{ (index .Alerts 0).Annotations.runbook }}"},
        }


def _bearer(file: str) -> Node:
    return {"authorization": {"type": "Bearer", "credentials_file": file}}


def _email(mail: Email) -> Node:
    node: Node = {
        "to": mail.to,
        "from": mail.from_,
        "smarthost": mail.smarthost,
        "require_tls": mail.require_tls,
        "send_resolved": True,
    }
    if mail.username:
        node["auth_username"] = mail.username
    if mail.password_file:
        node["auth_password_file"] = places.beside_catalog(mail.password_file)
    return node | {"headers": {"Subject": template("title")}, "html": "", "text": template("text")}
