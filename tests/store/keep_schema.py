"""Keep the store of this release: python -m tests.store.keep_schema, when a version is released."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from opsloop import __version__
from opsloop.store import connection
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import filled

RELEASED = Path(__file__).with_name("released")


def dump() -> str:
    """A store with something in every table, as the statements that make it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.sqlite"
        with SqliteStore(path) as store:
            filled(store)
        with contextlib.closing(sqlite3.connect(path)) as database:
            lines = [
                f"PRAGMA application_id = {connection.APPLICATION_ID};",
                f"PRAGMA user_version = {connection.SCHEMA_VERSION};",
                *database.iterdump(),
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    RELEASED.mkdir(exist_ok=True)
    (RELEASED / f"{__version__}.sql").write_text(dump(), encoding="utf-8")
