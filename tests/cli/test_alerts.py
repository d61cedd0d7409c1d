"""opsloop alerts over a real Prometheus and Alertmanager, and when one of them is away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from opsloop import names
from opsloop.cli.main import cli
from opsloop.drivers.alertmanager import Alertmanagers
from opsloop.drivers.http import HttpClient
from opsloop.drivers.rules import AlertRules
from opsloop.drivers.silences import AlertDesk
from opsloop.remediation.plan import RunState
from opsloop.stack import reach
from opsloop.store.sqlite import SqliteStore
from tests.cli.stage import Stage, alertmanager_of, inbox_of, prometheus_of, stage
from tests.store.contract import DONE
from tests.store.samples import act
from tests.support.net import free_port
from tests.support.servers import Server
from tests.support.wait import wait_until

INSTANCE = "127.0.0.1:8000"


def rule(alert: str, severity: str, expr: str = "vector(1)", **labels: str) -> dict[str, Any]:
    words = {"severity": severity, "team": "shop", "environment": "demo", **labels}
    annotations = {"summary": f"{alert} fires"}
    return {"alert": alert, "expr": expr, "labels": words, "annotations": annotations}


RULES = {
    "groups": [
        {
            "name": "all",
            "rules": [
                rule("ServiceDown", "P0", service="api", policy="restart-down", instance=INSTANCE),
                rule("HighErrorRate", "P0", service="api"),
                rule("HighLatency", "P1", service="web"),
                rule("DiskFull", "P1", service="old", instance="127.0.0.1:9100"),
                rule("MemoryHigh", "P1", service="web") | {"for": "1h"},
                rule("Quiet", "P2", "vector(0) > 1"),
                rule("Broken", "P2", 'label_replace(vector(1), "a", "$1", "b", "(")'),
                {"alert": "Watchdog", "expr": "vector(1)"},
            ],
        }
    ]
}


class Live:
    """The servers, and the command line over them."""

    def __init__(self, made: Stage, alertmanager: Server, prometheus: Server) -> None:
        self.stage = made
        self.alertmanager = alertmanager
        self.prometheus = prometheus

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["alerts", "--state", str(self.stage.state), *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def body(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("--json", *arguments).stdout)
        return answer

    def rows(self, *arguments: str) -> dict[str, dict[str, Any]]:
        return {a["alert"]: a for a in self.body(*arguments)["alerts"]}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Everything at once: firing, inhibited, silenced, muted, pending, quiet, broken."""
    folder = tmp_path_factory.mktemp("alerts")
    made = stage(folder)
    SqliteStore(made.state / names.STORE_FILE).close()
    with ExitStack() as stack:
        stack.enter_context(inbox_of(made))
        one = stack.enter_context(alertmanager_of(made))
        now = time.time()
        one.post(
            "/api/v2/silences",
            {
                "matchers": [{"name": "service", "value": "web", "isRegex": False}],
                "startsAt": _stamp(now),
                "endsAt": _stamp(now + 3600),
                "createdBy": "ann",
                "comment": "a deploy",
            },
        )
        prometheus = stack.enter_context(prometheus_of(made, RULES, folder / "prometheus"))
        found = Live(made, one, prometheus)
        _receive(found)
        yield found


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _receive(live: Live) -> None:
    """As the engine does: the alert becomes an episode, with a run that is verified now."""
    client = Alertmanagers(HttpClient(), [live.alertmanager.url])

    def down() -> Any:
        return next((a for a in client.alerts() if a.name == "ServiceDown"), None)

    alert = wait_until(down, "Alertmanager lists ServiceDown")
    with SqliteStore(live.stage.state / names.STORE_FILE) as store:
        (number,) = store.intake([alert], time.time())
        run = store.record(act(store.episode(number)), time.time())
        assert run is not None
        store.begin_action(run, 0, time.time())
        store.end_action(run, 0, DONE, time.time())
        store.move_run(run, RunState.VERIFYING, "watched for 10 s", time.time())


def test_each_alert_is_in_its_state(live: Live) -> None:
    rows = wait_until(
        lambda: (r := live.rows("--all")) and r["HighErrorRate"]["inhibited_by"] and r, "inhibited"
    )
    assert {alert: r["state"] for alert, r in rows.items()} == {
        "ServiceDown": "firing",
        "HighErrorRate": "inhibited",
        "HighLatency": "silenced",
        "DiskFull": "muted",
        "MemoryHigh": "pending",
        "Quiet": "quiet",
        "Broken": "quiet",
        "Watchdog": "firing",
    }
    assert list(live.rows()) == [
        *("ServiceDown", "MemoryHigh", "DiskFull", "HighErrorRate", "HighLatency"),
    ]


def test_what_keeps_each_from_people(live: Live) -> None:
    rows = live.rows()
    (silence,) = rows["HighLatency"]["silenced_by"]
    assert (silence["by"], silence["why"]) == ("ann", "a deploy")
    (source,) = rows["HighErrorRate"]["inhibited_by"]
    assert (source["alert"], source["service"]) == ("ServiceDown", "api")
    assert source["fingerprint"] == rows["ServiceDown"]["fingerprint"]
    assert rows["DiskFull"]["muted_by"] == ["move"]
    pending = rows["MemoryHigh"]
    assert (pending["value"], pending["told"], pending["fingerprint"]) == (1.0, [], "")
    assert pending["fires_at"] > pending["since"]


