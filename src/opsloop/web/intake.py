"""The intake: POST /api/v1/alerts, bare ASGI; 200 only after the alerts are on the disk."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from opsloop import names
from opsloop.drivers import wire
from opsloop.errors import StoreUnusable
from opsloop.remediation.episode import Alert
from opsloop.remediation.situation import OWN_ALERTS
from opsloop.web.metrics import EngineMetrics

MAX_BODY: Final = 8 * 1024 * 1024  # bytes
MAX_WAITING: Final = 2000  # webhooks between their first byte and their answer
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024  # of the bodies of those
BODY_TIMEOUT_S: Final = 10.0  # a sender that stops in the middle does not hold its place
TELL_EVERY_S: Final = 10.0  # one line of the log for each kind of refusal, all are counted
PATH: Final = "/api/v1/alerts"

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Group = list[tuple[Sequence[Alert], asyncio.Future[None]]]
log = logging.getLogger("opsloop.intake")


class DurableIntake(Protocol):
    """What the intake needs of the store."""

    def intake_soon(
        self,
        alerts: Sequence[Alert],
        now: float,
        done: Callable[[list[int] | None, Exception | None], None],
    ) -> None: ...


class Refused(Exception):
    """A webhook that is not taken: status, the word that is counted, and the reason."""

    def __init__(self, status: int, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.outcome = outcome
        self.reason = reason


class Intake:
    """Takes webhooks. What arrives while the store commits goes into its next transaction.

    allowed: the check of the Authorization header. changed: called with the ids of episodes
    that are new or changed. reconcile: called when a webhook says that it left alerts out.
    """

    def __init__(
        self,
        store: DurableIntake,
        allowed: Callable[[bytes | None], bool],
        metrics: EngineMetrics,
        *,
        changed: Callable[[list[int]], None],
        reconcile: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._allowed = allowed
        self._counts = metrics.intake
        self._changed = changed
        self._reconcile = reconcile
        self._clock = clock
        self._waiting = 0
        self._bytes = 0
        self._pending: Group = []
        self._committing = False
        self._reading: dict[asyncio.Task[Any] | None, float] = {}  # since, in the loop's time
        self._slow: set[asyncio.Task[Any]] = set()
        self._sweeping = False
        self._told: dict[str, float] = {}  # outcome -> when the log was told last, monotonic
        self.watchdog_at: float | None = None  # unix seconds

    @property
    def waiting(self) -> int:
        """Webhooks between their first byte and their answer."""
        return self._waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One webhook; every failure has an answer, and none is a 500."""
        if self._waiting >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            # 503, not 429: Alertmanager tries a 503 again, and drops what a 429 answers.
            refused = Refused(503, "busy", f"{self._waiting} webhooks wait already; try again")
            await self._refuse(send, refused)
            return
        self._waiting += 1
        held = 0
        try:
            self._check_headers(scope)
            body = await self._body(receive)
            held = len(body)
            self._bytes += held
            begun = time.perf_counter()
            alerts = self._decode(body)
            if alerts:
                await self._durable(alerts)
            self._counts.accepted(len(alerts), time.perf_counter() - begun)
        except Refused as refused:
            await self._refuse(send, refused)
            return
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("a webhook could not be taken")
            await self._refuse(send, Refused(503, "failed", f"{type(error).__name__}; try again"))
            return
        finally:
            self._waiting -= 1
            self._bytes -= held
        await send(_OK_START)
        await send(_OK_BODY)

    def _check_headers(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if not self._allowed(headers.get(b"authorization")):
            raise Refused(401, "unauthorized", "a valid bearer token is needed")
        length = headers.get(b"content-length")
        if length is not None:
            if not length.isdigit():
                raise Refused(400, "bad_length", "Content-Length is no number")
            if int(length) > MAX_BODY:
                raise Refused(413, "too_large", f"the body is larger than {MAX_BODY} bytes")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(400, "encoded", "an encoded body is not taken")

    async def _body(self, receive: Receive) -> bytes:
        task = asyncio.current_task()
        self._reading[task] = asyncio.get_running_loop().time()
        if not self._sweeping:
            self._sweep()
        parts: bytes = b""
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "disconnected", "the sender went away")
                parts += message.get("body", b"")
                if len(parts) > MAX_BODY:
                    raise Refused(413, "too_large", f"the body is larger than {MAX_BODY} bytes")
                if not message.get("more_body"):
                    return parts
        except asyncio.CancelledError:
            if task is None or task not in self._slow:
                raise
            self._slow.discard(task)
            task.uncancel()
            raise Refused(408, "slow", f"the body took over {BODY_TIMEOUT_S:g} s") from None
        finally:
            del self._reading[task]

    def _sweep(self) -> None:
        """Give up on bodies that do not come; one timer for all, since nearly all do at once."""
        loop = asyncio.get_running_loop()
        late = loop.time() - BODY_TIMEOUT_S
        for task, since in self._reading.items():
            if since <= late and task is not None and task not in self._slow:
                self._slow.add(task)
                task.cancel()
        self._sweeping = bool(self._reading)
        if self._sweeping:
            loop.call_later(BODY_TIMEOUT_S / 4, self._sweep)

    def _decode(self, body: bytes) -> list[Alert]:
        """The alerts that make episodes; the Watchdog only shows that the path works."""
        try:
            hook = wire.webhook(body)
        except msgspec.ValidationError as error:
            raise Refused(400, "bad_payload", str(error)) from None
        except msgspec.DecodeError as error:
            raise Refused(400, "not_json", f"the body is not JSON: {error}") from None
        except ValueError as error:
            raise Refused(400, "bad_payload", str(error)) from None
        if hook.truncated:
            self._reconcile()
        taken = []
        for alert in hook.alerts:
            name = alert.labels.get("alertname")
            if name == names.WATCHDOG:
                if alert.firing:
                    self.hear_watchdog()
            elif name not in OWN_ALERTS:  # what the engine said itself is no news to it
                taken.append(alert)
        return taken

    def hear_watchdog(self) -> None:
        """Prometheus, Alertmanager and the way here work, now."""
        self.watchdog_at = self._counts.watchdog_at = self._clock()

    async def _durable(self, alerts: Sequence[Alert]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((alerts, future))
        if not self._committing:
            self._commit()
        await future

    def _commit(self) -> None:
        """Everything that waits becomes one transaction; the next gathers meanwhile."""
        group, self._pending = self._pending, []
        self._committing = True
        self._submit(group, self._answer)

    def _submit(self, group: Group, answer: Callable[[Group, Any, Exception | None], None]) -> None:
        loop = asyncio.get_running_loop()
        alerts = [a for given, _ in group for a in given]

        def done(ids: list[int] | None, error: Exception | None) -> None:
            loop.call_soon_threadsafe(answer, group, ids, error)

        try:
            self._store.intake_soon(alerts, self._clock(), done)
        except Exception as error:  # noqa: BLE001 - a bug too has an answer, and the next goes on
            answer(group, None, error)

    def _answer(self, group: Group, ids: list[int] | None, error: Exception | None) -> None:
        self._committing = False
        if self._pending:
            self._commit()
        if error is not None and len(group) > 1 and not isinstance(error, StoreUnusable):
            # One of them is to blame: each alone, so that the others are not refused with it.
            for one in group:
                self._submit([one], self._answer_group)
            return
        self._answer_group(group, ids, error)

    def _answer_group(self, group: Group, ids: list[int] | None, error: Exception | None) -> None:
        for _, future in group:
            if future.done():
                continue  # its sender went away
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(Refused(503, "store", f"{error}; try again"))
        if error is not None:
            log.error("alerts could not be kept: %s", error, extra={"webhooks": len(group)})
        elif ids:
            self._changed(ids)

    async def _refuse(self, send: Send, refused: Refused) -> None:
        self._counts.refused(refused.outcome)
        told, now = self._told.get(refused.outcome), time.monotonic()
        if told is None or now - told >= TELL_EVERY_S:
            self._told[refused.outcome] = now
            log.warning(
                "a webhook was refused: %s",
                refused.reason,
                extra={"action": "refuse", "outcome": refused.outcome, "status": refused.status},
            )
        body = json.dumps({"error": refused.reason}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if refused.status in (401, 408, 413):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        if refused.status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="opsloop"'))
        if refused.status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_OK: Final = b'{"status":"ok"}'
_OK_START: Final[dict[str, Any]] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_OK)).encode()),
    ],
}
_OK_BODY: Final[dict[str, Any]] = {"type": "http.response.body", "body": _OK}
