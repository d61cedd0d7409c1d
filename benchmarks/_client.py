"""A lean HTTP client for webhooks: it shares two cores with the engine that it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

END: Final = b"\r\n\r\n"
Answered = Callable[[int, float], None]
"""Called with the status (0: the connection ended without an answer) and the seconds it took."""


class Connection(asyncio.Protocol):
    """One kept connection: one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, rest = self._read.partition(END)
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._read = rest[length:]
        self._done(int(head[9:12]))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._done(0)

    def _done(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, request: bytes) -> int:
        """The status of its answer; 0 when none came."""
        if self._transport is None:
            return 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connect(port: int) -> Connection | None:
    """None when nothing listens."""
    try:
        _, made = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    except OSError:
        return None
    return made


async def deliver(
    port: int, requests: list[bytes], at_once: int, every: float | None = None
) -> tuple[int, list[float]]:
    """Send all from `at_once` connections; (answers of 200, seconds that each took).

    every: seconds between two beginnings; a request that begins late because all connections
    wait counts from when it should have begun, so that a stall is not hidden.
    """
    todo = iter(enumerate(requests))
    waits: list[float] = []
    good = 0
    connections = [await connect(port) for _ in range(at_once)]
    began = time.monotonic()

    async def one(connection: Connection) -> None:
        nonlocal good
        for nth, request in todo:
            begins = time.monotonic()
            if every is not None:
                due = began + nth * every
                if due > begins:
                    await asyncio.sleep(due - begins)
                begins = due
            status = await connection.send(request)
            good += status == 200
            waits.append(time.monotonic() - begins)

    await asyncio.gather(*(one(c) for c in connections if c is not None))
    for connection in connections:
        if connection is not None:
            connection.close()
    return good, waits


def post(port: int, token: str, body: bytes) -> bytes:
    """A webhook as Alertmanager sends it."""
    head = (
        f"POST /api/v1/alerts HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
