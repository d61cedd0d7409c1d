"""The audit chain: whole as it is written, broken as soon as somebody touches it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from opsloop.store.sqlite import SqliteStore
from tests.store.samples import started


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "engine.sqlite"
    with SqliteStore(path) as store:
        run = started(store)
        store.begin_action(run, 0, 102)  # a whole number of seconds is the same moment
        store.pause("über alles", 103.25)
        store.resume("", 104.5)
    return path


def tamper(path: Path, *statements: str) -> None:
    """As somebody with the file does: the triggers are taken away first."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as c:
        for name in ("audit_no_update", "audit_no_delete", "audit_continues"):
            c.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            c.execute(statement)


def test_an_untouched_chain_is_whole(path: Path) -> None:
    with SqliteStore(path) as store:
        report = store.verify_audit()
    assert (report.ok, report.rows, report.bad_id) == (True, 4, None)


def test_an_empty_chain_is_whole(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "new.sqlite") as store:
        assert store.verify_audit().ok


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE audit SET body = \'{"do":"nothing"}\' WHERE id = 2',
        "UPDATE audit SET at = at + 1 WHERE id = 2",
        "UPDATE audit SET kind = 'other' WHERE id = 2",
        "UPDATE audit SET run_id = NULL WHERE id = 2",
        "UPDATE audit SET episode_id = 7 WHERE id = 2",
        f"UPDATE audit SET hash = '{'f' * 64}' WHERE id = 2",
        f"UPDATE audit SET prev = '{'f' * 64}' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "UPDATE audit SET id = 9 WHERE id = 2",
    ],
)
def test_a_change_shows_at_its_row(path: Path, statement: str) -> None:
    tamper(path, statement)
    with SqliteStore(path) as store:
        report = store.verify_audit()
    assert not report.ok
    assert report.bad_id == 2
    assert report.reason


def test_an_end_that_was_cut_off_shows(path: Path) -> None:
    tamper(path, "DELETE FROM audit WHERE id >= 3")
    with SqliteStore(path) as store:
        report = store.verify_audit()
    assert not report.ok
    assert "3" in report.reason


def test_a_row_put_in_by_hand_shows(path: Path) -> None:
    tamper(
        path,
        "INSERT INTO audit SELECT 5, at, kind, episode_id, run_id, body, hash,"
        f" '{'e' * 64}' FROM audit WHERE id = 4",
    )
    with SqliteStore(path) as store:
        assert store.verify_audit().bad_id == 5
