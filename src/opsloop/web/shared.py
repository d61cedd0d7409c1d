"""Answers that all viewers share: each question is asked once, and the last answer is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar, cast

from starlette.concurrency import run_in_threadpool

from opsloop.errors import OpsloopError

T = TypeVar("T")
AT_ONCE: Final = 6  # questions under way; more wait, within their deadlines
MOST_KEPT: Final = 500
RETRY_S: Final = 1.0  # after a failure the next viewers get the same answer for so long
log = logging.getLogger("opsloop.console")


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """value: the newest that was had, None before the first; at: unix seconds of it.

    error: why there is none newer, empty when it is fresh.
    """

    value: T | None = None
    at: float = 0.0
    error: str = ""

    def age_s(self, now: float) -> float:
        return max(0.0, now - self.at) if self.value is not None else 0.0


@dataclass(slots=True)
class _Entry:
    held: Held[Any]
    asked_at: float = float("-inf")  # monotonic
    task: asyncio.Task[None] | None = None
    changed: bool = False  # since the task began


class SharedAnswers:
    """One event loop's. Work runs in threads; what is asked while it runs waits for it."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.asked = 0
        self.made = 0

    async def ask(
        self, key: Hashable, work: Callable[[], T], *, fresh_s: float, deadline_s: float
    ) -> Held[T]:
        """The answer to `key`, at most fresh_s old, else what `work` returns.

        Never raises for what `work` raises: the last value then comes with the reason. After
        deadline_s it is given up for this viewer; the work may still end, for the next one.
        """
        self.asked += 1
        entry = self._entry(key)
        age = self._clock() - entry.asked_at
        if entry.task is None and age < (RETRY_S if entry.held.error else fresh_s):
            return cast("Held[T]", entry.held)
        if entry.task is None:
            entry.task = asyncio.get_running_loop().create_task(self._make(entry, work))
        try:
            await asyncio.wait_for(asyncio.shield(entry.task), deadline_s)
        except TimeoutError:
            return replace(entry.held, error=f"no answer within {deadline_s:g} s")
        return cast("Held[T]", entry.held)

    def last(self, key: Hashable) -> Held[Any]:
        """What is kept, without asking."""
        entry = self._entries.get(key)
        return entry.held if entry is not None else Held()

    def forget(self, key: Hashable) -> None:
        """The next one asks again: something was changed. The last value stays."""
        if (entry := self._entries.get(key)) is not None:
            entry.asked_at, entry.changed = float("-inf"), True

    def _entry(self, key: Hashable) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(Held())
            idle = [k for k, e in self._entries.items() if e.task is None and k != key]
            for old in idle[: max(0, len(self._entries) - MOST_KEPT)]:
                del self._entries[old]
        self._entries.move_to_end(key)
        return entry

    async def _make(self, entry: _Entry, work: Callable[[], Any]) -> None:
        try:
            async with self._gate:
                self.made += 1
                entry.changed = False
                value = await run_in_threadpool(work)
            entry.held = Held(value, self._wall())
        except OpsloopError as error:
            entry.held = replace(entry.held, error=str(error))
        except Exception as error:
            log.exception("a question of the console failed")
            entry.held = replace(entry.held, error=f"{type(error).__name__}: see the console's log")
        finally:
            entry.asked_at = float("-inf") if entry.changed else self._clock()
            entry.task = None
