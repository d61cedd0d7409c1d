"""Reading the store's file: connections of their own, kept for the next question."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from opsloop.store.connection import connect, failures
from opsloop.store.statements import queries


class Readers:
    """Rows of named statements, for any thread. `first`: a connection to begin with."""

    def __init__(self, path: Path, first: sqlite3.Connection) -> None:
        self.path = path
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._idle.put(first)

    def close(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = connect(self.path)
        try:
            with failures(self.path):
                yield connection
        except BaseException:
            connection.close()  # after an error none of its state is worth keeping
            raise
        self._idle.put(connection)

    def rows(self, name: str, **values: object) -> list[sqlite3.Row]:
        with self.reading() as c:
            return c.execute(queries()[name], values).fetchall()

    def row(self, name: str, **values: object) -> sqlite3.Row | None:
        found = self.rows(name, **values)
        return found[0] if found else None
