"""The console: its pages, its answers for charts, its events, as one application."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from opsloop.catalog.console import Console as Settings
from opsloop.catalog.console import is_loopback
from opsloop.errors import ArgumentError, Conflict, InputError, OpsloopError, StoreError
from opsloop.web import auth, passwords, render
from opsloop.web.auth import Secret
from opsloop.web.console_alerts import AlertPages
from opsloop.web.console_charts import ChartPages
from opsloop.web.console_events import Events
from opsloop.web.console_frame import Frame
from opsloop.web.console_metrics import ConsoleMetrics
from opsloop.web.console_pages import Pages
from opsloop.web.console_runs import RunPages
from opsloop.web.gate import Gate
from opsloop.web.sessions import Person, Sessions
from opsloop.web.signin import People, Provider, SignIn
from opsloop.web.world import World

log = logging.getLogger("opsloop.console")


def create(world: World, password: Secret, bind: str, port: int) -> ASGIApp:
    """The application over the parts of one stack. Raises an OpsloopError for what is missing.

    password: the stack's own, for scrapes, programs and (where no users are declared) people.
    bind, port: where it listens.
    """
    catalog = world.engine.catalog
    settings, address = catalog.console, catalog.stack.console_url or f"http://{bind}:{port}"
    frame = Frame(world, token=secrets.token_urlsafe(32))
    metrics = ConsoleMetrics(world)
    stack_user = passwords.StackUser(password)
    sessions, sign_in = _sign_in(world, settings, stack_user, bind, port, address, frame)
    events = Events(world)
    routes = [
        Route("/healthz", _healthz),
        Route("/metrics", _metrics(metrics, auth.basic(password))),
        Route("/events", events.stream),
        *Pages(frame).routes(),
        *ChartPages(frame).routes(),
        *AlertPages(frame).routes(),
        *RunPages(frame).routes(),
        *(sign_in.routes() if sign_in else ()),
        Mount("/static", _Static(directory=render.STATIC)),
        Route("/favicon.ico", _icon),
    ]

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        world.close()

    inner = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            HTTPException: frame.http_error,
            OpsloopError: _failed(frame),
            Exception: frame.broken,
        },
        middleware=[],
    )
    more = [_host(address), *settings.hosts]
    return metrics.around(
        Gate(
            inner,
            sessions,
            hosts=auth.hosts_for(bind, more),
            cookie=_cookie(port),
            token=frame.token,
            basic=_programs(stack_user),
        )
    )


def way_of(settings: Settings, bind: str) -> str:
    """How people sign in: as the catalog says, else not at all on loopback."""
    return settings.sign_in or ("none" if is_loopback(bind) else "basic")


def _sign_in(
    world: World,
    settings: Settings,
    stack_user: passwords.StackUser,
    bind: str,
    port: int,
    address: str,
    frame: Frame,
) -> tuple[Sessions | None, SignIn | None]:
    way = way_of(settings, bind)
    if way == "none":
        if not is_loopback(bind):
            raise InputError(
                "console.sign_in", f"none is for loopback, not for {bind}", "write basic or openid"
            )
        return None, None
    people: People | None = None
    provider: Provider | None = None
    if way == "openid" and settings.openid is not None:
        from opsloop.web.openid import OpenIDProvider

        secret = _beside(world, settings.openid.client_secret_file)
        provider = OpenIDProvider(settings.openid, settings.roles, secret)
    elif settings.users_file is not None:
        people = passwords.UsersFile(_beside(world, settings.users_file), settings.roles)
    else:
        people = stack_user
    sessions = Sessions(settings.session.seconds)
    return sessions, SignIn(
        sessions, _cookie(port), frame.note, people=people, provider=provider, address=address
    )


def _beside(world: World, file: str) -> Path:
    """A file of the catalog, which is relative to its folder."""
    from opsloop.compile.places import CATALOG_LINK

    return world.state / CATALOG_LINK / file  # an absolute path stands for itself


def _programs(stack_user: passwords.StackUser) -> Callable[[str | None], Person | None]:
    """Programs may ask with the stack's user and password."""
    import base64
    import binascii

    def person(header: str | None) -> Person | None:
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, password = (
                base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
            )
        except (binascii.Error, ValueError):
            return None
        return stack_user.person(name, password)

    return person


def _cookie(port: int) -> str:
    """Cookies know no ports: two consoles of one machine would take each other's."""
    from opsloop.web.sessions import COOKIE

    return f"{COOKIE}_{port}"


def _host(address: str) -> str:
    return (
        address.partition("://")[2].partition("/")[0].rpartition("@")[2].rsplit(":", 1)[0].lower()
    )


class _Static(StaticFiles):
    """Files that never change under one address: the address has their hash."""

    def file_response(self, *arguments: Any, **given: Any) -> Response:
        answer = super().file_response(*arguments, **given)
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer

    def lookup_path(self, path: str) -> tuple[str, Any]:
        return ("", None) if path.startswith(".") else super().lookup_path(path)


async def _healthz(_: Request) -> Response:
    """It answers: that Prometheus or the engine does not is theirs, and the pages say so."""
    return JSONResponse({"status": "ok"})


async def _icon(_: Request) -> Response:
    return FileResponse(render.STATIC / "icon.svg", media_type="image/svg+xml")


def _metrics(metrics: ConsoleMetrics, allowed: Callable[[bytes | None], bool]) -> Any:
    async def scraped(request: Request) -> Response:
        header = request.headers.get("authorization")
        if not allowed(header.encode("latin-1") if header else None):
            return JSONResponse(
                {"error": "the stack's user and password are needed"},
                401,
                {"www-authenticate": 'Basic realm="opsloop"'},
            )
        return Response(metrics.text(), headers={"content-type": metrics.content_type})

    return scraped


def _failed(frame: Frame) -> Callable[[Request, Exception], Any]:
    async def told(request: Request, error: Exception) -> Response:
        status = 503
        if isinstance(error, Conflict):
            status = 409
        elif isinstance(error, ArgumentError):
            status = 400
        elif isinstance(error, StoreError) and error.reason == "there is none":
            status = 404
        return await frame.refused(request, status, str(error))

    return told
