"""The one thread that turns the engine: woken by the intake and by workers, reloaded, stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from opsloop.drivers.workers import ThreadWorkers
from opsloop.errors import OpsloopError
from opsloop.remediation.engine import Engine

STUCK_S: Final = 60.0  # a loop that has not turned for so long is not ready
LONGEST_WAIT_S: Final = 5.0  # so that a clock that jumps does not hold it up
BUG_WAIT_S: Final = 1.0
YIELD: Final = 3.0  # while more is due at once: rest for so many times as long as it worked,
LONGEST_YIELD_S: Final = 0.1  # so that a storm's decisions do not hold up its webhooks
log = logging.getLogger("opsloop.loop")


class EngineLoop:
    """The one thread that calls the engine's tick, woken by the intake and by workers."""

    def __init__(self, make: Callable[[], Engine], workers: ThreadWorkers) -> None:
        """make: a new engine of what engine.json says now. OpsloopError: the old one stays."""
        self._make = make
        self._engine = make()
        self._workers = workers
        self._wake = threading.Event()
        self._reload = False
        self._stop_by: float | None = None
        self._turned_at = time.monotonic()
        self.read_ok = True  # whether engine.json was taken when it was read last
        self.read_at = time.time()  # when it was taken last, unix seconds
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something happened: turn now."""
        self._wake.set()

    def reconcile(self) -> None:
        """Read the list of Alertmanager now."""
        self._engine.reconcile_soon()
        self.wake()

    def reload(self) -> None:
        """Take engine.json anew, as soon as no action is under way."""
        self._reload = True
        self.wake()

    def stop(self, drain_s: float) -> None:
        """Let the actions under way end and be recorded, for at most drain_s."""
        self._stop_by = time.monotonic() + drain_s
        self.wake()
        self._thread.join(drain_s + 5)

    @property
    def active(self) -> bool:
        return self._engine.active

    @property
    def silent_s(self) -> float:
        """Seconds since the loop turned last."""
        return time.monotonic() - self._turned_at

    def not_ready(self) -> str:
        """Why the loop does not do its work; empty when it does."""
        if not self._thread.is_alive():
            return "the loop ended"
        if self.silent_s > STUCK_S:
            return f"the loop has not turned for {self.silent_s:.0f} s"
        if self._engine.failing:
            return f"the loop fails each time: {self._engine.failing}"
        return "" if self._engine.active else "another engine is active, or the store refuses"

    def _run(self) -> None:
        while not self._over():
            self._wake.clear()
            idle = self._workers.idle()
            now, began = time.time(), time.monotonic()
            try:
                next_at = self._engine.tick(now)
            except Exception:
                log.exception("the engine's turn failed")
                next_at = now + BUG_WAIT_S
            self._turned_at = time.monotonic()
            if self._reload and idle:
                self._exchange()
            elif next_at <= now:
                time.sleep(min(LONGEST_YIELD_S, YIELD * (self._turned_at - began)))
            elif not self._settles():
                self._wake.wait(self._pause_before(next_at))

    def _settles(self) -> bool:
        """Nothing is under way any more, and a reload or the end waits for just that."""
        return self._workers.idle() and (self._reload or self._stop_by is not None)

    def _pause_before(self, next_at: float) -> float:
        longest = LONGEST_WAIT_S
        if self._stop_by is not None:
            longest = min(longest, self._stop_by - time.monotonic())
        return max(0.0, min(next_at - time.time(), longest))

    def _over(self) -> bool:
        if self._stop_by is None:
            return False
        return self._workers.idle() or time.monotonic() > self._stop_by

    def _exchange(self) -> None:
        """Between two turns, with no result on its way: nothing is lost with the old engine."""
        self._reload = False
        try:
            self._engine = self._make()
            self.read_ok, self.read_at = True, time.time()
            log.info("engine.json was read anew", extra={"action": "reload"})
        except OpsloopError as error:
            self.read_ok = False
            log.error("the old engine.json stays in force: %s", error)
