"""Connections to the store's file: opening, its schema and version, and what failures mean."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from opsloop.errors import StoreError, StoreUnusable
from opsloop.store import statements

APPLICATION_ID: Final = 0x6F706C70  # "oplp", so that a foreign SQLite file is refused
SCHEMA_VERSION: Final = 2
MIGRATIONS: Final[Mapping[int, str]] = {  # version -> script that makes it of the one before
    2: "CREATE INDEX audit_of_people ON audit (kind, at)"
    " WHERE episode_id IS NULL AND run_id IS NULL;",
}
BUSY_TIMEOUT_MS: Final = 5000
_OLDEST_SQLITE = (3, 38, 0)  # RETURNING, STRICT, ->>


def connect(path: Path) -> sqlite3.Connection:
    """One connection with the store's settings; rows by name, transactions by hand.

    synchronous=FULL: with WAL, a commit returns after the fsync of the log. Raises
    StoreUnusable.
    """
    with failures(path):
        with contextlib.suppress(OSError):
            # Before SQLite makes it: its log and shared memory take their mode from the file.
            # Only where there is none: to close a descriptor of a file that is open here would
            # drop SQLite's locks on it, and another process would remove the log in use.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
        return connection


def prepare(path: Path) -> sqlite3.Connection:
    """Open for writing, in a new file too: make or move on the schema, in one transaction.

    Raises StoreUnusable when the file is not ours, damaged, of a newer opsloop, or cannot be
    written.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreUnusable(
            "SQLite", f"is {sqlite3.sqlite_version}, older than 3.38", "use a newer Python"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(
            str(path.parent), f"cannot be made: {error.strerror}", "choose another --state"
        ) from error
    connection = connect(path)
    try:
        with failures(path):
            _check_owner(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            _bring_up(connection, path)
        with contextlib.suppress(OSError):
            path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if owner != APPLICATION_ID and not (owner == 0 and empty):
        raise StoreUnusable(str(path), "is a database of another program", "choose another --state")


def _bring_up(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == SCHEMA_VERSION:
        _refuse_other_shape(connection, path)
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again, under the lock: another process may have been first.
        version = _version(connection)
        if version > SCHEMA_VERSION:
            raise StoreUnusable(
                str(path),
                f"was written by a newer opsloop (schema {version}, this one knows {SCHEMA_VERSION})",
                "install that opsloop again",
            )
        if version == 0:
            scripts = [statements.schema()]
        else:
            scripts = [MIGRATIONS[v] for v in range(version + 1, SCHEMA_VERSION + 1)]
        for script in scripts:
            for statement in statements.statements(script):
                connection.execute(statement)
        if version > 0:
            _renew_triggers(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def _renew_triggers(connection: sqlite3.Connection) -> None:
    """The invariants of now: a migration moves tables on, and triggers are those of schema.sql."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (name,) in found:
        connection.execute(f'DROP TRIGGER "{name}"')
    for statement in statements.statements(statements.schema()):
        if re.search(r"^CREATE TRIGGER ", statement, re.MULTILINE):
            connection.execute(statement)


def _refuse_other_shape(connection: sqlite3.Connection, path: Path) -> None:
    """A build between two versions may have written another schema under the same number."""
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        for statement in statements.statements(statements.schema()):
            model.execute(statement)
        if _shape(model) != _shape(connection):
            raise StoreUnusable(
                str(path),
                f"has another schema than version {SCHEMA_VERSION} of this opsloop",
                "use the opsloop that made it, or remove the state with `opsloop down --purge`",
            )


def _shape(connection: sqlite3.Connection) -> frozenset[tuple[str, ...]]:
    """Names of tables with their columns, and of indexes: what statements rely on.

    Not of triggers: a store that someone tampered with still opens, for `runs verify`.
    """
    objects = connection.execute(
        "SELECT type, name, tbl_name FROM sqlite_schema WHERE type <> 'trigger'"
    ).fetchall()
    columns = connection.execute(
        "SELECT m.name, c.name, c.type FROM sqlite_schema AS m, pragma_table_xinfo(m.name) AS c"
        " WHERE m.type = 'table'"
    ).fetchall()
    return frozenset(
        tuple(row)
        for row in (*objects, *columns)
        if not str(row[1]).startswith("sqlite_") and not str(row[0]).startswith("sqlite_")
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def roll_back(connection: sqlite3.Connection) -> None:
    """Leave no transaction open; SQLite itself ends one on some errors."""
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


@contextlib.contextmanager
def failures(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into the store's own, with the next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error


def as_store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """What an error of SQLite means to a person."""
    text = str(error)
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    folder = str(path.parent)
    if code == sqlite3.SQLITE_FULL:
        return StoreUnusable(str(path), "the disk is full", f"make room under {folder}")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        reason = "cannot be written" if os.path.exists(path) else "cannot be opened"  # noqa: PTH110
        return StoreUnusable(str(path), f"{reason}: {text}", f"see who owns {folder}")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnusable(str(path), f"the disk fails: {text}", f"see the disk under {folder}")
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return StoreUnusable(
            str(path),
            f"is damaged: {text}",
            f"stop the stack, move it away (`mv {path} {path}.damaged`) and start again",
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(str(path), f"another process writes for more than {BUSY_TIMEOUT_MS} ms")
    return StoreError(str(path), text)
