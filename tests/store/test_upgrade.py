"""Every released store opens under the schema of now, with all that was in it."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState
from opsloop.store.sqlite import SqliteStore
from tests.store.keep_schema import RELEASED, dump
from tests.store.samples import act, plan, taken

ROOT = Path(__file__).parents[2]
KEPT = {path.stem: path for path in sorted(RELEASED.glob("*.sql"))}


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = [
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        return {t: database.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in tables}


def shape(path: Path) -> set[tuple[str, str]]:
    """(kind, name) and (table, column) of everything."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        found = set(database.execute("SELECT type, name FROM sqlite_schema"))
        columns = database.execute(
            "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table'"
        )
        return found | set(columns)


def test_every_release_kept_its_store() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = set(re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE))
    assert released <= set(KEPT), "python -m tests.store.keep_schema at each release"


def test_what_a_release_keeps_has_something_in_every_table(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(dump())
    empty = {table for table, rows in contents(path).items() if not rows}
    assert empty == set()


@pytest.mark.parametrize("version", ["now", *KEPT])
def test_a_released_store_goes_on(version: str, tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    script = dump() if version == "now" else KEPT[version].read_text(encoding="utf-8")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(script)
    before = contents(path)
    with SqliteStore(path) as store:
        assert store.paused() == (True, "a person")
        states = {e.fingerprint: e.state for e in store.episodes(10, closed=True)}
        assert states["open"] is EpisodeState.RUNNING
        assert states["asked"] is EpisodeState.ASKED
        (open_run,) = store.open_runs()
        assert [r.state for r in store.runs(10) if r.id != open_run.id] == [RunState.VERIFIED]
        (waiting,) = store.approvals()
        assert waiting.plan.actions[0].target == "api:api-2"
        store.resume("looked", 160.0)
        store.record(act(taken(store, "after", 171.0), plan("api:api-3")), 172.0)
    with SqliteStore(tmp_path / "new.sqlite"):
        pass
    assert shape(path) == shape(tmp_path / "new.sqlite")
    after = contents(path)
    for table, rows in before.items():
        if table != "control":
            assert len(after[table]) >= len(rows), table
