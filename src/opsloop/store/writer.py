"""The one thread that writes: what comes while it commits goes into its next transaction."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from opsloop.errors import OpsloopError, StoreError
from opsloop.store.connection import as_store_error, connect, roll_back

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
Done = Callable[[Any, Exception | None], None]

MAX_GROUP: Final = 256  # jobs of one transaction, so that the first does not wait for ever
log = logging.getLogger("opsloop.store")


class Job:
    """One caller's work. `done(result, error)` is called after the commit, on this thread."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Work, done: Done) -> None:
        self.work = work
        self.done = done
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """Group commit. Each job is atomic in a savepoint of its own: one that fails takes nothing
    of the others with it. A failed commit fails them all, and nothing of them is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.commits = 0  # transactions that reached the disk

    def submit(self, work: Work, done: Done) -> None:
        """Queue `work`. Raises StoreError after close."""
        with self._lock:
            if self._closed:
                raise StoreError(str(self.path), "the store is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store", daemon=True)
                self._thread.start()
            self._queue.put(Job(work, done))

    def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` and return its result when it is durable, or raise its error."""
        outcome: list[Any] = []
        ready = threading.Lock()
        ready.acquire()

        def done(result: Any, error: Exception | None) -> None:
            outcome.extend((result, error))
            ready.release()

        self.submit(work, done)
        ready.acquire()
        result, error = outcome
        if error is not None:
            raise error
        return cast("T", result)

    @property
    def waiting(self) -> int:
        """Jobs that are in no transaction yet."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish what is queued, then end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
            self._queue.put(None)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        running = True
        while running:
            jobs: list[Job] = []
            item = self._queue.get()
            while item is not None:
                jobs.append(item)
                if len(jobs) >= MAX_GROUP:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                running = False
            if jobs:
                self._commit(jobs)
            for job in jobs:
                try:
                    job.done(job.result, job.error)
                except Exception:
                    log.exception("a caller of the store did not take its answer")
        if self._connection is not None:
            self._connection.close()

    def _commit(self, jobs: list[Job]) -> None:
        try:
            if self._connection is None:
                self._connection = connect(self.path)
            self._transaction(self._connection, jobs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers hear of it
            own = as_store_error(error, self.path) if isinstance(error, sqlite3.Error) else error
            for job in jobs:
                job.result, job.error = None, own

    def _transaction(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._one(connection, job)
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
        self.commits += 1

    def _one(self, connection: sqlite3.Connection, job: Job) -> None:
        connection.execute("SAVEPOINT job")
        try:
            job.result = job.work(connection)
        except Exception as error:
            if not connection.in_transaction:
                raise  # SQLite ended the whole transaction (disk full): nobody's work stands
            connection.execute("ROLLBACK TO job")
            if isinstance(error, sqlite3.Error):
                error = as_store_error(error, self.path)
            elif not isinstance(error, OpsloopError):
                log.exception("a write of the store failed")
            job.error = error
        connection.execute("RELEASE job")
