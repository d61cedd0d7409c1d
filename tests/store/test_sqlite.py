"""The store on SQLite: the contract, and what its file does beyond it."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsloop.errors import NotRunning, Paused, StateUnusable, StoreError, StoreUnusable
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState
from opsloop.store import connection, statements
from opsloop.store.sqlite import SqliteStore, open_existing
from tests.store.contract import DONE, StoreContract
from tests.store.samples import act, alert, filled, started, taken


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "engine.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path) as opened:
        yield opened


class TestSqlite(StoreContract):
    pass


def raw(path: Path) -> sqlite3.Connection:
    """A connection past the store, as a bug would write."""
    found = sqlite3.connect(path, isolation_level=None)
    found.execute("PRAGMA foreign_keys = ON")
    return found


# The invariants stand in the schema.

_EPISODE = (
    "INSERT INTO episodes (fingerprint, starts_ms, labels, annotations, firing, state,"
    " first_seen, last_seen, rank) SELECT fingerprint, starts_ms, '{}', '{}', 1, 'new', 1, 1, ''"
    " FROM episodes"
)
_RUN = (
    "policy, service, {attempt}, state, plan, plan_hash, 99, created_at, acting_at, acted_at,"
    " finished_at, good_since, reason, detail FROM runs"
)
# Over already, so that it is no second open run.
_ENDED_RUN = _RUN.replace(" state,", " 'cancelled',").replace(" finished_at,", " 5,")
_ACTION = "INSERT INTO actions (run_id, idx, kind, target, begun_at) VALUES ({}, {}, 'x', 'y', 5)"
_ESCALATION = (
    "INSERT INTO escalations (episode_id, reason, labels, annotations, starts_at)"
    " VALUES ({}, '', '{{}}', '{{}}', 5)"
)
_AUDIT = (
    "INSERT INTO audit SELECT {}, at, kind, episode_id, run_id, body, {}, {} FROM audit LIMIT 1"
)
_FORGED = "substr(hash, 2) || 'x'"

REFUSED = {
    "one episode per alert and start": (
        _EPISODE,
        "UNIQUE constraint failed: episodes.fingerprint, episodes.starts_ms",
    ),
    "known states": ("UPDATE episodes SET state = 'odd'", "CHECK constraint failed: state"),
    "an end and firing": ("UPDATE episodes SET ended_at = 5", "CHECK constraint failed"),
    "no end and not firing": ("UPDATE episodes SET firing = 0", "CHECK constraint failed"),
    "labels are JSON": ("UPDATE episodes SET labels = 'no'", "CHECK constraint failed: labels"),
    "one run per attempt": (
        f"INSERT INTO runs SELECT 99, episode_id, {_ENDED_RUN.format(attempt='attempt')}",
        "UNIQUE constraint failed: runs.episode_id, runs.policy, runs.attempt",
    ),
    "one open run per episode": (
        f"INSERT INTO runs SELECT 99, episode_id, {_RUN.format(attempt=7)}",
        "UNIQUE constraint failed: runs.episode_id",
    ),
    "a run has an episode": ("UPDATE runs SET episode_id = 99", "FOREIGN KEY"),
    "an ended run has a time": ("UPDATE runs SET state = 'failed'", "CHECK constraint failed"),
    "only what has acted is verified": (
        "DELETE FROM locks; UPDATE runs SET state = 'verified', finished_at = 5",
        "only a run that has acted is verified",
    ),
    "an open run has none": (
        "DELETE FROM locks; UPDATE runs SET finished_at = 5",
        "CHECK constraint failed",
    ),
    "an ended run has no locks": (
        "UPDATE runs SET state = 'failed', finished_at = 5",
        "releases its locks first",
    ),
    "tokens stay": ("UPDATE runs SET token = 99", "do not change"),
    "plans stay": ("UPDATE runs SET plan = '{}'", "do not change"),
    "one lock per resource": (
        "INSERT INTO locks SELECT resource, run_id, token, 5 FROM locks",
        "UNIQUE constraint failed: locks.resource",
    ),
    "a lock has its run's token": (
        "INSERT INTO locks SELECT 'other', run_id, token + 1, 5 FROM locks",
        "only an open run takes locks",
    ),
    "a lock has a run": ("INSERT INTO locks VALUES ('other', 99, 1, 5)", "only an open run"),
    "actions in order": (_ACTION.format(1, 1), "has not succeeded"),
    "an action needs its run's locks": (
        f"DELETE FROM locks; {_ACTION.format(1, 0)}",
        "needs the locks of its run",
    ),
    "what began is not cancelled": (
        (
            f"{_ACTION.format(1, 0)}; DELETE FROM locks;"
            " UPDATE runs SET state = 'cancelled', finished_at = 5"
        ),
        "is not cancelled",
    ),
    "what was cut short is unknown first": (
        (
            f"{_ACTION.format(1, 0)}; DELETE FROM locks;"
            " UPDATE runs SET state = 'failed', finished_at = 5"
        ),
        "is unknown first",
    ),
    "an action has a run": (_ACTION.format(9, 0), "FOREIGN KEY"),
    "an action begins once": (
        f"{_ACTION.format(1, 0)}; {_ACTION.format(1, 0)}",
        "UNIQUE constraint failed: actions",
    ),
    "an escalation has an episode": (_ESCALATION.format(9), "FOREIGN KEY"),
    "one escalation per episode": (
        f"{_ESCALATION.format(1)}; {_ESCALATION.format(1)}",
        "UNIQUE constraint failed: escalations.episode_id",
    ),
    "paused since a time": ("UPDATE control SET paused = 1", "CHECK constraint failed"),
    "one control row": ("INSERT INTO control (id) VALUES (2)", "CHECK constraint failed: id"),
    "audit rows stay": ("DELETE FROM audit", "audit rows stay"),
    "audit rows do not change": ("UPDATE audit SET body = '{}'", "do not change"),
    "audit without a gap": (_AUDIT.format(99, "hash", _FORGED), "continues the chain"),
    "audit bound to the last": (_AUDIT.format(2, "prev", _FORGED), "continues the chain"),
}


@pytest.mark.parametrize(("statements_", "reason"), REFUSED.values(), ids=REFUSED)
def test_the_schema_refuses(store: SqliteStore, path: Path, statements_: str, reason: str) -> None:
    """Each goes past the store's code, as a bug would."""
    started(store)
    *before, last = statements_.split("; ")
    with contextlib.closing(raw(path)) as c:
        for statement in before:
            c.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match=reason):
            c.execute(last)


