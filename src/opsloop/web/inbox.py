"""The inbox: stands in for Slack, PagerDuty and webhook receivers, and shows what came."""

from __future__ import annotations

import asyncio
import html
import json
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from opsloop.errors import StateUnusable
from opsloop.web import vendors
from opsloop.web.messages import Message, Messages, parse

MAX_BODY = vendors.PAGERDUTY_MAX_BYTES  # bytes; Slack and webhooks too
ON_PAGE = 100
MOST_LISTED = 1000

_CHECKS: dict[str, Callable[[Any], list[str]]] = {
    "slack": vendors.check_slack,
    "pagerduty": vendors.check_pagerduty,
    "webhook": vendors.check_webhook,
}
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


STATUSES = range(200, 600)
HANG = "hang"  # accepts, and does not answer
LONGEST_HANG_S = 600.0
MOST_TIMES = 100_000


@dataclass
class Misbehaviour:
    """How a vendor misbehaves on purpose: this status, or no answer, this many times."""

    status: int  # 0: no answer
    times: int


class Inbox:
    """Receives, checks, keeps and shows."""

    def __init__(
        self, messages: Messages, allowed: Callable[[bytes | None], bool] | None = None
    ) -> None:
        self._messages = messages
        self._allowed = allowed
        self._misbehaviour: dict[str, Misbehaviour] = {}

    async def receive(self, request: Request, vendor: str) -> Response:
        misbehaviour = self._misbehaviour.get(vendor)
        if misbehaviour is not None and misbehaviour.times > 0:
            misbehaviour.times -= 1
            if misbehaviour.status == 0:
                await asyncio.sleep(LONGEST_HANG_S)
            return PlainTextResponse("misbehaves on purpose", misbehaviour.status or 504)
        raw = await _limited_body(request)
        if raw is None:
            problems, body, kept = [f"body: is larger than {MAX_BODY} bytes"], None, ""
        else:
            problems, body, kept = _judge(vendor, raw)
        message = Message(
            id=0,
            received_at=time.time(),
            vendor=vendor,
            path=request.url.path,
            accepted=not problems,
            reason="; ".join(problems)[:4000],
            status=status_of(vendor, body),
            title=title_of(vendor, body),
            body=kept,
        )
        try:
            number = self._messages.add(message)
        except StateUnusable as error:
            return PlainTextResponse(str(error), 503)
        return _answer(vendor, problems, body, number, too_large=raw is None)

    async def slack(self, request: Request) -> Response:
        return await self.receive(request, "slack")

    async def pagerduty(self, request: Request) -> Response:
        return await self.receive(request, "pagerduty")

    async def webhook(self, request: Request) -> Response:
        return await self.receive(request, "webhook")

    async def healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def listed(self, request: Request) -> Response:
        """GET /api/v1/messages?since=ID&limit=N: {"messages": [...]}, oldest first."""
        try:
            since = int(request.query_params.get("since", "0"))
            limit = int(request.query_params.get("limit", str(MOST_LISTED)))
        except ValueError:
            return JSONResponse({"error": "since and limit must be whole numbers"}, 400)
        found = self._messages.since(since, max(0, min(limit, MOST_LISTED)))
        return JSONResponse({"messages": [m.as_json() for m in found]}, headers=_HEADERS)

    async def page(self, _request: Request) -> Response:
        return HTMLResponse(page_of(self._messages.newest(ON_PAGE)), headers=_HEADERS)

    async def misbehave(self, request: Request) -> Response:
        """POST {"vendor", "how", "times"}: how is a status or hang; times 0 ends it.

        It shows what senders do then. Only who has the token may ask for it.
        """
        header = request.headers.get("authorization", "").encode()
        if self._allowed is None or not self._allowed(header):
            return JSONResponse({"error": "needs the token"}, 401 if self._allowed else 404)
        try:
            values = parse((await _limited_body(request) or b"").decode())
            vendor, how, times = values["vendor"], values["how"], values.get("times", 1)
            status = 0 if how == HANG else int(how)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return JSONResponse({"error": 'write {"vendor", "how", "times"}'}, 400)
        known = isinstance(vendor, str) and vendor in _CHECKS
        whole = isinstance(times, int) and 0 <= times <= MOST_TIMES
        if not known or not whole or (status and status not in STATUSES):
            wanted = f"vendor: {', '.join(_CHECKS)}; how: 200..599 or {HANG}; times: a whole number"
            return JSONResponse({"error": wanted}, 400)
        self._misbehaviour[vendor] = Misbehaviour(status, times)
        return JSONResponse({"status": "ok"})


