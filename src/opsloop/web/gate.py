"""What stands before every page: the host's name, who is there, and the headers that protect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opsloop.catalog.console import Role
from opsloop.web import render
from opsloop.web.auth import host_allowed, same_origin
from opsloop.web.sessions import Person, Session, Sessions

CSP: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_OPEN: Final = ("/healthz", "/metrics", "/static/", "/sign-in")
MAX_FORM: Final = 64 * 1024


class Gate:
    """An ASGI application around the pages. It puts `person`, `session` and `csrf` into the
    request's state; pages behind it are seen by nobody without a role."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions | None,
        *,
        hosts: frozenset[str] | None,
        cookie: str,
        token: str,
        basic: Callable[[str | None], Person | None] = lambda _: None,
    ) -> None:
        """sessions None: nobody signs in, and everybody on this machine is admin.

        token: what forms carry where there are no sessions. basic: who an Authorization header
        is, for programs.
        """
        self._app = app
        self._sessions = sessions
        self._hosts = hosts
        self._cookie = cookie
        self._token = token
        self._basic = basic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = self._refusal(request)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._app if answer is None else answer)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        """Why a request is not for the pages behind; None when it is."""
        host = request.headers.get("host", "").encode("latin-1", "replace")
        if not host_allowed(host, self._hosts):
            return _said(request, 421, "This host name is not served here.", "See console.hosts.")
        session = self._session(request)
        state: Any = request.state
        state.session = session
        state.csrf = session.csrf if session else self._token
        state.person = self._person(request, session)
        if request.method not in ("GET", "HEAD") and not same_origin(request.headers):
            # A browser that is signed in would send its cookie along for any page.
            return _said(request, 403, "A page of another origin may change nothing here.")
        path = request.url.path
        if state.person is not None or path.startswith(_OPEN):
            return None
        if request.method == "GET" and _wants_page(request):
            return RedirectResponse(f"/sign-in?next={quote(_here(request), safe='')}", 303)
        return _ended(request)

    def _session(self, request: Request) -> Session | None:
        if self._sessions is None:
            return None
        return self._sessions.find(_cookie(request, self._cookie))

    def _person(self, request: Request, session: Session | None) -> Person | None:
        if self._sessions is None:
            return Person("local", "admin")
        if session is not None and session.person is not None:
            return session.person
        return self._basic(request.headers.get("authorization"))


def _cookie(request: Request, name: str) -> str | None:
    """Of a malformed header nothing is believed."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return found.value if found is not None else None


def person_of(request: Request) -> Person:
    """Who asks; the gate lets nobody else through."""
    found: Person = request.state.person
    return found


def require(request: Request, role: Role) -> Person:
    """Who asks, when that is enough. Raises HTTPException 403."""
    person = person_of(request)
    if not person.may(role):
        raise HTTPException(403, f"{person.name} is {person.role}; this needs the role {role}")
    return person


async def form(request: Request, role: Role) -> tuple[Person, dict[str, str]]:
    """Who sends a form, and its fields, each one text. Raises HTTPException.

    A form carries the token of the session (or an Authorization header comes with it, which no
    other page can send).
    """
    person = require(request, role)
    fields = await read_form(request)
    check_token(request, fields)
    return person, fields


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small form, whoever sent it. Raises HTTPException 413 or 400."""
    from urllib.parse import parse_qsl

    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise HTTPException(413, f"the form is larger than {MAX_FORM} bytes")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None
    return {name: value.replace("\0", "") for name, value in pairs}


def check_token(request: Request, fields: Mapping[str, str]) -> None:
    """Raises HTTPException 403 when a form is not of this session."""
    import hmac

    given = fields.get("csrf", "") or request.headers.get("x-csrf", "")
    by_header = request.state.session is None and "authorization" in request.headers
    expected: str = request.state.csrf
    if not by_header and not hmac.compare_digest(given.encode(), expected.encode()):
        raise HTTPException(403, "this page is older than your session; reload it and try again")


def _wants_page(request: Request) -> bool:
    live = request.headers.get("x-live") is not None
    return not live and "text/html" in request.headers.get("accept", "")


def _here(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.url.path}{query}"


def _ended(request: Request) -> Response:
    """A session that ended under a page: what was asked for was not done."""
    text = "You are not signed in any more. Nothing was done."
    if not _wants_page(request):
        headers = {"www-authenticate": 'Basic realm="opsloop"'}
        if request.headers.get("x-live") is not None:
            headers = {}  # a page asks: the browser should not ask for a password
        return JSONResponse({"error": text}, 401, headers)
    came = request.headers.get("referer", "")
    path = "/" + came.partition("://")[2].partition("/")[2] if came else "/"
    return render.page("ended.html", 401, text=text, next=path)


def _said(request: Request, status: int, text: str, more: str = "") -> Response:
    if not _wants_page(request):
        return JSONResponse({"error": text}, status)
    return render.page("refused.html", status, text=text, more=more)
