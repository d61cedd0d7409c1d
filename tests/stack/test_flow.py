"""Data flow as read from what Prometheus and the engine answer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from opsloop.errors import PartFailed
from opsloop.stack.flow import Flow, FlowReader, expected_targets, wait_flowing
from opsloop.stack.ready import Http
from opsloop.stack.state import StateFolder

CONFIG = """
scrape_configs:
- job_name: prometheus
  static_configs: [{targets: ["127.0.0.1:9090"]}]
- job_name: api
  file_sd_configs: [{files: [../../targets/api.json]}]
- job_name: far
  static_configs: [{targets: ["10.0.0.9:80"]}]
"""
OWN = ["127.0.0.1:9090", "127.0.0.1:8000", "127.0.0.1:8081"]


class Answers(Http):
    """What the servers say, by path."""

    def __init__(self) -> None:
        super().__init__("pw")
        self.targets: list[Any] = []
        self.groups: list[Any] = []
        self.age: float | None = 1.0
        self.down = False

    def json(self, url: str, *, protected: bool) -> Any:
        if self.down:
            raise OSError("connection refused")
        if "/targets" in url:
            return {"data": {"activeTargets": self.targets}}
        if "/rules" in url:
            return {"data": {"groups": self.groups}}
        return {"status": "ok", "watchdog_age_s": self.age}


def target(address: str, health: str = "up", error: str = "") -> dict[str, Any]:
    labels = {"job": "j", "instance": address}
    url = f"http://{address}/metrics"
    return {"labels": labels, "scrapeUrl": url, "health": health, "lastError": error}


def group(
    *rules: dict[str, Any], last: str = "2026-01-01T00:00:00Z", interval: float = 5
) -> dict[str, Any]:
    return {"name": "g", "interval": interval, "lastEvaluation": last, "rules": list(rules)}


def rule(health: str = "ok", **rest: Any) -> dict[str, Any]:
    return {"name": "R", "type": "alerting", "health": health, **rest}


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    (state.build / "prometheus" / "rules").mkdir(parents=True)
    (state.build / "prometheus" / "rules" / "g.yml").write_text("groups: []")
    (state.build / "prometheus" / "prometheus.yml").write_text(CONFIG)
    (state.targets / "api.json").write_text('[{"targets": ["127.0.0.1:8000"]}]')
    return state


@pytest.fixture
def answers() -> Answers:
    answers = Answers()
    answers.targets = [target(a) for a in ("127.0.0.1:9090", "127.0.0.1:8000", "10.0.0.9:80")]
    answers.groups = [group(rule())]
    return answers


def read(state: StateFolder, answers: Answers, since: float | None = None) -> Flow:
    since = time.time() - 60 if since is None else since
    return FlowReader(state, answers, "127.0.0.1:9090", "127.0.0.1:8081", OWN, since).read()


def test_all_flows(state: StateFolder, answers: Answers) -> None:
    flow = read(state, answers)
    assert flow.flows
    assert (flow.targets_up, flow.targets, flow.groups, flow.firing) == (3, 3, 1, 0)


def test_a_target_that_is_not_known_yet_is_waited_for(state: StateFolder, answers: Answers) -> None:
    assert expected_targets(state) == 3
    answers.targets.pop(1)
    assert read(state, answers).waits == ("2 of 3 targets known to prometheus",)


def test_own_targets_hold_up_and_others_do_not(state: StateFolder, answers: Answers) -> None:
    answers.targets[2] = target("10.0.0.9:80", "down", "no route")
    flow = read(state, answers)
    assert flow.flows
    assert flow.others_down == ("j 10.0.0.9:80 (no route)",)
    answers.targets[1] = target("127.0.0.1:8000", "down", "401")
    assert read(state, answers).waits == ("target j 127.0.0.1:8000 (401)",)
    answers.targets[1] = target("127.0.0.1:8000", "unknown")
    assert "not scraped yet" in read(state, answers).waits[0]


def test_rules_must_have_been_evaluated_well(state: StateFolder, answers: Answers) -> None:
    answers.groups = []
    assert not read(state, answers).flows
    answers.groups = [group(rule(), last="0001-01-01T00:00:00Z")]
    assert read(state, answers).not_evaluated == ("g",)
    answers.groups.append(group(rule(), last="0001-01-01T00:00:00Z", interval=60))
    assert read(state, answers).not_evaluated == ("g",), "a slow group is not waited for"
    answers.groups = [group(rule("unknown"))]
    assert not read(state, answers).flows
    answers.groups = [group(rule("err", lastError="many-to-many"))]
    assert read(state, answers).waits == ("rule R: many-to-many",)


def test_a_watchdog_from_before_the_start_proves_nothing(
    state: StateFolder, answers: Answers
) -> None:
    answers.age = None
    assert read(state, answers).waits == ("Watchdog not seen by the engine",)
    answers.age = 600.0
    assert not read(state, answers, since=time.time() - 60).flows
    answers.age = 5.0
    assert read(state, answers, since=time.time() - 60).flows


def test_firing_alerts_are_counted_without_the_watchdog(
    state: StateFolder, answers: Answers
) -> None:
    two = [{"state": "firing"}, {"state": "pending"}]
    answers.groups = [group(rule(alerts=two), rule(name="Watchdog", alerts=[{"state": "firing"}]))]
    assert read(state, answers).firing == 1


def test_silence_is_waited_for_and_then_told(state: StateFolder, answers: Answers) -> None:
    answers.down = True
    flow = read(state, answers)
    assert "connection refused" in flow.silent
    shown: list[Flow] = []
    reader = FlowReader(state, answers, "127.0.0.1:9090", None, OWN, 0.0)
    with pytest.raises(PartFailed, match="data does not flow: prometheus or engine: connection"):
        wait_flowing(reader, time.monotonic(), shown.append, state)
    assert len(shown) == 1


def test_a_broken_targets_file_is_no_crash(state: StateFolder) -> None:
    (state.targets / "api.json").write_text("[")
    assert expected_targets(state) == 2
    (state.targets / "api.json").write_text(json.dumps("text"))
    assert expected_targets(state) == 2