def create(path: Path, allowed: Callable[[bytes | None], bool] | None = None) -> Starlette:
    """The inbox over the file `path`. Raises StateUnusable.

    allowed: whose Authorization header may make a vendor misbehave; None: nobody's.
    """
    messages = Messages(path)
    inbox = Inbox(messages, allowed)
    routes = [
        Route("/", inbox.page),
        Route("/healthz", inbox.healthz),
        Route("/api/v1/messages", inbox.listed),
        Route("/slack/{rest:path}", inbox.slack, methods=["POST"]),
        Route("/pagerduty/v2/enqueue", inbox.pagerduty, methods=["POST"]),
        Route("/webhook/{name}", inbox.webhook, methods=["POST"]),
        Route("/misbehave", inbox.misbehave, methods=["POST"]),
    ]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> Any:
        yield
        messages.close()

    return Starlette(routes=routes, lifespan=lifespan)


async def _limited_body(request: Request) -> bytes | None:
    """The body, or None when it is too large; never more than the limit is held."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            return None
        parts.append(chunk)
    return b"".join(parts)


def _judge(vendor: str, raw: bytes) -> tuple[list[str], Any, str]:
    """(problems, parsed body or None, text to keep)."""
    kept = raw.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        body = parse(raw.decode())
    except (ValueError, RecursionError):
        return ["body: is not JSON"], None, kept
    return _CHECKS[vendor](body), body, kept


def _answer(
    vendor: str, problems: list[str], body: Any, number: int, *, too_large: bool
) -> Response:
    """As the vendor answers."""
    if vendor == "pagerduty":
        if problems:
            refusal = {
                "status": "invalid event",
                "message": "Event object is invalid",
                "errors": problems,
            }
            return JSONResponse(refusal, 413 if too_large else 400)
        key = body.get("dedup_key") or f"inbox-{number}"
        taken = {"status": "success", "message": "Event processed", "dedup_key": key}
        return JSONResponse(taken, 202)
    if problems:
        word = "invalid_payload" if vendor == "slack" else "refused"
        return PlainTextResponse(f"{word}: {'; '.join(problems)}", 413 if too_large else 400)
    return PlainTextResponse("ok")


def status_of(vendor: str, body: Any) -> str:
    """firing, acknowledged, resolved or unknown: Slack has no such field, its title says it."""
    if not isinstance(body, dict):
        return "unknown"
    if vendor == "pagerduty":
        words = {"trigger": "firing", "acknowledge": "acknowledged", "resolve": "resolved"}
        action = body.get("event_action")
        return words.get(action, "unknown") if isinstance(action, str) else "unknown"
    if vendor == "webhook":
        status = body.get("status")
        return status if status in ("firing", "resolved") else "unknown"
    title = title_of(vendor, body).upper()
    if "RESOLVED" in title:
        return "resolved"
    return "firing"


def title_of(vendor: str, body: Any) -> str:
    """One line that says what the message is about."""
    found: Any = ""
    if isinstance(body, dict):
        found = _slack_title(body) if vendor == "slack" else body.get("title", "")
        payload = body.get("payload")
        if vendor == "pagerduty" and isinstance(payload, dict):
            found = payload.get("summary", "")
        labels = body.get("commonLabels")
        if vendor == "webhook" and not found and isinstance(labels, dict):
            found = labels.get("alertname", "")
    line = " ".join(str(found).split())
    return line[:300] or "(no title)"


def _slack_title(body: dict[str, Any]) -> Any:
    attachments = body.get("attachments")
    if isinstance(attachments, list) and attachments and isinstance(attachments[0], dict):
        first = attachments[0]
        return next(
            (first[k] for k in ("title", "fallback", "pretext", "text") if first.get(k)), ""
        )
    return body.get("text", "")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="10"><title>Inbox - opsloop</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }}
article {{ border: 1px solid #8886; border-left: .4rem solid #888; border-radius: .3rem;
  padding: .6rem 1rem; margin: .8rem 0; }}
.firing {{ border-left-color: #c62828; }} .resolved {{ border-left-color: #2e7d32; }}
.rejected {{ border-left-color: #ef6c00; }}
h2 {{ font-size: 1rem; margin: 0; overflow-wrap: anywhere; }}
p {{ margin: .2rem 0; }}
pre {{ overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }}
</style></head><body>
<h1>Inbox</h1>
<p>What Slack, PagerDuty and webhook receivers would have been sent, newest first.</p>
{articles}
</body></html>
"""


def page_of(messages: list[Message]) -> str:
    """The page; everything that came from outside is escaped."""
    articles = "\n".join(_article(m) for m in messages)
    return _PAGE.format(articles=articles or "<p>Nothing yet: nobody was told anything.</p>")


def _article(message: Message) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(message.received_at))
    name = message.status if message.accepted else "rejected"
    body = message.as_json()["body"]
    shown = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
    refused = "" if message.accepted else f"<p>Refused: {html.escape(message.reason)}</p>"
    return (
        f'<article class="{name}" id="message-{message.id}"><h2>{html.escape(message.title)}</h2>'
        f"<p>{html.escape(message.vendor)}, {name}, <time>{when}</time>,"
        f" {html.escape(message.path)}</p>{refused}"
        f"<details><summary>Payload</summary><pre>{html.escape(shown)}</pre></details></article>"
    )
