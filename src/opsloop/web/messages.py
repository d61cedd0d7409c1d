"""The messages that the inbox keeps: a SQLite table, written by one process, read by any."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opsloop.errors import StateUnusable

KEPT = 10_000  # newest messages; older ones are removed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at REAL NOT NULL,
    vendor TEXT NOT NULL CHECK (vendor IN ('slack', 'pagerduty', 'webhook')),
    path TEXT NOT NULL,
    accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),
    reason TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('firing', 'acknowledged', 'resolved', 'unknown')),
    title TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT
"""
_COLUMNS = "id, received_at, vendor, path, accepted, reason, status, title, body"
_OLDEST = f"SELECT {_COLUMNS} FROM messages WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
_NEWEST = f"SELECT {_COLUMNS} FROM messages WHERE id > ? ORDER BY id DESC LIMIT ?"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came. received_at: unix seconds; reason: why it was refused."""

    id: int
    received_at: float
    vendor: str
    path: str
    accepted: bool
    reason: str
    status: str
    title: str
    body: str

    def as_json(self) -> dict[str, Any]:
        """The object of `opsloop inbox --json`; `body` is parsed where it is JSON."""
        values = asdict(self)
        with suppress(ValueError, RecursionError):
            values["body"] = parse(self.body)
        return values


def parse(text: str) -> Any:
    """JSON, as strictly as the standard has it and only what can be written again.

    Raises ValueError or RecursionError: NaN, half a character, or too deep.
    """
    value = json.loads(text, parse_constant=_refuse_constant)
    json.dumps(value, ensure_ascii=False, indent=1).encode()
    return value


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


class Messages:
    """The table. One writer; a message is in the file when `add` returns."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StateUnusable(
                str(path), f"cannot be opened: {error}", "check the folder's rights and space"
            ) from None

    def add(self, message: Message) -> int:
        """Keep a message (its id is ignored); returns its id. Raises StateUnusable."""
        values = asdict(message)
        del values["id"]
        try:
            cursor = self._db.execute(
                "INSERT INTO messages (received_at, vendor, path, accepted, reason, status, title,"
                " body) VALUES (:received_at, :vendor, :path, :accepted, :reason, :status, :title,"
                " :body)",
                values,
            )
            new = cursor.lastrowid or 0
            if new % 100 == 0:
                self._db.execute("DELETE FROM messages WHERE id <= ?", (new - KEPT,))
        except sqlite3.Error as error:
            raise StateUnusable(
                "inbox", f"cannot keep a message: {error}", "check the disk"
            ) from None
        return new

    def since(self, after: int, limit: int) -> list[Message]:
        return [_message(row) for row in self._db.execute(_OLDEST, (after, limit))]

    def newest(self, limit: int) -> list[Message]:
        return [_message(row) for row in self._db.execute(_NEWEST, (0, limit))]

    def close(self) -> None:
        self._db.close()


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, read only, also while the inbox writes."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        yield db
    finally:
        db.close()


def read(path: Path, after: int, limit: int) -> list[Message]:
    """The oldest `limit` messages with an id above `after`; none when there is no file yet."""
    return _read(path, _OLDEST, after, limit)


def read_newest(path: Path, after: int, limit: int) -> list[Message]:
    """The newest `limit` messages with an id above `after`, oldest first."""
    return _read(path, _NEWEST, after, limit)[::-1]


def _read(path: Path, query: str, after: int, limit: int) -> list[Message]:
    if not path.exists():
        return []
    try:
        with reading(path) as db:
            return [_message(row) for row in db.execute(query, (after, limit))]
    except sqlite3.Error as error:
        raise StateUnusable(str(path), f"cannot be read: {error}") from None


def _message(row: Any) -> Message:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    return Message(**{**values, "accepted": bool(values["accepted"])})
