"""The engine's HTTP face: the intake, /healthz, /metrics and the JSON API, as one application."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from opsloop import __version__
from opsloop.errors import Conflict, OpsloopError, StoreError
from opsloop.remediation.approval import Approval
from opsloop.remediation.episode import Episode
from opsloop.remediation.plan import Run
from opsloop.report import approvals as approval_rows
from opsloop.report import episodes as episode_rows
from opsloop.report import runs as run_rows
from opsloop.web import intake, openapi
from opsloop.web.auth import host_allowed, same_origin
from opsloop.web.metrics import CONTENT_TYPE, EngineMetrics

MAX_LISTED = 1000
MAX_CHANGE_BODY = 64 * 1024
log = logging.getLogger("opsloop.api")


class Records(run_rows.Records, Protocol):
    """What the API reads and changes of the store."""

    def episodes(self, limit: int = 100, *, closed: bool = False) -> list[Episode]: ...
    def runs(self, limit: int = 100) -> list[Run]: ...
    def paused(self) -> tuple[bool, str]: ...
    def pause(self, why: str, now: float) -> None: ...
    def resume(self, why: str, now: float) -> None: ...
    def approvals(self) -> list[Approval]: ...
    def all_approvals(self, limit: int = 100) -> list[Approval]: ...
    def answer_approval(
        self, approval_id: int, by: str, why: str, now: float, *, agreed: bool
    ) -> Approval: ...


class Api:
    """Starlette's part. Everything but /healthz needs the stack's password."""

    def __init__(
        self,
        store: Records,
        allowed: Callable[[bytes | None], bool],
        metrics: EngineMetrics,
        *,
        ready: Callable[[], str],
        watchdog_at: Callable[[], float | None],
        changed: Callable[[], None],
    ) -> None:
        """ready: empty when the engine's loop runs, else why not. changed: wake the loop."""
        self._store = store
        self._allowed = allowed
        self._metrics = metrics
        self._ready = ready
        self._watchdog_at = watchdog_at
        self._changed = changed

    def app(self) -> Starlette:
        guarded = [
            Route("/metrics", self._guard(self.metrics)),
            Route(openapi.PATH, self._guard(self.document)),
            Route("/api/v1/episodes", self._guard(self.episodes)),
            Route("/api/v1/runs", self._guard(self.runs)),
            Route("/api/v1/runs/{id:int}", self._guard(self.run)),
            Route("/api/v1/approvals", self._guard(self.approvals)),
            Route(
                "/api/v1/approvals/{id:int}/{answer:str}",
                self._guard(self.answer),
                methods=["POST"],
            ),
            Route("/api/v1/pause", self._guard(self.pause), methods=["POST"]),
            Route("/api/v1/resume", self._guard(self.resume), methods=["POST"]),
        ]
        return Starlette(
            routes=[Route("/healthz", self.healthz), *guarded],
            exception_handlers={HTTPException: _http_error, OpsloopError: _own_error},
        )

    def _guard(self, endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def checked(request: Request) -> Response:
            header = request.headers.get("authorization")
            if not self._allowed(header.encode("latin-1") if header else None):
                return JSONResponse(
                    {"error": "the stack's user and password are needed"},
                    401,
                    {"www-authenticate": 'Basic realm="opsloop"'},
                )
            if request.method == "POST" and not same_origin(request.headers):
                # A browser that knows the password would send it along for any page.
                return JSONResponse({"error": "a page of another origin may change nothing"}, 403)
            response: Response = await endpoint(request)
            return response

        return checked

    async def healthz(self, _request: Request) -> Response:
        """{"status", "ready", "paused", "watchdog_age_s", "version"}; 503 when not ready."""
        why = self._ready()
        paused: bool | None = None
        try:
            paused = (await run_in_threadpool(self._store.paused))[0]
        except StoreError as error:
            why = why or str(error)
        heard = self._watchdog_at()
        body: dict[str, Any] = {
            "status": "not ready" if why else "ok",
            "ready": not why,
            "paused": paused,
            "watchdog_age_s": None if heard is None else round(max(0.0, time.time() - heard), 3),
            "version": __version__,
        }
        if why:
            body["reason"] = why
        return JSONResponse(body, 503 if why else 200)

    async def metrics(self, _request: Request) -> Response:
        text = await run_in_threadpool(self._metrics.text)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def document(self, _request: Request) -> Response:
        """What all these routes are, as OpenAPI."""
        return JSONResponse(openapi.document())

    async def episodes(self, request: Request) -> Response:
        """?all=1: closed ones too; ?limit=N. {"episodes": [...]}, newest first."""
        closed = request.query_params.get("all", "0") not in ("0", "", "false")
        limit = _limit(request)
        found = await run_in_threadpool(lambda: self._store.episodes(limit, closed=closed))
        return JSONResponse({"episodes": episode_rows.rows(found)})

    async def runs(self, request: Request) -> Response:
        """?limit=N. {"runs": [...]}, newest first."""
        found = await run_in_threadpool(self._store.runs, _limit(request))
        return JSONResponse({"runs": run_rows.rows(found)})

    async def run(self, request: Request) -> Response:
        """One run with its decision, actions, timeline and escalation."""
        run_id = request.path_params["id"]
        if run_id >= 2**63:
            raise HTTPException(404, f"run {run_id}: there is none")
        told = await run_in_threadpool(run_rows.gather, self._store, run_id)
        return JSONResponse(run_rows.story(told))

    async def approvals(self, request: Request) -> Response:
        """?all=1: ended ones too. {"approvals": [...]}."""
        every = request.query_params.get("all", "0") not in ("0", "", "false")
        limit = _limit(request)
        read = (lambda: self._store.all_approvals(limit)) if every else self._store.approvals
        found = await run_in_threadpool(read)
        return JSONResponse({"approvals": approval_rows.rows(found, time.time())})

    async def answer(self, request: Request) -> Response:
        """POST .../ID/approve or .../ID/reject. Body: {"by": "...", "why": "..."}, by required.

        409 when it was answered before, has expired or is over.
        """
        number, word = request.path_params["id"], request.path_params["answer"]
        if word not in ("approve", "reject") or number >= 2**63:
            raise HTTPException(404, "there is approvals/ID/approve and approvals/ID/reject")
        body = await _texts(request, ("by", "why"))
        if not body.get("by"):
            raise HTTPException(400, 'the body must say who: {"by": "...", "why": "..."}')
        now = time.time()

        def change() -> Approval:
            return self._store.answer_approval(
                number, body["by"][:200], body.get("why", ""), now, agreed=word == "approve"
            )

        found = await run_in_threadpool(change)
        self._changed()
        return JSONResponse(approval_rows.row(found, now))

    async def pause(self, request: Request) -> Response:
        """The kill switch. Body, optional: {"why": "..."}."""
        return await self._switch(request, self._store.pause)

    async def resume(self, request: Request) -> Response:
        return await self._switch(request, self._store.resume)

    async def _switch(self, request: Request, change: Callable[[str, float], None]) -> Response:
        why = (await _texts(request, ("why",))).get("why", "")
        await run_in_threadpool(change, why, time.time())
        self._changed()
        paused, why = await run_in_threadpool(self._store.paused)
        return JSONResponse({"paused": paused, "why": why})


def create(
    api: Starlette, alerts: intake.Intake, hosts: frozenset[str] | None
) -> Callable[[Scope, Receive, Send], Any]:
    """The whole application: the intake first, on its own path, since it is the busy one."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            header = next((v for k, v in scope["headers"] if k == b"host"), None)
            if not host_allowed(header, hosts):
                refusal = JSONResponse({"error": "this host name is not served here"}, 421)
                await refusal(scope, receive, send)
                return
            if scope["path"] == intake.PATH and scope["method"] == "POST":
                await alerts(scope, receive, send)
                return
        await api(scope, receive, send)

    return app


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "100")
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise HTTPException(400, "limit must be a whole number from 1")
    return min(int(text), MAX_LISTED)


async def _texts(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """A small JSON object of texts, each on one line; nothing is as good as {}."""
    parts = b""
    async for chunk in request.stream():
        parts += chunk
        if len(parts) > MAX_CHANGE_BODY:
            raise HTTPException(413, f"the body is larger than {MAX_CHANGE_BODY} bytes")
    if not parts:
        return {}
    import msgspec

    shape = "{" + ", ".join(f'"{name}": "..."' for name in known) + "}"

    try:
        body = msgspec.json.decode(parts, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"the body must be {shape}: {error}") from None
    if unknown := sorted(body.keys() - set(known)):
        raise HTTPException(400, f"the body must be {shape}: {unknown[0]!r} is unknown")
    return {name: " ".join(text.split())[:1000] for name, text in body.items()}


async def _http_error(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return JSONResponse({"error": getattr(error, "detail", str(error))}, status)


async def _own_error(_request: Request, error: Exception) -> Response:
    if isinstance(error, Conflict):
        return JSONResponse({"error": str(error)}, 409)
    missing = isinstance(error, StoreError) and error.reason == "there is none"
    return JSONResponse({"error": str(error)}, 404 if missing else 503)
