"""Conditions and the dispatcher: what looks and changes nothing, and who does what."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from opsloop.drivers.conditions import ConditionDriver
from opsloop.drivers.dispatch import Dispatcher
from opsloop.drivers.words import Words
from opsloop.errors import DriverError, PrometheusError
from opsloop.remediation.plan import Action, Work
from opsloop.remediation.ports import Inventory, Sample, StepResult
from tests.support.net import free_port
from tests.support.webhook import receiver


class Answers:
    """A Prometheus that gives one answer after the other, the last for ever."""

    def __init__(self, *answers: list[Sample] | None) -> None:
        self.left = list(answers)
        self.asked = 0

    def query(self, expr: str) -> list[Sample]:
        self.asked += 1
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if answer is None:
            raise PrometheusError("Prometheus", "does not answer")
        return answer


YES, NO = [Sample({}, 2.0)], list[Sample]()


def check(**work: object) -> Action:
    return Action("check", "api", "api", work=Work(**work))  # type: ignore[arg-type]


def driver(folder: Path, metrics: Answers) -> ConditionDriver:
    return ConditionDriver(Words(folder, folder, {}), metrics)


@pytest.mark.parametrize(
    ("answers", "within_s", "ok", "said"),
    [
        ((YES,), 0.0, True, "holds: up == 1 returns 2"),
        ((NO,), 0.0, False, "does not hold: up == 1 returns no series"),
        ((None,), 0.0, False, "does not hold: Prometheus: does not answer"),
        ((NO, None, YES), 30.0, True, "holds: up == 1 returns 2"),
        ((NO,), 0.6, False, "does not hold within 0.6 s: up == 1 returns no series"),
    ],
)
def test_a_query_holds_when_it_returns_a_series(
    tmp_path: Path, answers: tuple[list[Sample] | None, ...], within_s: float, ok: bool, said: str
) -> None:
    metrics = Answers(*answers)
    result = driver(tmp_path, metrics).perform(check(query="up == 1", within_s=within_s), 1)
    assert (result.ok, result.started, result.output) == (ok, False, said)


def test_a_probe_holds_when_the_address_serves(tmp_path: Path) -> None:
    looks = driver(tmp_path, Answers(NO))
    with receiver() as server:
        address = server.url.removeprefix("http://").partition("/")[0]
        assert looks.perform(check(probe=f"{address}/healthz"), 1).ok
        assert looks.perform(check(probe=address), 1).ok
    result = looks.perform(check(probe=f"127.0.0.1:{free_port()}"), 1)
    assert not result.ok
    assert "connection refused" in result.output


def test_a_wait_is_over_at_once_and_starts_nothing(tmp_path: Path) -> None:
    result = driver(tmp_path, Answers(NO)).perform(Action("wait", "a", "a", limit_s=300), 1)
    assert (result.ok, result.started) == (True, False)


class Fake:
    """Records on which thread what was asked of it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def inventory(self, service: str) -> Inventory:
        return Inventory(service, ())

    def perform(self, action: Action, token: int) -> StepResult:
        self.done.append(f"{action.kind} {threading.current_thread().name}")
        return StepResult(True, True, "")


def test_each_kind_has_one_driver() -> None:
    fleet, script = Fake(), Fake()
    all_of_them = Dispatcher(fleet, {"script": script})
    assert all_of_them.inventory("api").service == "api"
    for kind in ("restart", "start", "scale_out", "scale_in"):
        assert all_of_them.perform(Action(kind, "a", "a"), 1).ok
    all_of_them.perform(Action("script", "a", "a"), 1)
    assert [d.split()[0] for d in fleet.done] == ["restart", "start", "scale_out", "scale_in"]
    assert len(script.done) == 1
    with pytest.raises(DriverError, match="no driver does 'playbook' here") as caught:
        all_of_them.perform(Action("playbook", "a", "a"), 1)
    assert not caught.value.started
