"""What the console knows of its stack: each part asked once for all viewers, the last answer kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.drivers.listed import Silence
from opsloop.drivers.rules import AlertRules
from opsloop.drivers.scraped import EvaluatedRule, Target
from opsloop.drivers.silences import AlertDesk
from opsloop.errors import InputError, OpsloopError
from opsloop.remediation.approval import Approval
from opsloop.remediation.plan import Run
from opsloop.remediation.ports import Sample, Series
from opsloop.report import alerts as alert_report
from opsloop.report import slo as slo_report
from opsloop.report.alerts import Board
from opsloop.report.glance import Glance, Seen, glance
from opsloop.report.slo import Budget
from opsloop.store.sqlite import SqliteStore, open_existing
from opsloop.web import board, messages
from opsloop.web.messages import Message
from opsloop.web.shared import Held, SharedAnswers

T = TypeVar("T")
BOARD_S: Final = 1.0  # so long an answer is fresh enough
BUDGETS_S: Final = 10.0
LISTS_S: Final = 2.0
DEADLINE_S: Final = 8.0  # of one viewer; a query's own is shorter
RUNS_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Loop:
    """The engine's store as pages show it."""

    runs: Sequence[Run]
    approvals: Sequence[Approval]
    paused: bool
    paused_why: str
    last_change: int


class World:
    """The parts of one stack. Its coroutines belong to one event loop."""

    def __init__(
        self,
        state: Path,
        prometheus: AlertRules,
        desk: AlertDesk,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state = state
        self.prometheus = prometheus
        self.desk = desk
        self.clock = clock
        self.shared = SharedAnswers(wall=clock)
        self._store: SqliteStore | None = None
        self._engine: tuple[float, EngineInput] | None = None
        self._seen_at: float | None = None  # when Prometheus was read last

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def store(self) -> SqliteStore:
        """Opened when it is there: the engine makes it. Raises StoreError or NotRunning."""
        if self._store is None:
            self._store = open_existing(self.state)
        return self._store

    @property
    def engine(self) -> EngineInput:
        """The catalog as it runs, read again when the file changes. Raises InputError."""
        path = self.state / names.BUILD_DIR / names.ENGINE_JSON
        try:
            changed = path.stat().st_mtime
            if self._engine is None or self._engine[0] != changed:
                self._engine = changed, EngineInput.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            if self._engine is None:
                raise InputError(str(path), "cannot be read", "run `opsloop up`") from error
        return self._engine[1]

    # Asked once for all

    async def board(self) -> Held[Board]:
        """Alerts, with what the loop does about them."""

        def read() -> Board:
            sources = board.gather(
                self.state, self.prometheus, self.desk, self.engine, self._store_or_none()
            )
            return alert_report.board(sources)

        return await self._ask("board", read, BOARD_S)

    async def loop(self) -> Held[Loop]:
        """Runs, approvals, and whether it is paused."""

        def read() -> Loop:
            store = self.store
            paused, why = store.paused()
            return Loop(store.runs(RUNS_SHOWN), store.approvals(), paused, why, store.last_change())

        return await self._ask("loop", read, 0.5)

    async def budgets(self) -> Held[list[Budget]]:
        return await self._ask("budgets", lambda: slo_report.budgets(self.prometheus), BUDGETS_S)

    async def targets(self) -> Held[list[Target]]:
        return await self._ask("targets", self.prometheus.targets, LISTS_S)

    async def rules(self) -> Held[list[EvaluatedRule]]:
        return await self._ask("rules", self.prometheus.evaluated, LISTS_S)

    async def silences(self) -> Held[list[Silence]]:
        return await self._ask("silences", self.desk.every_silence, LISTS_S)

    async def inbox(self) -> Held[list[Message]]:
        path = self.state / names.INBOX_FILE
        return await self._ask("inbox", lambda: messages.read_newest(path, 0, 200)[::-1], 1.0)

    async def query(
        self, expr: str, fresh_s: float = 2.0, at: float | None = None
    ) -> Held[list[Sample]]:
        """An instant query, now or at a moment in unix seconds. Identical ones are one."""
        return await self._ask(("at", expr, at), lambda: self.prometheus.query(expr, at), fresh_s)

    async def query_range(
        self, expr: str, start: float, end: float, step: float
    ) -> Held[list[Series]]:
        """A range query; start and end are multiples of the step, so that viewers share it."""
        key = ("range", expr, start, end, step)

        def read() -> list[Series]:
            return self.prometheus.query_range(expr, start, end, step)

        past = end < self.clock() - 600.0
        return await self._ask(key, read, 60.0 if past else min(max(step, 2.0), 15.0))

    async def glance(self) -> Glance:
        """The first three sentences, from what is known now."""
        seen, budgets, loop = await self.board(), await self.budgets(), await self.loop()
        blind, since = self._blind(seen)
        ended = [r for r in (loop.value.runs if loop.value else ()) if r.finished_at is not None]
        catalog = self.engine.catalog
        return glance(
            Seen(
                now=self.clock(),
                board=seen.value,
                budgets=budgets.value,
                approvals=loop.value.approvals if loop.value else (),
                last_run=ended[0] if ended else None,
                blind=blind,
                blind_since=since,
                mode=str(catalog.remediation.mode),
                objectives=sum(len(s.slos) for s in catalog.services.values()),
            )
        )

    def _blind(self, seen: Held[Board]) -> tuple[str, float | None]:
        """Why Prometheus does not answer, and when its alerts were read last."""
        if seen.value is None:
            return seen.error, None
        if seen.error:
            return seen.error, seen.at
        lost = [m for m in seen.value.sources.missing if m.part == "Prometheus"]
        if not lost:
            self._seen_at = seen.at
            return "", None
        return lost[0].reason, self._seen_at

    def changed(self, *keys: str) -> None:
        """Something was changed here: the next viewers get fresh answers."""
        for key in keys or ("board", "loop", "silences"):
            self.shared.forget(key)

    def _store_or_none(self) -> SqliteStore | None:
        try:
            return self.store
        except OpsloopError:  # gather names it as missing
            return None

    async def _ask(self, key: Any, read: Callable[[], T], fresh_s: float) -> Held[T]:
        return await self.shared.ask(key, read, fresh_s=fresh_s, deadline_s=DEADLINE_S)
