"""The engine's HTTP application over a real store, without the engine's loop."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opsloop.errors import StoreError
from opsloop.remediation.episode import Alert
from opsloop.store.sqlite import SqliteStore
from opsloop.web import api, auth, intake
from opsloop.web.metrics import EngineMetrics
from tests.web.asgi import Response, call

TOKEN = "a-token"  # of these tests
PASSWORD = "a-password"
BEARER = ("authorization", f"Bearer {TOKEN}")
BASIC = ("authorization", "Basic " + base64.b64encode(f"opsloop:{PASSWORD}".encode()).decode())


class Watched:
    """The store, with what the intake asked of it; `refuse` makes it refuse, `hold` keep."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.calls: list[int] = []  # alerts of each call
        self.refuse: Callable[[Sequence[Alert]], Exception | None] = lambda _: None
        self.held: list[Callable[[], None]] | None = None

    def intake_soon(
        self,
        alerts: Sequence[Alert],
        now: float,
        done: Callable[[list[int] | None, Exception | None], None],
    ) -> None:
        self.calls.append(len(alerts))
        error = self.refuse(alerts)
        if isinstance(error, StoreError):
            done(None, error)
        elif error is not None:
            raise error
        elif self.held is not None:
            self.held.append(lambda: self.store.intake_soon(alerts, now, done))
        else:
            self.store.intake_soon(alerts, now, done)


class Face:
    """Everything wired as the engine's process does it."""

    def __init__(self, folder: Path) -> None:
        (folder / "token").write_text(TOKEN + "\n")
        (folder / "password").write_text(PASSWORD + "\n")
        self.token_file = folder / "token"
        self.store = SqliteStore(folder / "engine.sqlite")
        self.watched = Watched(self.store)
        self.metrics = EngineMetrics()
        self.changed: list[int] = []
        self.woken = 0
        self.reconciled = 0
        self.not_ready = ""
        self.now = 1_800_000_000.0
        self.intake = intake.Intake(
            self.watched,
            auth.bearer(auth.Secret(folder / "token")),
            self.metrics,
            changed=self.changed.extend,
            reconcile=self._reconcile,
            clock=lambda: self.now,
        )
        face = api.Api(
            self.store,
            auth.basic(auth.Secret(folder / "password")),
            self.metrics,
            ready=lambda: self.not_ready,
            watchdog_at=lambda: self.intake.watchdog_at,
            changed=self._wake,
        )
        self.app = api.create(face.app(), self.intake, auth.hosts_for("127.0.0.1"))

    def _reconcile(self) -> None:
        self.reconciled += 1

    def _wake(self) -> None:
        self.woken += 1

    async def post(self, body: Any, *headers: tuple[str, str]) -> Response:
        return await call(self.app, "POST", intake.PATH, body, headers or [BEARER])

    async def get(self, path: str, query: str = "", *headers: tuple[str, str]) -> Response:
        return await call(self.app, "GET", path, headers=headers or [BASIC], query=query)

    def outcomes(self) -> dict[str, int]:
        return {k: v for k, v in self.metrics.intake.outcomes.items() if v}