def test_the_schema_refuses_actions_while_paused(store: SqliteStore, path: Path) -> None:
    run = started(store)
    store.pause("", 102.0)
    with contextlib.closing(raw(path)) as c, pytest.raises(sqlite3.IntegrityError, match="paused"):
        c.execute(
            "INSERT INTO actions (run_id, idx, kind, target, begun_at) VALUES (?, 0, 'x', 'y', 5)",
            (run.id,),
        )


def test_the_schema_refuses_to_change_what_is_over(store: SqliteStore, path: Path) -> None:
    run = started(store)
    store.begin_action(run, 0, 102.0)
    store.end_action(run, 0, DONE, 103.0)
    store.move_run(run, RunState.FAILED, "", 104.0)
    with contextlib.closing(raw(path)) as c:
        for statement in (
            "UPDATE runs SET reason = 'other'",
            "UPDATE actions SET output = 'other'",
            "UPDATE actions SET begun_at = 1",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                c.execute(statement)


def test_every_statement_is_described_and_compiles(path: Path, store: SqliteStore) -> None:
    with contextlib.closing(raw(path)) as c:
        for name, sql in statements.queries().items():
            values = dict.fromkeys(_names(sql))
            assert c.execute(f"EXPLAIN {sql}", values).fetchall(), name


def _names(sql: str) -> set[str]:
    return set(re.findall(r":([a-z_]+)", sql))


ASKED_OFTEN = (
    *("due", "next_due", "firing", "episodes_of", "last_episode", "history", "open_runs"),
    *("open_episodes", "actions", "escalations", "audit_of_run", "audit_of_episode"),
)


@pytest.mark.parametrize("name", ASKED_OFTEN)
def test_what_is_asked_all_the_time_reads_no_whole_table(
    store: SqliteStore, path: Path, name: str
) -> None:
    with contextlib.closing(raw(path)) as c:
        sql = statements.queries()[name]
        steps = c.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(_names(sql))).fetchall()
    for step in (str(s[3]) for s in steps):
        assert "INDEX" in step or "PRIMARY KEY" in step or not step.startswith("SCAN"), step
    assert any("INDEX" in str(s[3]) or "PRIMARY KEY" in str(s[3]) for s in steps)


