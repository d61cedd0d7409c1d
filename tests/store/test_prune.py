"""Forgetting by age: what goes, what stays, and an audit that is still proven."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsloop.errors import StoreUnusable
from opsloop.remediation.approval import Ending
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState
from opsloop.store import backup
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import act, alert, started, taken, wish


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "engine.sqlite") as made:
        yield made


def closed(store: SqliteStore, fingerprint: str, at: float) -> int:
    """An episode with an approval, a run, an action and an escalation, that ended at `at`."""
    episode = taken(store, fingerprint, at - 10)
    store.record(wish(episode, expires_at=at), at - 9)
    (approval,) = [a for a in store.approvals() if a.episode_id == episode.id]
    store.end_approval(approval.id, Ending.OVER, at - 8)
    run = store.record(act(episode), at - 7)
    assert run is not None
    store.begin_action(run, 0, at - 6)
    store.move_run(run, RunState.UNKNOWN, "who knows", at - 6)
    store.move_run(run, RunState.FAILED, "no", at - 5)
    store.escalate(episode, run.id, "no", {}, {}, at - 4)
    store.intake([alert(fingerprint, firing=False)], at)
    store.set_episode(episode.id, EpisodeState.CLOSED, "resolved", None, at)
    return episode.id


def test_old_closed_episodes_go_with_all_about_them(store: SqliteStore) -> None:
    old, young = closed(store, "a1", 1000.0), closed(store, "b2", 5000.0)
    open_ = started(store, "c3", now=1000.0).episode_id
    assert store.prune(3000.0, 100, 6000.0) > 0
    assert store.prune(3000.0, 100, 6000.0) == 0
    assert {e.id for e in store.episodes(10, closed=True)} == {young, open_}
    assert [r.episode_id for r in store.runs()] == [open_, young]
    assert store.approval_of(old) is None
    assert store.approval_of(young) is not None
    assert store.escalation_of(old) is None
    assert store.escalation_of(young) is not None


def test_the_audit_is_whole_from_its_anchor_on(store: SqliteStore) -> None:
    closed(store, "a1", 1000.0)
    whole = store.verify_audit().rows
    closed(store, "b2", 5000.0)
    while store.prune(3000.0, 2, 6000.0):
        assert store.verify_audit().ok
    found = store.verify_audit()
    assert found.ok
    with sqlite3.connect(store.path) as c:
        assert c.execute("SELECT anchor_id FROM control").fetchone()[0] == whole
        rows = c.execute("SELECT count(*) FROM audit WHERE kind = 'prune'").fetchone()[0]
    c.close()
    assert rows > 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
        "DELETE FROM audit WHERE id = (SELECT min(id) FROM audit)",
        "UPDATE control SET anchor_id = 0",
        "UPDATE control SET anchor_id = anchor_id + 1",
        "UPDATE control SET anchor_id = 10000, anchor_hash = audit_hash",
    ],
)
def test_the_schema_lets_nobody_cut_elsewhere(store: SqliteStore, statement: str) -> None:
    closed(store, "a1", 1000.0)
    closed(store, "b2", 5000.0)
    store.prune(3000.0, 100, 6000.0)
    c = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError):
        c.execute(statement)
    c.close()
    assert store.verify_audit().ok


def test_a_clock_that_went_back_stops_at_the_first_young_row(store: SqliteStore) -> None:
    closed(store, "a1", 5000.0)
    closed(store, "b2", 1000.0)
    while store.prune(3000.0, 100, 6000.0):
        pass
    assert [e.fingerprint for e in store.episodes(10, closed=True)] == ["a1"]
    assert store.verify_audit().ok


# Copies


def test_a_copy_is_whole_while_others_write(store: SqliteStore, tmp_path: Path) -> None:
    for n in range(40):
        closed(store, f"f{n}", 1000.0 + n)
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            closed(store, f"g{n}", 9000.0 + n)
            n += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = backup.copy(store.path, tmp_path / "copy.sqlite")
    finally:
        stop.set()
        thread.join()
    assert (found.path.stat().st_mode & 0o777, found.size) == (0o600, found.path.stat().st_size)
    with SqliteStore(found.path, create=False) as copied:
        assert copied.verify_audit().ok
        assert len(copied.episodes(1000, closed=True)) >= 40
    assert sorted(p.name for p in tmp_path.iterdir() if ".part" in p.name) == []
    store.record(act(taken(store, "after")), 1.0)  # the copy dropped none of its locks


def test_a_copy_replaces_only_when_it_is_whole(store: SqliteStore, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    target.write_text("an older copy")
    c = sqlite3.connect(store.path)
    c.execute("DROP TRIGGER audit_no_update")
    closed(store, "a1", 1000.0)
    c.execute("UPDATE audit SET body = '{}' WHERE id = 2")
    c.commit()
    c.close()
    with pytest.raises(StoreUnusable, match="row 2 was changed"):
        backup.copy(store.path, target)
    assert target.read_text() == "an older copy"


def test_a_place_that_is_none(store: SqliteStore, tmp_path: Path) -> None:
    for target in (tmp_path, store.path, tmp_path / "no" / "where"):
        with pytest.raises(StoreUnusable):
            backup.copy(store.path, target)
    assert store.verify_audit().ok
