"""Signing in and out: the form, the way over an OpenID provider, and what the audit keeps of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from opsloop.errors import OpsloopError
from opsloop.web import render
from opsloop.web.gate import check_token, read_form
from opsloop.web.sessions import Person, Session, Sessions, Tries

PENDING_S: Final = 600.0  # of a sign-in under way
_AT_ONCE: Final = 2  # hashes under way
log = logging.getLogger("opsloop.console")


class People(Protocol):
    """Who signs in by name and password."""

    def person(self, name: str, password: str) -> Person | None: ...


class Provider(Protocol):
    """An OpenID provider. session.pending keeps what the two halves share."""

    async def begin(self, session: Session, back: str) -> str:
        """The address at the provider that the browser goes to."""

    async def finish(self, session: Session, query: dict[str, str], back: str) -> Person:
        """Who came back. Raises SignInRefused."""


class SignInRefused(OpsloopError):
    """The provider did not say who it is, or that person has no role here."""


class SignIn:
    """The pages below /sign-in. note: writes who did what into the audit."""

    def __init__(
        self,
        sessions: Sessions,
        cookie: str,
        note: Callable[[str, str, str], None],
        *,
        people: People | None = None,
        provider: Provider | None = None,
        address: str = "",
    ) -> None:
        """address: the console's own, which the provider sends people back to."""
        self._sessions = sessions
        self._cookie = cookie
        self._note = note
        self._people = people
        self._provider = provider
        self._address = address.rstrip("/")
        self._tries = Tries()
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> list[Route]:
        found = [
            Route("/sign-in", self.page, methods=["GET"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]
        if self._people is not None:
            found.append(Route("/sign-in", self.enter, methods=["POST"]))
        if self._provider is not None:
            found += [
                Route("/sign-in/openid", self.begin, methods=["POST"]),
                Route("/sign-in/openid/back", self.back, methods=["GET"]),
            ]
        return found

    async def page(self, request: Request) -> Response:
        way = local_path(request.query_params.get("next", "/"))
        if request.state.person is not None:
            return RedirectResponse(way, 303)
        return self._form(request, way)

    def _form(self, request: Request, way: str, error: str = "", status: int = 200) -> Response:
        session = request.state.session or self._sessions.begin(life_s=PENDING_S)
        answer = render.page(
            "signin.html",
            status,
            csrf=session.csrf,
            next=way,
            error=error,
            by_form=self._people is not None,
            by_provider=self._provider is not None,
        )
        self._set(answer, session)
        return answer

    async def enter(self, request: Request) -> Response:
        """The form. A new session id after it, so that an old one is of no use to anybody."""
        fields = await read_form(request)
        check_token(request, fields)
        way, name = local_path(fields.get("next", "/")), fields.get("name", "")[:200]
        keys = (f"address {_client(request)}", f"name {name}")
        if wait := self._tries.wait_s(*keys):
            text = f"Too many tries; wait {wait:.0f} s."
            return self._form(request, way, text, 429)
        people = self._people
        if people is None:
            raise HTTPException(404)
        async with self._gate:
            person = await run_in_threadpool(people.person, name, fields.get("password", ""))
        if person is None:
            self._tries.failed(*keys)
            await run_in_threadpool(self._note, name, "sign-in refused", _client(request))
            return self._form(request, way, "Name or password is wrong.", 401)
        self._tries.succeeded(*keys)
        return await self._enter(request, person, way)

    async def begin(self, request: Request) -> Response:
        fields = await read_form(request)
        check_token(request, fields)
        session: Session | None = request.state.session
        if session is None or self._provider is None:
            raise HTTPException(403, "this page is older than your session; reload it")
        session.pending = {"next": local_path(fields.get("next", "/"))}
        try:
            # The address is a link: a form's target may not lead to another origin (CSP).
            url = await self._provider.begin(session, self._back)
        except OpsloopError as error:
            log.warning("%s", error, extra={"action": "sign-in"})
            return self._form(request, session.pending["next"], str(error), 502)
        return render.page("leave.html", url=url)

    async def back(self, request: Request) -> Response:
        session: Session | None = request.state.session
        if session is None or not session.pending or self._provider is None:
            text = "This sign-in took too long, or was begun in another browser."
            return self._form(request, "/", text, 400)
        way = session.pending.get("next", "/")
        try:
            person = await self._provider.finish(session, dict(request.query_params), self._back)
        except OpsloopError as error:
            log.warning("%s", error, extra={"action": "sign-in"})
            await run_in_threadpool(self._note, "", f"sign-in refused: {error}", _client(request))
            session.pending = {}
            return self._form(request, way, str(error), 403)
        return await self._enter(request, person, way)

    async def leave(self, request: Request) -> Response:
        fields = await read_form(request)
        check_token(request, fields)
        session: Session | None = request.state.session
        if session is not None:
            self._sessions.end(session)
            who = session.person.name if session.person else ""
            await run_in_threadpool(self._note, who, "signed out", _client(request))
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(self._cookie)
        return answer

    async def _enter(self, request: Request, person: Person, way: str) -> Response:
        await run_in_threadpool(self._note, person.name, "signed in", _client(request))
        if request.state.session is not None:
            self._sessions.end(request.state.session)
        answer = RedirectResponse(way, 303)
        self._set(answer, self._sessions.begin(person))
        return answer

    @property
    def _back(self) -> str:
        return f"{self._address}/sign-in/openid/back"

    def _set(self, answer: Response, session: Session) -> None:
        secure = self._address.startswith("https://")
        # Lax: the way back from a provider is a GET of another site's making.
        settings: dict[str, Any] = {"httponly": True, "samesite": "lax", "path": "/"}
        answer.set_cookie(self._cookie, session.id, secure=secure, **settings)


def local_path(text: str) -> str:
    """A path of ours to go on to; / for anything that could lead elsewhere."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\"))
    if not plain or any(ord(c) < 33 or c == "\\" for c in text) or text.startswith("/sign-in"):
        return "/"
    return text[:2000]


def _client(request: Request) -> str:
    return request.client.host if request.client else ""