def test_what_the_loop_does(live: Live) -> None:
    row = live.rows()["ServiceDown"]
    loop = row["loop"]
    assert (loop["run"], loop["run_state"], loop["run_reason"]) == (
        1,
        "verifying",
        "watched for 10 s",
    )
    assert loop["state"] == "running"
    assert row["told_after"] > row["since"]
    assert live.rows()["HighLatency"]["loop"] is None


def test_the_table_and_its_sentence(live: Live) -> None:
    result = live.run()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("P0 ServiceDown of api fires since ")
    assert "and the loop acts on it (run 1, verifying)" in lines[0]
    assert "1 is inhibited; 1 is silenced; 1 is muted; 1 is pending" in lines[0]
    assert lines[2].split()[:2] == ["SEV", "ALERT"]
    told = {line.split()[1]: line for line in lines[3:]}
    assert next(iter(told)) == "ServiceDown"
    assert "acts: watched for 10 s (episode 1, run 1 verifying)" in told["ServiceDown"]
    assert "silenced by ann until" in told["HighLatency"]
    assert "a deploy" in told["HighLatency"]
    assert "inhibited by ServiceDown of api" in told["HighErrorRate"]
    assert "muted in move" in told["DiskFull"]
    assert "pending, fires in 59 min" in told["MemoryHigh"]
    assert "the rule Broken cannot be evaluated: " in result.stderr


def test_who_was_told_and_whose_notifications_fail(live: Live) -> None:
    """After the grace of ServiceDown: the inbox takes Slack's, and refuses PagerDuty's key."""

    def told() -> dict[str, Any] | None:
        ways = {w["via"]: w for w in live.rows()["ServiceDown"]["told"]}
        return ways if {w["status"] for w in ways.values()} == {"told", "refused"} else None

    ways = wait_until(told, "people are told")
    row = live.rows()["ServiceDown"]
    assert ways is not None
    assert ways["slack"]["status"] == "told"
    assert ways["slack"]["at"] >= row["told_after"]
    assert "length is incorrect" in ways["pagerduty"]["reason"]
    (failing,) = wait_until(lambda: live.body()["failing_receivers"], "the failure is counted")
    assert failing["kind"] == "pagerduty"
    assert failing["receivers"] == ["people-page"]
    assert failing["failed_total"] >= 1
    result = live.run()
    assert "notifications by pagerduty fail" in result.stdout.splitlines()[0]
    line = next(x for x in result.stdout.splitlines()[2:] if "ServiceDown" in x)
    assert "pagerduty REFUSED it: routing_key" in line
    assert "warning: notifications by pagerduty (people-page) fail: " in result.stderr
    assert live.rows()["HighLatency"]["told"][0]["status"] == "not yet"


@pytest.fixture
def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_without_prometheus(live: Live, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "rules_of", lambda _: AlertRules(HttpClient(), nobody))
    body = live.body()
    assert [m["part"] for m in body["missing"]] == ["Prometheus"]
    assert body["complete"] is False
    states = {a["alert"]: a["state"] for a in body["alerts"]}
    assert states == {
        "ServiceDown": "firing",
        "HighErrorRate": "inhibited",
        "HighLatency": "silenced",
        "DiskFull": "muted",
    }
    result = live.run()
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].endswith("Prometheus does not answer.")
    assert "Prometheus does not answer, so what is pending is not known: " in result.stderr


def test_without_alertmanager(live: Live, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "alertmanager_of", lambda _: AlertDesk(HttpClient(), [nobody]))
    body = live.body()
    assert [m["part"] for m in body["missing"]] == ["Alertmanager"]
    states = {a["alert"]: a["state"] for a in body["alerts"]}
    assert states["HighLatency"] == states["HighErrorRate"] == "firing"
    assert states["MemoryHigh"] == "pending"
    row = next(a for a in body["alerts"] if a["alert"] == "ServiceDown")
    assert row["loop"]["run"] == 1
    result = live.run()
    assert result.exit_code == 1
    assert "Alertmanager does not answer, so what is silenced or inhibited" in result.stderr


def test_without_both(live: Live, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "rules_of", lambda _: AlertRules(HttpClient(), nobody))
    monkeypatch.setattr(reach, "alertmanager_of", lambda _: AlertDesk(HttpClient(), [nobody]))
    result = live.run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "neither Prometheus nor Alertmanager answers" in result.stderr
    assert "see `opsloop status`" in result.stderr


def test_without_the_store(live: Live) -> None:
    store = live.stage.state / names.STORE_FILE
    away = store.rename(store.with_name("away.sqlite"))
    try:
        result = live.run()
        body = live.body()
    finally:
        away.rename(store)
    assert result.exit_code == 1
    assert "so what the loop does is not known" in result.stderr
    assert "not known" in next(x for x in result.stdout.splitlines() if "ServiceDown  " in x)
    assert [m["part"] for m in body["missing"]] == ["the engine's store"]


def test_a_pause_is_told(live: Live) -> None:
    with SqliteStore(live.stage.state / names.STORE_FILE) as store:
        store.pause("we look", time.time())
        try:
            result = live.run()
        finally:
            store.resume("", time.time())
    assert "the loop is paused" in result.stdout.splitlines()[0]
    assert "the loop is paused (we look)" in result.stderr


def test_where_nothing_runs(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["alerts", "--state", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "is not running; start it with `opsloop up`" in result.stderr
