"""opsloop silence on a real Alertmanager, with the bundle of a catalog beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from click.testing import CliRunner, Result

from opsloop import names
from opsloop.cli.main import cli
from opsloop.drivers.http import HttpClient
from opsloop.drivers.rules import AlertRules
from opsloop.drivers.silences import AlertDesk
from opsloop.drivers.wire import parse_time
from opsloop.stack import reach
from tests.cli.stage import Stage, alertmanager_of, prometheus_of, stage
from tests.support.net import free_port
from tests.support.servers import Server
from tests.support.wait import wait_until

WHY = ("--for", "2h", "--why", "a test")
# Names and values that Prometheus knows; none of them fires.
RULES = {
    "groups": [
        {
            "name": "all",
            "rules": [
                {"alert": name, "expr": "vector(0) > 1", "labels": {"severity": "P1"}}
                for name in ("ServiceDown", "HighErrorRate", "DiskFull", "Watchdog")
            ]
            + [
                {
                    "record": "known",
                    "expr": "vector(1)",
                    "labels": {"service": s, "team": "shop", "environment": "demo"},
                }
                for s in ("api", "web", "api-two")
            ],
        }
    ]
}


class Live:
    """Alertmanager with two alerts of api and one of web, and the command line."""

    def __init__(self, made: Stage, server: Server) -> None:
        self.stage = made
        self.server = server

    def run(self, *arguments: str, user: str = "ann") -> Result:
        words = ["silence", *arguments, "--state", str(self.stage.state)]
        result = CliRunner().invoke(cli, words, env={"USER": user})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def body(self, *arguments: str, user: str = "ann") -> dict[str, Any]:
        result = self.run(*arguments, "--json", user=user)
        assert result.exit_code == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def silences(self, state: str = "active") -> list[dict[str, Any]]:
        return [s for s in self.server.get("/api/v2/silences") if s["status"]["state"] == state]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("silence")
    made = stage(folder)
    with ExitStack() as stack:
        server = stack.enter_context(alertmanager_of(made))
        prometheus = stack.enter_context(prometheus_of(made, RULES, folder / "prometheus"))
        labels = [
            {"alertname": "ServiceDown", "service": "api", "policy": "restart-down"},
            {"alertname": "ServiceDown", "service": "api-two"},
            {"alertname": "HighLatency", "service": "web"},
        ]
        server.post("/api/v2/alerts", [{"labels": {"severity": "P0", **x}} for x in labels])
        wait_until(lambda: len(server.get("/api/v2/alerts")) == 3, "the alerts are listed")
        wait_until(lambda: len(prometheus.query("known")) == 3, "the services are known")
        yield Live(made, server)


@pytest.fixture
def live(servers: Live) -> Iterator[Live]:
    """Without a silence at the beginning."""
    yield servers
    for silence in servers.silences() + servers.silences("pending"):
        servers.run("end", silence["id"])


def test_add(live: Live) -> None:
    before = time.time()
    result = live.run("add", "alertname=ServiceDown", "service=api", *WHY)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "it mutes 1 alert that fires now:"
    assert lines[2].split()[:3] == ["P0", "ServiceDown", "api"]
    assert "the loop is bound by it as well: it will not act on ServiceDown of api" in lines
    assert lines[-1].startswith("silenced until ")
    assert lines[-1].endswith("ends it")
    (made,) = live.silences()
    assert (made["createdBy"], made["comment"]) == ("ann", "a test")
    assert [(m["name"], m["value"], m["isRegex"], m["isEqual"]) for m in made["matchers"]] == [
        ("alertname", "ServiceDown", False, True),
        ("service", "api", False, True),
    ]
    (listed,) = live.body("list")["silences"]
    assert listed["matchers"] == ['alertname="ServiceDown"', 'service="api"']
    assert before + 7190 < _seconds(listed["ends_at"]) < time.time() + 7200
    muted = wait_until(lambda: live.body("list")["silences"][0]["mutes"], "the alert is muted")
    assert muted == 1


def _seconds(text: str) -> float:
    return parse_time(text) or 0.0


@pytest.mark.parametrize(
    ("matchers", "services"),
    [
        (["service=api"], ["api"]),
        (["service!=api", "alertname=ServiceDown"], ["api-two"]),
        (["service=~api.*"], ["api", "api-two"]),
        (["service!~api.*", "alertname=HighLatency"], ["web"]),
        (['service="api"', "alertname = ServiceDown"], ["api"]),
        (["policy=", "service=~a.*"], ["api-two"]),
        (["service=nothing"], []),
    ],
)
def test_the_four_operators_mean_what_they_mean_to_alertmanager(
    live: Live, matchers: list[str], services: list[str]
) -> None:
    body = live.body("add", *matchers, *WHY, "--dry-run")
    assert body["silence"] is None
    assert sorted(a["service"] for a in body["mutes"]) == services
    assert live.silences() == []
    made = live.body("add", *matchers, *WHY)["silence"]
    wait_until(
        lambda: live.body("list")["silences"][0]["mutes"] == len(services),
        "Alertmanager mutes what was shown",
    )
    assert made["mutes"] == len(services)


def test_odd_text_arrives_as_it_is(live: Live) -> None:
    value = 'a "b" \\d ü=~x; {y}'
    live.run("add", f"odd={value}", "alertname=A", "--for", "1m", "--why", " what\n it  is ")
    (made,) = live.silences()
    assert made["matchers"][1]["value"] == value or made["matchers"][0]["value"] == value
    assert made["comment"] == "what it is"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "service=~a(", *WHY], "missing closing )"),
        (["add", "service=~(?=a)", *WHY], "invalid or unsupported Perl syntax"),
        (["add", "alertname=~.*", *WHY, "--all"], "must not match the empty string"),
        (["add", "service:api", *WHY], "matcher 'service:api': is not LABEL=VALUE"),
        (["add", "1x=2", *WHY], "is not LABEL=VALUE"),
        (["add", 'service="api', *WHY], "has a quote that is not closed"),
        (["add", *WHY], "has no matcher"),
        (["add", "service=api", "--why", "x"], "Missing option '--for'"),
        (["add", "service=api", "--for", "2h"], "Missing option '--why'"),
        (["add", "service=api", "--for", "2h", "--why", " "], "--why: is empty"),
        (["add", "service=api", "--for", "2", "--why", "x"], "is not a duration"),
        (["add", "service=api", "--for", "0s", "--why", "x"], "less than a second"),
        (["add", "service=api", "--for", "25h", "--why", "x"], "more than 24 hours"),
        (["add", "service=api", "--for", "2y", "--why", "x", "--long"], "more than a year"),
        (["end", "1234567"], "silence 1234567: there is none"),
        (["end"], "takes IDs or --all-mine"),
        (["end", "x", "--all-mine"], "takes IDs or --all-mine"),
    ],
)
def test_what_is_refused_is_refused_with_its_reason(
    live: Live, arguments: list[str], told: str
) -> None:
    result = live.run(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert live.silences() == []


@pytest.mark.parametrize(
    "matchers",
    [
        ["service=~.+"],
        ["alertname=~..*"],
        ["service!=none"],
        ["alertname!~Watchdog|x"],
        ["severity=~P."],
        ["service=~[a-z-]+"],
        ["alertname=~[A-Z].*", "service!="],
        ["environment=demo"],
        ["alertname=~ServiceDown|HighErrorRate|DiskFull"],
        [r"service=~\pL.*"],  # Python cannot judge it
    ],
)
def test_one_that_matches_all_needs_to_be_meant(live: Live, matchers: list[str]) -> None:
    result = live.run("add", *matchers, *WHY)
    assert result.exit_code == 2
    assert "would mute every alert, or nearly: " in result.stderr
    assert "or give --all" in result.stderr
    assert live.silences() == []
    assert live.run("add", *matchers, *WHY, "--all").exit_code == 0
    assert len(live.silences()) == 1


@pytest.mark.parametrize(
    "matchers",
    [
        ["service=api"],
        ["team=shop"],
        ["severity=~P[12]"],
        ["alertname=~Service.*|Disk.*"],
        ["service=~.+", "alertname=ServiceDown"],
        ["service!=web", "severity=P2"],
    ],
)
def test_one_that_names_something_does_not(live: Live, matchers: list[str]) -> None:
    assert live.run("add", *matchers, *WHY).exit_code == 0


def test_all_leaves_the_watchdog(live: Live) -> None:
    body = live.body("add", "--all", *WHY)
    assert body["silence"]["matchers"] == ['alertname!="Watchdog"']
    assert len(body["mutes"]) == 3


def test_without_prometheus_the_words_are_judged(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(reach, "rules_of", lambda _: AlertRules(HttpClient(), nobody))
    refused = live.run("add", "service=~.+", *WHY)
    assert refused.exit_code == 2
    assert "judged by its words alone" in refused.stderr
    assert live.run("add", "severity=~P.*", *WHY).exit_code == 2
    assert live.run("add", "service=api", *WHY).exit_code == 0


def test_a_long_one_that_is_meant(live: Live) -> None:
    result = live.run("add", "service=api", "--for", "30d", "--why", "x", "--long")
    assert result.exit_code == 0
    assert live.run("add", "service=web", "--for", "24h", "--why", "x").exit_code == 0


def test_whom_the_loop_obeys(live: Live) -> None:
    bound = [{"alert": "ServiceDown", "service": "api", "policy": "restart-down"}]
    cases: list[tuple[list[str], list[dict[str, str]]]] = [
        (["service=api"], bound),
        (["service=api", "instance=127.0.0.1:8000"], bound),
        (["policy=~restart.*", "severity=P0"], bound),
        (["team=shop", "tier=2", "environment=demo"], bound),
        (["service=web"], []),
        (["alertname=HighLatency"], []),
        (["service=api", "severity=P1"], []),
    ]
    for matchers, wanted in cases:
        assert live.body("add", *matchers, *WHY, "--dry-run")["loop_bound"] == wanted, matchers
    assert "the loop is bound" not in live.run("add", "service=web", *WHY, "--dry-run").stdout


def test_without_the_bundle_the_loop_is_spoken_of_in_general(live: Live) -> None:
    path = live.stage.state / names.BUILD_DIR / names.ENGINE_JSON
    away = path.rename(path.with_suffix(".away"))
    try:
        assert live.body("add", "service=api", *WHY, "--dry-run")["loop_bound"] is None
        result = live.run("add", "service=api", *WHY, "--dry-run")
    finally:
        away.rename(path)
    assert "it does not act on what is silenced" in result.stdout
    assert "nothing was created" in result.stdout


def test_list_and_end(live: Live) -> None:
    first = live.body("add", "service=api", *WHY)["silence"]["id"]
    second = live.body("add", "service=web", *WHY, user="bob")["silence"]["id"]
    head, *lines = live.run("list").stdout.splitlines()
    assert head.split()[:3] == ["ID", "STATE", "MATCHERS"]
    assert {line.split()[0] for line in lines} == {first[:8], second[:8]}
    assert live.run().stdout.splitlines()[0] == head
    result = live.run("end", first[:8])
    assert result.stdout == f'ended: {first[:8]} service="api"\n'
    assert [s["id"] for s in live.silences()] == [second]
    assert live.run("end", first).stdout.startswith("had ended already: ")
    assert first in {s["id"] for s in live.body("list", "--ended")["silences"]}
    ended = live.body("end", second)["ended"]
    assert [s["id"] for s in ended] == [second]
    assert live.run("list").stdout == "nothing is silenced; --ended lists what was\n"


def test_all_of_mine_and_nobody_elses(live: Live) -> None:
    mine = {live.body("add", f"service={s}", *WHY)["silence"]["id"] for s in ("api", "web")}
    other = live.body("add", "service=old", *WHY, user="bob")["silence"]["id"]
    ended = live.body("end", "--all-mine")["ended"]
    assert {s["id"] for s in ended} == mine
    assert [s["id"] for s in live.silences()] == [other]
    assert live.run("end", "--all-mine").stdout == "ann has no silence in force\n"


def test_one_wrong_id_ends_nothing(live: Live) -> None:
    made = live.body("add", "service=api", *WHY)["silence"]["id"]
    assert live.run("end", made, "ffff0000").exit_code == 2
    assert [s["id"] for s in live.silences()] == [made]


def test_without_alertmanager(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:

    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(reach, "alertmanager_of", lambda _: AlertDesk(HttpClient(), [nobody]))
    for arguments in (["list"], ["add", "service=api", *WHY], ["end", "--all-mine"]):
        result = live.run(*arguments)
        assert result.exit_code == 1
        assert "connection refused" in result.stderr
        assert result.stdout == ""
