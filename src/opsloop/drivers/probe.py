"""One look at an address: does what listens there serve? Each look has a deadline of its own."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import Final

_MAX_HEAD: Final = 4096
_STARTING_UP: Final = frozenset({"57P03", "53300"})  # cannot connect now, too many connections


@dataclass(frozen=True, slots=True)
class Look:
    """What a probe saw. `reason` says why it does not serve, empty when it does."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PostgresLogin:
    """Who a PostgreSQL probe says it is; it never goes on to log in."""

    user: str
    database: str


def probe(
    address: str, health: str, timeout_s: float, postgres: PostgresLogin | None = None
) -> Look:
    """Whether host:port serves within timeout_s.

    health: a path that must answer 200 over HTTP; empty with `postgres`: PostgreSQL must be
    ready to talk about logging in (a port that is open says little while it recovers); empty
    without: a TCP connection must come about.
    """
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + timeout_s
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s) as sock:
            if health:
                return _http(sock, host, health, deadline)
            if postgres is not None:
                return _postgres(sock, postgres, deadline)
            return Look(True)
    except TimeoutError:
        return Look(False, "timed out")
    except (OSError, ValueError) as error:
        return Look(False, (getattr(error, "strerror", None) or str(error)).lower())


def _receive(sock: socket.socket, size: int, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)
    return sock.recv(size)


def _http(sock: socket.socket, host: str, path: str, deadline: float) -> Look:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: opsloop\r\nConnection: close\r\n\r\n"
    )
    sock.sendall(request.encode())
    head = b""
    while b"\n" not in head and len(head) < _MAX_HEAD:
        chunk = _receive(sock, _MAX_HEAD, deadline)
        if not chunk:
            break
        head += chunk
    words = head.partition(b"\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        return Look(False, "did not answer in HTTP" if head else "closed without an answer")
    status = words[1].decode("ascii", "replace")
    return Look(True) if status == "200" else Look(False, f"answered HTTP {status}")


def _postgres(sock: socket.socket, login: PostgresLogin, deadline: float) -> Look:
    words = b"user\0%b\0database\0%b\0\0" % (login.user.encode(), login.database.encode())
    sock.sendall(struct.pack("!II", len(words) + 8, 196608) + words)  # protocol 3.0
    answer = b""
    while len(answer) < 5 or len(answer) < 1 + struct.unpack("!I", answer[1:5])[0]:
        chunk = _receive(sock, _MAX_HEAD, deadline)
        if not chunk:
            break
        answer += chunk
        if len(answer) > _MAX_HEAD:
            break
    if answer[:1] == b"R":
        return Look(True)
    if answer[:1] != b"E":
        return Look(False, "did not answer as PostgreSQL" if answer else "closed without an answer")
    fields = {f[:1]: f[1:].decode("utf-8", "replace") for f in answer[5:].split(b"\0") if f}
    if fields.get(b"C") in _STARTING_UP:
        return Look(False, fields.get(b"M", "is starting"))
    return Look(True)  # it serves; that it does not want this user is no fault of its health