# Its file


def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    with SqliteStore(path) as first:
        run = started(first)
        first.begin_action(run, 0, 102.0)
        first.pause("why", 103.0)
        first.set_wanted("api", 3, 104.0)
    with SqliteStore(path) as second:
        assert [r.id for r in second.open_runs()] == [run.id]
        assert second.paused() == (True, "why")
        assert second.wanted("api") == 3
        assert second.verify_audit().ok


def test_two_processes_see_each_other(path: Path, store: SqliteStore) -> None:
    """The command line pauses in its own process; here: over a second store on the file."""
    run = started(store)
    with SqliteStore(path, create=False) as other:
        other.pause("from elsewhere", 102.0)
    assert store.paused() == (True, "from elsewhere")
    with pytest.raises(Paused):
        store.begin_action(run, 0, 103.0)


def test_two_engines_by_mistake_on_one_file(path: Path, store: SqliteStore) -> None:
    with SqliteStore(path) as other:
        assert store.lease("one", 100.0, 10.0)
        assert not other.lease("two", 101.0, 10.0)
        run = started(store)
        store.begin_action(run, 0, 102.0)
        with pytest.raises(StoreError):
            other.begin_action(run, 0, 103.0)


def test_an_engine_that_stops_begins_nothing_more(store: SqliteStore) -> None:
    run = started(store)
    episode = taken(store, "b2")
    store.stop_actions("the engine stops")
    with pytest.raises(Paused, match="the engine stops"):
        store.begin_action(run, 0, 103.0)
    with pytest.raises(Paused):
        store.record(act(episode), 103.0)
    assert store.paused() == (False, "")
    assert store.intake([alert("c3")], 104.0)


def test_the_file_is_the_owners_alone(path: Path, store: SqliteStore) -> None:
    store.intake([alert("a1")], 100.0)
    made = sorted(path.parent.glob(f"{path.name}*"))
    assert path.with_name(f"{path.name}-wal") in made
    assert {f.name: f.stat().st_mode & 0o777 for f in made} == {f.name: 0o600 for f in made}


def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.intake([alert()], 100.0)


def test_a_damaged_file_is_refused_with_the_next_step(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and long enough to have a header" * 20)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"is damaged.*mv .*damaged") as caught:
        SqliteStore(path)
    assert path.read_bytes() == before
    assert isinstance(caught.value, StateUnusable)
    assert caught.value.exit_code == 3


def test_damage_found_later_is_told_and_is_no_crash(path: Path) -> None:
    with SqliteStore(path) as store:
        for n in range(200):
            store.intake([alert(f"f{n}", note="x" * 500)], 100.0)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 16384)
    with SqliteStore(path) as store:
        with pytest.raises(StoreUnusable, match="is damaged"):
            store.episodes(1000, closed=True)
        assert store.paused() == (False, "")


def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as c:
        c.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreUnusable, match="another program"):
        SqliteStore(path)
    with contextlib.closing(sqlite3.connect(path)) as c:
        assert [r[0] for r in c.execute("SELECT name FROM sqlite_schema")] == ["theirs"]


def test_another_schema_of_the_same_version_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    SqliteStore(path).close()
    with contextlib.closing(raw(path)) as c:
        c.execute("ALTER TABLE wanted ADD COLUMN strange TEXT")
    said = f"another schema than version {connection.SCHEMA_VERSION}"
    with pytest.raises(StoreUnusable, match=said):
        SqliteStore(path)


