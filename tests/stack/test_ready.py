"""Health of parts: supervisord's child, and its endpoint answers; failures tell their log."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from opsloop.errors import PartFailed
from opsloop.stack import supervisord
from opsloop.stack.parts import Part
from opsloop.stack.ready import Checker, PartStatus, wait_healthy
from tests.stack.conftest import SmallStack, answering, sleeper
from tests.support.net import free_port
from tests.support.wait import wait_until


def one(stack: SmallStack, part: Part) -> PartStatus:
    with Checker(stack.state, [part], supervisord.client(stack.state)) as checker:
        return checker.read()[0]


@pytest.fixture
def running(small_stack: SmallStack) -> SmallStack:
    small_stack.write(one=sleeper())
    (small_stack.state.secrets / "scrape_password").write_text("pw")
    small_stack.start()
    wait_until(lambda: small_stack.pid("one"), "it runs")
    return small_stack


def part(address: str = "", path: str = "/x", **rest: object) -> Part:
    return Part("one", "one:one", address, path if address else "", **rest)  # type: ignore[arg-type]


def test_running_is_healthy_without_an_endpoint(running: SmallStack) -> None:
    status = one(running, part())
    assert (status.health, status.pid) == ("healthy", running.pid("one"))


def test_an_endpoint_must_answer_200(running: SmallStack) -> None:
    refused = one(running, part(f"127.0.0.1:{free_port()}"))
    assert refused.health == "starting"
    assert "connection refused" in refused.detail
    with answering(lambda _: (503, "not yet")) as address:
        assert "answers 503" in one(running, part(address)).detail
    with answering(lambda _: (200, "fine")) as address:
        assert one(running, part(address)).health == "healthy"


def test_the_password_goes_only_where_it_is_wanted(running: SmallStack) -> None:
    seen: list[str] = []

    def answer(authorization: str) -> tuple[int, str]:
        seen.append(authorization)
        return 200, ""

    with answering(answer) as address:
        one(running, part(address, protected=True))
        one(running, part(address, protected=False))
    assert seen[0].startswith("Basic ")
    assert seen[1] == ""


def test_a_silent_endpoint_is_not_waited_for_long(running: SmallStack) -> None:
    release = threading.Event()

    def answer(_: str) -> tuple[int, str]:
        release.wait(30)
        return 200, ""

    with answering(answer) as address:
        try:
            assert one(running, part(address)).detail.endswith("no answer in time")
        finally:
            release.set()


@pytest.mark.parametrize(
    ("text", "health"),
    [
        ("# HELP pg_up x\npg_up 1\n", "healthy"),
        ("pg_up 0\n", "starting"),
        ("pg_up_time 1\n", "starting"),
    ],
)
def test_a_database_exporter_needs_its_database(
    running: SmallStack, text: str, health: str
) -> None:
    with answering(lambda _: (200, text)) as address:
        assert one(running, part(address, kind="postgres")).health == health


def test_another_process_that_answers_does_not_make_it_healthy(small_stack: SmallStack) -> None:
    """After a crash a leftover holds the port, and the new one ends again and again."""
    small_stack.write(one=f"{sys.executable} -c 'raise SystemExit(1)'", startsecs=1)
    small_stack.start()
    with answering(lambda _: (200, "from a leftover")) as address:
        assert one(small_stack, part(address)).health != "healthy"


def test_a_part_that_gives_up_is_told_with_its_log(small_stack: SmallStack) -> None:
    two = f"{sys.executable} -c 'print(\"no such table\"); exit(4)'"
    small_stack.write(one=sleeper(), two=two, startsecs=1)
    small_stack.start()
    parts = [Part("one", "one:one"), Part("two", "two:two")]
    shown: list[list[PartStatus]] = []
    with (
        Checker(small_stack.state, parts, supervisord.client(small_stack.state)) as checker,
        pytest.raises(PartFailed) as error,
    ):
        wait_healthy(checker, time.monotonic() + 60, shown.append)
    message = str(error.value)
    assert message.startswith("two is not healthy: fatal, ")
    assert "no such table" in message
    assert "opsloop logs two" in message
    assert shown


def test_time_is_up(running: SmallStack) -> None:
    waiting = part(f"127.0.0.1:{free_port()}")
    with (
        Checker(running.state, [waiting], supervisord.client(running.state)) as checker,
        pytest.raises(PartFailed, match="connection refused"),
    ):
        wait_healthy(checker, time.monotonic(), lambda _: None)


def test_a_supervisord_that_died_is_told_at_once(running: SmallStack) -> None:
    driver = supervisord.client(running.state)
    running.stop()
    with (
        Checker(running.state, [part()], driver) as checker,
        pytest.raises(PartFailed, match="supervisord: does not answer any more"),
    ):
        wait_healthy(checker, time.monotonic() + 60, lambda _: None)


def test_a_slot_that_is_not_wanted_is_off(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    small_stack.start()
    supervisord.client(small_stack.state).stop("one:one")
    status = one(small_stack, part(wanted=False))
    assert (status.health, status.settled) == ("off", True)
    assert one(small_stack, part()).health == "starting"
