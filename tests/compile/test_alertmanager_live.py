"""Who is told what and when, in the real Alertmanager, on what compile makes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opsloop import names
from opsloop.compile.options import Options
from opsloop.settings import Ports
from opsloop.web.vendors import check_pagerduty, check_slack, check_webhook
from tests.compile import catalogs
from tests.support.servers import Server, alertmanager
from tests.support.stack import free_port_base
from tests.support.wait import wait_until
from tests.support.webhook import Receiver, receiver

TOKEN = "a-token-of-this-test"
CATALOG = """\
apiVersion: opsloop/v1
stack: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms, loop_interval: 500ms}
processes:
  api: {command: [api], slots: 2, port: 8000}
  web: {command: [web], port: 8010}
  idle: {command: [idle], port: 8020}
services:
  api: {team: shop, process: api, metrics: http, alerts: {window: 2s}}
  web: {team: shop, process: web, metrics: http, alerts: {window: 2s}}
  idle: {team: shop, process: idle}
notifications:
  maintenance:
    always: {services: [idle], start: "00:00", end: "24:00"}
remediation:
  mode: auto
  policies:
    restart:
      when: {alert: [ServiceDown, HighErrorRate], service: [api, web, idle]}
      steps: [restart]
      limits: {max_runs: 6, window: 1h}
      verify: {hold: 1s}
"""
# Its grace is 3.5 s: 2 scrapes and a time-out, hold, 2 evaluations.


@dataclass
class Stage:
    """Alertmanager, and recorders in the place of the engine and of Slack and PagerDuty."""

    server: Server
    people: Receiver
    engine: Receiver | None
    started: float = field(default_factory=time.time)

    def post(self, labels: dict[str, str], *, ends_at: float | None = None, **said: str) -> None:
        """Post one alert; without `ends_at` it fires for an hour."""
        self.server.post(
            "/api/v2/alerts",
            [
                {
                    "labels": labels,
                    "annotations": {"summary": f"{labels['alertname']} fires", **said},
                    "startsAt": _stamp(self.started),
                    "endsAt": _stamp(ends_at or self.started + 3600),
                }
            ],
        )

    def resolve(self, labels: dict[str, str]) -> None:
        self.post(labels, ends_at=time.time())

    def slack(self) -> list[str]:
        """Title and text of each message that people got, oldest first."""
        sent = [r.json() for r in self.people.received if r.path == "/slack"]
        for body in sent:
            assert check_slack(body) == []
        return [f"{a['title']}\n{a['text']}" for body in sent for a in body["attachments"]]

    def pages(self) -> list[dict[str, Any]]:
        """PagerDuty's events, oldest first."""
        sent = [r.json() for r in self.people.received if r.path == "/pagerduty/v2/enqueue"]
        for body in sent:
            assert check_pagerduty(body) == []
        return sent

    def told_engine(self) -> list[tuple[str, str, str]]:
        """(alert, instance, status) of each alert that the engine got, oldest first."""
        assert self.engine is not None
        found = []
        for request in self.engine.received:
            assert request.path == "/api/v1/alerts"
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
            body = request.json()
            assert check_webhook(body) == []
            for alert in body["alerts"]:
                labels = alert["labels"]
                found.append((labels["alertname"], labels.get("instance", ""), alert["status"]))
        return found

    def until_told(self, word: str) -> str:
        """The first message that has this word in it."""
        return wait_until(
            lambda: next((m for m in self.slack() if word in m), ""), f"people hear of {word}"
        )


@contextmanager
def stage(
    tmp_path: Path, *, engine: bool = True, text: str = CATALOG, stand_ins: tuple[str, ...] = ()
) -> Iterator[Stage]:
    """stand_ins: files of secrets that the catalog names and that are not there."""
    ports = Ports(free_port_base())
    catalog = catalogs.catalog_of(text, tmp_path / "catalog")
    build = catalogs.built(catalog, tmp_path, Options(ports=ports, stand_ins=stand_ins))
    secrets = tmp_path / names.SECRETS_DIR
    secrets.mkdir()
    (secrets / names.SECRET_WEBHOOK_TOKEN).write_text(TOKEN)
    (secrets / names.SECRET_SLACK_URL).write_text(f"http://127.0.0.1:{ports.inbox}/slack")
    (secrets / names.SECRET_PAGERDUTY_KEY).write_text("0123456789abcdef0123456789abcdef")
    config = build / names.ALERTMANAGER_YML
    with ExitStack() as stack:
        people = stack.enter_context(receiver(ports.inbox))
        people.answer(200, b"ok")  # as Slack does; newer Alertmanagers read it
        loop = stack.enter_context(receiver(ports.engine)) if engine else None
        server = stack.enter_context(alertmanager(config, config.parent))
        yield Stage(server, people, loop)


