"""The model of Alertmanager says what the real one does: grouping, inhibition, its end, resolving."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.alert_people import People
from benchmarks.alert_replay import Firing
from tests.support.servers import Server, alertmanager
from tests.support.wait import wait_until
from tests.support.webhook import Receiver, receiver

CONFIG = """\
route:
  receiver: people
  group_by: [service]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
  routes:
    - matchers: ['policy!=""']
      receiver: engine
      group_by: ["..."]
      group_wait: 0s
      continue: true
    - matchers: ['severity="P0"']
      receiver: page
inhibit_rules:
  - source_matchers: ['alertname="Down"']
    target_matchers: ['alertname="Slow"']
    equal: [service]
receivers:
  - {name: people, %(people)s}
  - {name: page, %(page)s}
  - {name: engine}
"""
Told = tuple[str, tuple[str, ...], str]


def post(server: Server, alert: str, begin: float, end: float, **labels: str) -> Firing:
    found = {"alertname": alert, **labels}
    times = {
        k: datetime.fromtimestamp(v, UTC).isoformat()
        for k, v in (("startsAt", begin), ("endsAt", end))
    }
    server.post("/api/v2/alerts", [{"labels": found, **times}])
    return Firing(alert, found, begin, end)


def heard(sink: Receiver) -> set[Told]:
    """(receiver, alerts that fire, status) of each message."""
    return {
        (
            request.path.strip("/"),
            tuple(
                sorted(a["labels"]["alertname"] for a in body["alerts"] if a["status"] == "firing")
            ),
            body["status"],
        )
        for request in sink.received
        if (body := request.json())
    }


def modelled(firings: list[Firing]) -> set[Told]:
    text = CONFIG % {"people": "slack_configs: [{}]", "page": "pagerduty_configs: [{}]"}
    return {
        (t.receiver, tuple(sorted(f.alert for f in t.new)), "resolved" if t.resolved else "firing")
        for t in People(text).told(firings)
    }


def test_the_model_tells_what_alertmanager_tells(tmp_path: Path) -> None:
    with receiver() as sink:
        ways = {
            who: f'webhook_configs: [{{url: "{sink.url}/{who}"}}]' for who in ("people", "page")
        }
        path = tmp_path / "alertmanager.yml"
        path.write_text(CONFIG % ways)
        with alertmanager(path, tmp_path) as server:
            now = time.time()
            long = now + 1800
            web, other = {"service": "web"}, {"service": "other"}
            post(server, "Down", now, long, severity="P0", policy="p", **web)
            post(server, "Slow", now, long, severity="P1", **web)
            post(server, "Busy", now, long, severity="P1", **other)
            post(server, "Full", now, long, severity="P1", **other)
            wait_until(lambda: len(heard(sink)) == 2, "what is not inhibited is told")
            first = heard(sink)
            ended = time.time()
            down = post(server, "Down", now, ended, severity="P0", policy="p", **web)
            wait_until(lambda: len(heard(sink)) == 4, "its end is told, and what it held back")
    slow = Firing("Slow", {"alertname": "Slow", "severity": "P1", **web}, now, long)
    rest = [
        Firing(a, {"alertname": a, "severity": "P1", **other}, now, long) for a in ("Busy", "Full")
    ]
    assert first == {("page", ("Down",), "firing"), ("people", ("Busy", "Full"), "firing")}
    told = modelled([down, slow, *rest])
    assert heard(sink) == {t for t in told if t[0] == "page" or t[2] == "firing"}
