"""Fault switches of the shop: what is broken on purpose, and who may break it."""

from __future__ import annotations

import hmac
import ipaddress
import json
import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MAX_BODY = 4096  # bytes


class BadFault(Exception):
    """A fault that cannot be switched; says why."""


def secret(name: str) -> str:
    """A secret of the stack, or an empty text, with which nobody gets in."""
    state = Path(os.environ.get("OPSLOOP_STATE", ".opsloop"))
    folder = Path(os.environ.get("OPSLOOP_SECRETS", state / "secrets"))
    try:
        return (folder / name).read_text().strip()
    except OSError:
        return ""


def same(given: str, wanted: str) -> bool:
    """Compare in constant time; an empty secret meets nothing."""
    return bool(wanted) and hmac.compare_digest(given.encode(), wanted.encode())


def allowed(request: Request, token: str) -> bool:
    """Only with the token, and only from this machine."""
    try:
        local = request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        local = False
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return local and scheme.lower() == "bearer" and same(given.strip(), token)


def number(values: dict[str, Any], name: str, low: float, high: float, default: float) -> float:
    """A number of a fault's parameters within its bounds."""
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadFault(f"{name} must be a number")
    if not low <= value <= high:
        raise BadFault(f"{name} must be within {low:g} and {high:g}")
    return float(value)


class Switch:
    """The endpoint: `turn(kind, parameters)` does it, `active()` lists what is on."""

    def __init__(
        self,
        kinds: tuple[str, ...],
        turn: Callable[[str, dict[str, Any]], Awaitable[None]],
        active: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._kinds = kinds
        self._turn = turn
        self._active = active
        self._token = secret("fault_token")

    async def endpoint(self, request: Request) -> Response:
        """GET lists, POST {"kind": KIND, ...} switches; 401 without the token, 400 with why."""
        if not allowed(request, self._token):
            return JSONResponse({"error": "needs the fault token, from loopback"}, 401)
        if request.method == "POST":
            try:
                kind, values = await self._read(request)
                await self._turn(kind, values)
            except BadFault as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"kinds": list(self._kinds), "active": self._active()})

    async def _read(self, request: Request) -> tuple[str, dict[str, Any]]:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise BadFault(f"more than {MAX_BODY} bytes")
        try:
            values = json.loads(body)
        except ValueError:
            raise BadFault("not JSON") from None
        kind = values.pop("kind", None) if isinstance(values, dict) else None
        if kind not in self._kinds:
            raise BadFault(f"kind must be one of {', '.join(self._kinds)}")
        return kind, values
