"""What every page of the console has around it: who is there, the loop's state, what was said."""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from opsloop.errors import OpsloopError
from opsloop.remediation.approval import Approval
from opsloop.web import render
from opsloop.web.gate import person_of
from opsloop.web.world import World

log = logging.getLogger("opsloop.console")
NAVIGATION: Final = (  # path, title, key after g
    ("/", "Overview", "o"),
    ("/services", "Services", "v"),
    ("/slo", "SLOs", "s"),
    ("/alerts", "Alerts", "a"),
    ("/runs", "Runs", "r"),
    ("/dashboards", "Dashboards", "d"),
    ("/targets", "Targets", "t"),
    ("/inbox", "Inbox", "i"),
)
_MOST_SAID: Final = 500
_WORDS: Final = {
    400: "That cannot be read",
    401: "Sign in first",
    403: "Not allowed",
    404: "There is no such page",
    405: "Not this way",
    409: "Too late",
    413: "Too large",
    503: "Not now",
}


class Frame:
    """Made once; token: what forms carry where nobody signs in."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self._said: OrderedDict[str, tuple[str, str, str]] = OrderedDict()

    async def page(
        self, request: Request, template: str, title: str, status: int = 200, **values: Any
    ) -> Response:
        """A page inside the frame."""
        loop = await self.world.loop()
        now = self.world.clock()
        state: Any = request.state
        path = request.url.path
        return render.page(
            template,
            status,
            title=title,
            person=state.person,
            csrf=state.csrf,
            can_sign_out=state.session is not None,
            path=path,
            here=f"{path}?{request.url.query}" if request.url.query else path,
            navigation=NAVIGATION,
            now=now,
            paused=loop.value.paused if loop.value else False,
            paused_why=loop.value.paused_why if loop.value else "",
            waiting=waiting(loop.value.approvals if loop.value else (), now),
            loop_error=loop.error,
            said=self._take(request),
            **values,
        )

    def go(self, request: Request, path: str, said: str, tone: str = "good") -> Response:
        """Back to a page after something was done, which the page then says."""
        number = secrets.token_urlsafe(9)
        self._said[number] = (person_of(request).name, said, tone)
        while len(self._said) > _MOST_SAID:
            self._said.popitem(last=False)
        plain, _, anchor = path.partition("#")
        joint = "&" if "?" in plain else "?"
        where = f"{plain}{joint}said={number}" + (f"#{anchor}" if anchor else "")
        return RedirectResponse(where, 303)

    def _take(self, request: Request) -> tuple[str, str] | None:
        """What was said to this person under the number in the address; another hears nothing."""
        found = self._said.get(request.query_params.get("said", ""))
        person = getattr(request.state, "person", None)
        if found is None or person is None or found[0] != person.name:
            return None
        return found[1], found[2]

    def note(self, who: str, did: str, about: str) -> None:
        """Into the audit. A store that refuses stops no one from looking, and is logged."""
        body = {"by": who[:200], "did": did[:500], "about": about[:500]}
        log.info("%s: %s %s", who, did, about, extra={"action": "console"})
        try:
            self.world.store.note("console", body, self.world.clock())
        except OpsloopError as error:
            log.warning("the audit does not take it: %s", error, extra={"action": "console"})

    async def http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else ""
        return await self.refused(request, status, detail)

    async def broken(self, request: Request, error: Exception) -> Response:
        """A mistake of ours: the log has it, the page says so."""
        log.error("%s failed", request.url.path, exc_info=error, extra={"action": "console"})
        text = "This page could not be made; the console's log says why (opsloop logs console)."
        return await self.refused(request, 500, text)

    async def refused(self, request: Request, status: int, detail: str) -> Response:
        """An error, as a page to people and as JSON to programs."""
        wants_page = "text/html" in request.headers.get("accept", "")
        if not wants_page or getattr(request.state, "person", None) is None:
            return JSONResponse({"error": detail}, status)
        word = _WORDS.get(status, "That did not work")
        detail = "" if detail in ("Not Found", "Method Not Allowed") else detail
        return await self.page(request, "error.html", word, status, detail=detail)


def waiting(approvals: Any, now: float) -> list[Approval]:
    """Those that a person may still answer, the most urgent first."""
    found = [a for a in approvals if a.open and not a.approved_by and now < a.expires_at]
    return sorted(found, key=lambda a: a.expires_at)
