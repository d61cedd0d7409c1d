"""Workers: everything submitted is done once, its outcome kept, the loop woken."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from opsloop.drivers.workers import ThreadWorkers
from opsloop.errors import DriverError
from tests.support.wait import wait_until


class Woken:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def workers(woken: Woken) -> Iterator[ThreadWorkers]:
    made = ThreadWorkers(woken, size=3)
    yield made
    assert made.close(30)


def test_values_and_errors_come_back_under_their_keys(workers: ThreadWorkers, woken: Woken) -> None:
    def fail() -> object:
        raise DriverError("x", "on purpose", started=True)

    workers.submit("good", lambda: 42)
    workers.submit("bad", fail)
    wait_until(lambda: workers.pending == 0, "both are done")
    found = {f.key: f for f in workers.done()}
    assert found["good"].value == 42
    assert isinstance(found["bad"].error, DriverError)
    assert workers.done() == []
    wait_until(lambda: woken.times == 2, "the loop was woken for each")


def test_idle_only_when_results_were_taken(workers: ThreadWorkers) -> None:
    assert workers.idle()
    gate = threading.Event()
    workers.submit("one", lambda: gate.wait(30))
    assert not workers.idle()
    gate.set()
    wait_until(lambda: workers.pending == 0, "it is done")
    assert not workers.idle()
    assert [f.value for f in workers.done()] == [True]
    assert workers.idle()


def test_no_more_than_so_many_at_once_and_all_are_done(workers: ThreadWorkers) -> None:
    lock, gate = threading.Lock(), threading.Event()
    now = most = 0

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.wait(30)
        with lock:
            now -= 1

    for n in range(20):
        workers.submit(str(n), work)
    wait_until(lambda: now == 3, "as many as may run do")
    assert workers.pending == 20
    gate.set()
    wait_until(lambda: workers.pending == 0, "all are done")
    assert most == 3
    assert len(workers.done()) == 20


def test_one_that_hangs_does_not_hold_up_the_others(workers: ThreadWorkers) -> None:
    gate = threading.Event()
    workers.submit("hangs", lambda: gate.wait(60))
    for n in range(10):
        workers.submit(str(n), lambda: None)
    wait_until(lambda: workers.pending == 1, "the others are done")
    gate.set()