def test_a_newer_schema_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with contextlib.closing(raw(path)) as c:
        c.execute(f"PRAGMA user_version = {connection.SCHEMA_VERSION + 1}")
    with pytest.raises(StoreUnusable, match="newer opsloop"):
        SqliteStore(path)


def test_an_older_schema_is_moved_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteStore(path) as store:
        episode = taken(store)
    following = connection.SCHEMA_VERSION + 1
    script = (
        "-- A column more.\nALTER TABLE episodes ADD COLUMN note TEXT;\nCREATE TABLE more (x);\n"
    )
    monkeypatch.setattr(connection, "SCHEMA_VERSION", following)
    monkeypatch.setattr(connection, "MIGRATIONS", {following: script})
    with SqliteStore(path) as store:
        assert store.episode(episode.id).fingerprint == "a1"
    with contextlib.closing(raw(path)) as c:
        assert c.execute("PRAGMA user_version").fetchone()[0] == following
        c.execute("SELECT note FROM episodes")


def test_a_migration_that_fails_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteStore(path).close()
    following = connection.SCHEMA_VERSION + 1
    script = "CREATE TABLE more (x);\nCREATE TABLE episodes (y);\n"
    monkeypatch.setattr(connection, "MIGRATIONS", {following: script})
    with monkeypatch.context() as patched:
        patched.setattr(connection, "SCHEMA_VERSION", following)
        with pytest.raises(StoreError, match="already exists"):
            SqliteStore(path)
    with SqliteStore(path) as store:
        assert store.intake([alert()], 100.0)
    with contextlib.closing(raw(path)) as c, pytest.raises(sqlite3.OperationalError):
        c.execute("SELECT * FROM more")


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreUnusable, match="cannot be made"):
        SqliteStore(tmp_path / "data" / "engine.sqlite")


def test_a_store_that_must_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="no such file"):
        SqliteStore(tmp_path / "engine.sqlite", create=False)
    with pytest.raises(NotRunning, match="no stack was ever up"):
        open_existing(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_closed_episodes_are_listed_when_asked(store: SqliteStore) -> None:
    first, second = taken(store, "a1"), taken(store, "b2")
    store.set_episode(first.id, EpisodeState.CLOSED, "over", None, 101.0)
    assert [e.id for e in store.episodes()] == [second.id]
    assert [e.id for e in store.episodes(closed=True)] == [second.id, first.id]
    assert [e.id for e in store.episodes(1, closed=True)] == [second.id]
    assert store.counts() == {"new": 1}


def test_runs_are_counted_by_service_policy_and_state(store: SqliteStore) -> None:
    filled(store)
    assert store.run_counts() == {
        ("api", "restart-down", "verified"): (1, 120.0),
        ("api", "restart-down", "planned"): (1, 131.0),
    }


# What people note


def test_a_store_of_version_1_is_moved_on(path: Path) -> None:
    SqliteStore(path).close()
    with contextlib.closing(raw(path)) as c:
        c.execute("DROP INDEX audit_of_people")
        c.execute("PRAGMA user_version = 1")
    with SqliteStore(path) as store:
        store.note("annotation", {"text": "deploy v12"}, 100.0)
        assert [n["body"]["text"] for n in store.notes("annotation", 0.0, 200.0)] == ["deploy v12"]


def test_notes_are_found_by_kind_and_time(path: Path) -> None:
    with SqliteStore(path) as store:
        before = store.last_change()
        for at in (100.0, 200.0, 150.0):
            store.note("annotation", {"at": at}, at)
        store.note("console", {"by": "anna"}, 160.0)
        found = store.notes("annotation", 120.0, 200.0)
        assert [n["at"] for n in found] == [200.0, 150.0]
        assert len(store.notes("annotation", 0.0, 300.0, limit=1)) == 1
        assert store.notes("acknowledge", 0.0, 300.0) == []
        assert store.last_change() == before + 4
        assert store.verify_audit().ok