def down(service: str, instance: str) -> dict[str, str]:
    """ServiceDown as the rules of the catalog make it."""
    return {
        "alertname": names.SERVICE_DOWN,
        "severity": "P0",
        "policy": "restart",
        "service": service,
        "team": "shop",
        "tier": "2",
        "environment": "demo",
        "instance": instance,
    }


def of_engine(alert: str, original: dict[str, str]) -> dict[str, str]:
    return {**original, "alertname": alert, names.ORIGINAL: original["alertname"]}


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def test_a_fault_that_is_healed_within_the_grace_wakes_nobody(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.post(down("api", "healed:1"))
        wait_until(
            lambda: ("ServiceDown", "healed:1", "firing") in s.told_engine(), "the engine is told"
        )
        assert s.slack() == []
        s.resolve(down("api", "healed:1"))
        wait_until(
            lambda: ("ServiceDown", "healed:1", "resolved") in s.told_engine(),
            "the engine is told of the end",
        )
        # A fault of the same grace that begins later and stays: when people hear of it, the
        # grace of the first is long over.
        s.post(down("web", "lasting:1"), ends_at=time.time() + 3600)
        s.until_told("web")
        assert len(s.slack()) == 1
        assert "healed:1" not in str([r.body for r in s.people.received])


def test_without_an_engine_people_are_told_after_the_grace(tmp_path: Path) -> None:
    with stage(tmp_path, engine=False) as s:
        s.started = time.time()
        s.post(down("api", "lasting:1"), summary="lasting:1 of api is down")
        s.post({"alertname": "Unmet", "severity": "P1", "service": "web", "team": "shop"})
        s.until_told("lasting:1")
        titles = [m.splitlines()[0] for m in s.slack()]
        assert titles == ["[P1] Unmet: web", "[P0] ServiceDown: api"]
        page = wait_until(s.pages, "PagerDuty is told")[0]
        assert page["event_action"] == "trigger"
        assert page["payload"]["severity"] == "critical"
        assert page["payload"]["summary"] == "lasting:1 of api is down"
        s.resolve(down("api", "lasting:1"))
        s.until_told("[resolved] ServiceDown: api")
        wait_until(lambda: s.pages()[-1]["event_action"] == "resolve", "PagerDuty is told of it")


def test_a_page_names_and_counts_what_still_fires(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        ended, lasting = down("api", "a-ended:1"), down("api", "b-lasting:1")
        s.post(ended, summary="a-ended:1 of api is down")
        wait_until(s.pages, "PagerDuty is told of the first")
        s.resolve(ended)
        s.started = time.time()
        s.post(lasting, summary="b-lasting:1 of api is down")
        page = wait_until(
            lambda: [p for p in s.pages() if "b-lasting:1" in str(p)], "and of the second"
        )
        assert page[0]["payload"]["summary"] == "b-lasting:1 of api is down"


def test_an_alert_that_joins_a_live_group_is_not_told_early(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.post(down("api", "first:1"), description="first:1")
        s.until_told("first:1")
        # Its group lives now, and is told again at any moment of the next grace.
        second = down("api", "second:1")
        s.started = time.time()
        s.post(of_engine(names.REMEDIATION_RUNNING, second))
        s.post(second, description="second:1")
        s.post(down("web", "later:1"), description="later:1")
        s.until_told("later:1")  # a whole grace after the second began
        assert not [m for m in s.slack() if "second:1" in m]
        assert not [t for t in s.told_engine() if t[0] == names.REMEDIATION_RUNNING]
        s.post(of_engine(names.REMEDIATION_RUNNING, second), ends_at=time.time())
        assert "second:1" in s.until_told("second:1"), "and is told when the loop gives up"


@pytest.mark.parametrize("word", [names.REMEDIATION_FAILED, names.APPROVAL_NEEDED])
def test_people_read_one_page_of_what_the_loop_could_not_fix(tmp_path: Path, word: str) -> None:
    with stage(tmp_path) as s:
        fault = down("api", "broken:1")
        s.post(fault, description="broken:1 does not answer")
        wait_until(
            lambda: ("ServiceDown", "broken:1", "firing") in s.told_engine(), "the engine is told"
        )
        s.post(
            of_engine(word, fault),
            summary="ServiceDown on api (broken:1) needs a person",
            description="Tried: restart, twice",
        )
        message = s.until_told(word)
        assert message.startswith(f"[P0] {word} of ServiceDown: api")
        assert "Tried: restart, twice" in message
        s.post(down("web", "later:1"), ends_at=time.time() + 3600)
        s.until_told("web")  # the grace of the first is over
        assert [m for m in s.slack() if "ServiceDown: api" in m] == [message]
        summaries = [p["payload"]["summary"] for p in s.pages()]
        assert summaries[0] == "ServiceDown on api (broken:1) needs a person"
        assert len(summaries) == 2
        assert not [t for t in s.told_engine() if t[0] == word]


def test_the_failure_of_one_instance_hides_no_other_and_no_other_alert(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        s.post(of_engine(names.REMEDIATION_FAILED, down("api", "broken:1")))
        s.until_told("RemediationFailed")
        s.post(down("api", "other:1"), description="other:1")
        errors = {**down("web", ""), "alertname": names.HIGH_ERROR_RATE}
        s.post(of_engine(names.REMEDIATION_FAILED, {**errors, "alertname": names.SERVICE_DOWN}))
        s.post(errors, description="errors")
        s.until_told("other:1")
        s.until_told("HighErrorRate: web")


def test_a_maintenance_window_mutes_people_and_not_the_engine(tmp_path: Path) -> None:
    with stage(tmp_path) as s:
        muted = {**down("idle", "muted:1"), "alertname": "Unmet", "severity": "P1"}
        s.post(muted, description="muted:1")
        s.post(of_engine(names.REMEDIATION_FAILED, down("idle", "muted:2")))
        wait_until(lambda: ("Unmet", "muted:1", "firing") in s.told_engine(), "the engine is told")
        s.post({"alertname": "Unmet", "severity": "P1", "service": "web"}, description="seen")
        s.until_told("seen")
        s.post(of_engine(names.REMEDIATION_FAILED, down("web", "seen:2")))
        s.until_told("RemediationFailed of ServiceDown: web")
        assert not [m for m in s.slack() if "idle" in m or "muted" in m]


def test_a_database_that_is_down_explains_the_errors_of_what_depends_on_it(tmp_path: Path) -> None:
    text = CATALOG.replace("api: {team: shop,", "api: {team: shop, depends_on: [idle],")
    catalog = catalogs.catalog_of(text, tmp_path / "catalog")
    config = catalogs.built(catalog, tmp_path) / names.ALERTMANAGER_YML
    secrets = tmp_path / names.SECRETS_DIR
    secrets.mkdir()
    (secrets / names.SECRET_SLACK_URL).write_text("http://127.0.0.1:9/slack")
    with alertmanager(config, config.parent) as server:
        s = Stage(server, people=None, engine=None)  # type: ignore[arg-type]
        symptom = {"alertname": names.HIGH_ERROR_RATE, "severity": "P1", "environment": "demo"}
        s.post(down("idle", "db:1"))
        for service in ("api", "web"):
            s.post({**symptom, "service": service})

        def inhibited() -> dict[str, bool]:
            alerts = server.get("/api/v2/alerts")
            assert len(alerts) == 3
            return {a["labels"]["service"]: bool(a["status"]["inhibitedBy"]) for a in alerts}

        wait_until(lambda: inhibited()["api"], "the dependent's errors are inhibited")
        assert inhibited() == {"idle": False, "api": True, "web": False}
