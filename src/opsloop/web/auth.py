"""Who may call: the bearer token of the intake, the stack's password, the Host header."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from opsloop import names
from opsloop.errors import StateUnusable

LOOK_EVERY_S: Final = 1.0


class Secret:
    """A secret that is a file. It is looked at again every second, so it can be rotated."""

    def __init__(self, path: Path) -> None:
        """Raises StateUnusable when it cannot be read, or is empty."""
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._looked_at = 0.0
        self._value = b""
        try:
            self._read()
        except OSError as error:
            raise StateUnusable(
                str(path), f"cannot be read: {error.strerror}", "run `opsloop up`"
            ) from error
        if not self._value:
            raise StateUnusable(str(path), "is empty", "remove it and run `opsloop up`")

    def value(self) -> bytes:
        """What it is now; what it was last while the file is away or empty."""
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            with contextlib.suppress(OSError):
                self._read()
        return self._value

    def _read(self) -> None:
        self._looked_at = time.monotonic()
        found = self.path.stat()
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._seen:
            value = self.path.read_bytes().strip()
            if value:
                self._value, self._seen = value, seen


def bearer(secret: Secret) -> Callable[[bytes | None], bool]:
    """A check of an Authorization header, in constant time."""

    def allowed(header: bytes | None) -> bool:
        scheme, _, token = (header or b"").partition(b" ")
        given = hmac.compare_digest(token.strip(), secret.value())
        return given and scheme.lower() == b"bearer"

    return allowed


def basic(secret: Secret) -> Callable[[bytes | None], bool]:
    """The same for basic authentication as the stack's one user."""

    def allowed(header: bytes | None) -> bool:
        scheme, _, encoded = (header or b"").partition(b" ")
        try:
            pair = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            pair = b""
        expected = names.SCRAPE_USER.encode() + b":" + secret.value()
        given = hmac.compare_digest(pair, expected)
        return given and scheme.lower() == b"basic"

    return allowed


def hosts_for(bind: str, more: Iterable[str] = ()) -> frozenset[str] | None:
    """Which names a Host header may have: those of loopback and the bind address.

    So a web page that points its own name at 127.0.0.1 reaches nothing. None (any) when bound
    to every address: then the names of this machine are not known here.
    """
    try:
        if ipaddress.ip_address(bind).is_unspecified:
            return None
    except ValueError:
        pass  # a name
    return frozenset({"127.0.0.1", "localhost", "::1", bind.lower(), *more})


def host_allowed(header: bytes | None, allowed: frozenset[str] | None) -> bool:
    """Whether a Host header names us; its port does not matter."""
    if allowed is None:
        return True
    text = (header or b"").decode("latin-1").strip().lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return name in allowed


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of ours, or from no page at all.

    A command-line client sends no Origin; a browser sends it with each POST.
    """
    origin = headers.get("origin")
    if origin is None:
        return True
    return origin.partition("://")[2].lower() == headers.get("host", "").lower()
