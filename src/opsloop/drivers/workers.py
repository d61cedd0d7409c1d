"""The Workers port: threads for actions, so that the engine's loop never waits for one."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

from opsloop.remediation.ports import Finished

MAX_WORKERS: Final = 16
log = logging.getLogger("opsloop.workers")


class ThreadWorkers:
    """At most `size` works at a time, the rest wait in order. `wake` is called when one ends."""

    def __init__(self, wake: Callable[[], None], size: int = MAX_WORKERS) -> None:
        self._wake = wake
        self._size = size
        self._todo: queue.SimpleQueue[tuple[str, Callable[[], object]] | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._pending = 0

    def submit(self, key: str, work: Callable[[], object]) -> None:
        """Run it soon. Never blocks and never refuses."""
        with self._lock:
            self._pending += 1
            if len(self._threads) < min(self._size, self._pending):
                thread = threading.Thread(target=self._run, name=f"worker-{key}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._todo.put((key, work))

    def done(self) -> list[Finished]:
        """What has finished since the last call."""
        found = []
        while True:
            try:
                found.append(self._finished.get_nowait())
            except queue.Empty:
                return found

    @property
    def pending(self) -> int:
        """How many were submitted and have not finished."""
        return self._pending

    def idle(self) -> bool:
        """Whether nothing runs and every result was taken."""
        return self._pending == 0 and self._finished.empty()

    def close(self, wait_s: float) -> bool:
        """Let what runs finish, for at most wait_s; False when some still does."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join(wait_s)
        return not any(t.is_alive() for t in self._threads)

    def _run(self) -> None:
        while (item := self._todo.get()) is not None:
            key, work = item
            try:
                finished = Finished(key, work())
            except Exception as error:  # noqa: BLE001 - the engine judges it
                finished = Finished(key, None, error)
            self._finished.put(finished)
            with self._lock:
                self._pending -= 1
            self._wake()
