"""Group commit: many callers, few transactions, none sees the failure of another."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from opsloop.errors import Conflict, StoreError
from opsloop.store import connection
from opsloop.store.sqlite import SqliteStore
from opsloop.store.writer import Writer
from tests.store.contract import together
from tests.store.samples import alert


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "engine.sqlite"
    SqliteStore(path).close()
    return path


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    made = Writer(path)
    yield made
    made.close()


def put(name: str, c: sqlite3.Connection) -> str:
    c.execute("INSERT INTO wanted (service, wanted, at) VALUES (?, 1, 1)", (name,))
    return name


def services(path: Path) -> set[str]:
    c = connection.connect(path)
    try:
        return {row[0] for row in c.execute("SELECT service FROM wanted")}
    finally:
        c.close()


class Held:
    """Keeps the writer busy with one job, so that what is submitted meanwhile is one group."""

    def __init__(self, writer: Writer) -> None:
        self._go = threading.Event()
        started = threading.Event()

        def wait(_: sqlite3.Connection) -> None:
            started.set()
            assert self._go.wait(30)

        writer.submit(wait, lambda _result, _error: None)
        assert started.wait(30)

    def release(self) -> None:
        self._go.set()


class Answers:
    """Collects what the callers are told."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[Any, Exception | None]] = {}
        self._more = threading.Condition()

    def of(self, name: str) -> Any:
        def done(result: Any, error: Exception | None) -> None:
            with self._more:
                self.seen[name] = (result, error)
                self._more.notify_all()

        return done

    def wait(self, count: int) -> None:
        with self._more:
            assert self._more.wait_for(lambda: len(self.seen) >= count, 30)


def test_what_waits_becomes_one_transaction(writer: Writer, path: Path) -> None:
    held, answers = Held(writer), Answers()
    for n in range(50):
        writer.submit(partial(put, f"s{n}"), answers.of(f"s{n}"))
    before = writer.commits
    held.release()
    answers.wait(50)
    assert writer.commits <= before + 2  # the one that held it, and one for all fifty
    assert len(services(path)) == 50


def test_callers_are_answered_after_the_commit(writer: Writer, path: Path) -> None:
    """What an answer says is there, for every other connection, when the answer comes."""
    missing: list[str] = []
    finished = threading.Semaphore(0)

    def done(name: str, result: Any, error: Exception | None) -> None:
        if name not in services(path):
            missing.append(name)
        finished.release()

    for n in range(30):
        writer.submit(partial(put, f"s{n}"), partial(done, f"s{n}"))
    for _ in range(30):
        assert finished.acquire(timeout=300)
    assert missing == []


def test_one_that_fails_takes_nothing_of_the_others(writer: Writer, path: Path) -> None:
    held, answers = Held(writer), Answers()

    def half(c: sqlite3.Connection) -> None:
        put("half", c)
        raise Conflict("x", "on purpose")

    def bug(c: sqlite3.Connection) -> None:
        put("bug", c)
        raise ZeroDivisionError

    writer.submit(partial(put, "before"), answers.of("before"))
    writer.submit(half, answers.of("half"))
    writer.submit(bug, answers.of("bug"))
    writer.submit(partial(put, "before"), answers.of("double"))  # a constraint
    writer.submit(partial(put, "after"), answers.of("after"))
    held.release()
    answers.wait(5)
    assert services(path) == {"before", "after"}
    assert answers.seen["before"] == ("before", None)
    assert answers.seen["after"] == ("after", None)
    assert isinstance(answers.seen["half"][1], Conflict)
    assert isinstance(answers.seen["bug"][1], ZeroDivisionError)
    assert isinstance(answers.seen["double"][1], StoreError)


def test_a_commit_that_fails_fails_all_and_writes_nothing(writer: Writer, path: Path) -> None:
    held, answers = Held(writer), Answers()

    def broken(c: sqlite3.Connection) -> None:
        c.execute("ROLLBACK")  # as SQLite itself does when the disk is full
        raise sqlite3.OperationalError("database or disk is full")

    writer.submit(partial(put, "one"), answers.of("one"))
    writer.submit(broken, answers.of("broken"))
    writer.submit(partial(put, "two"), answers.of("two"))
    held.release()
    answers.wait(3)
    assert services(path) == set()
    assert all(isinstance(error, StoreError) for _, error in answers.seen.values())
    assert writer.call(partial(put, "later")) == "later"  # and it lives on


def test_a_caller_that_fails_on_its_answer_harms_nobody(writer: Writer) -> None:
    def done(_result: Any, _error: Exception | None) -> None:
        raise ZeroDivisionError

    writer.submit(partial(put, "one"), done)
    assert writer.call(partial(put, "two")) == "two"


def test_many_threads_each_get_their_own_answer(writer: Writer) -> None:
    outcomes = together([partial(writer.call, partial(put, f"s{n}")) for n in range(24)])
    assert outcomes == [f"s{n}" for n in range(24)]


def test_close_finishes_what_is_queued(path: Path) -> None:
    writer, answers = Writer(path), Answers()
    held = Held(writer)
    for n in range(20):
        writer.submit(partial(put, f"s{n}"), answers.of(f"s{n}"))
    held.release()
    writer.close()
    assert len(answers.seen) == len(services(path)) == 20
    with pytest.raises(StoreError, match="closed"):
        writer.submit(partial(put, "x"), answers.of("x"))


def test_another_process_that_writes_is_waited_for(writer: Writer, path: Path) -> None:
    other = connection.connect(path)
    other.execute("BEGIN IMMEDIATE")
    answers = Answers()
    writer.submit(partial(put, "s"), answers.of("s"))
    other.execute("INSERT INTO wanted VALUES ('theirs', 1, 1)")
    other.execute("COMMIT")
    other.close()
    answers.wait(1)
    assert services(path) == {"s", "theirs"}


def test_another_process_that_writes_for_too_long_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 50)
    writer = Writer(path)
    other = connection.connect(path)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="another process writes"):
            writer.call(partial(put, "s"))
    finally:
        other.execute("ROLLBACK")
        other.close()
        writer.close()


def test_intake_of_many_callers_is_few_commits(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "e.sqlite") as store:
        held, answers = Held(store.writer), Answers()
        for n in range(64):
            store.intake_soon([alert(f"f{n}")], 100.0, answers.of(str(n)))
        before = store.writer.commits
        held.release()
        answers.wait(64)
        assert store.writer.commits <= before + 2
        ids = [i for result, _ in answers.seen.values() for i in result]
        assert len(set(ids)) == 64
