"""A small HTTP receiver that keeps what it was sent, and answers as the test says."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.net import free_port
from tests.support.wait import wait_until


@dataclass(frozen=True, slots=True)
class Received:
    """One request. `headers` have lower-case names; `at` is unix seconds, when it was read."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    delay: float


class Receiver:
    """Listens at `url`. `received` grows in the order in which requests were read."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._next: deque[_Answer] = deque()
        self._always = _Answer(200, b"", 0.0)

    @property
    def received(self) -> list[Received]:
        with self._lock:
            return list(self._received)

    def answer(
        self, status: int, body: bytes = b"", *, delay: float = 0.0, times: int | None = None
    ) -> None:
        """Answer so from now on, or for the next `times` requests, after `delay` seconds."""
        answer = _Answer(status, body, delay)
        with self._lock:
            if times is None:
                self._next.clear()
                self._always = answer
            else:
                self._next.extend([answer] * times)

    def wait_for(self, n: int, deadline: float = 60.0) -> list[Received]:
        """All that was received, once that is `n` requests or more."""

        def enough() -> list[Received]:
            got = self.received
            assert len(got) >= n, f"{len(got)} requests"
            return got

        return wait_until(enough, f"{n} requests at {self.url}", deadline)

    def take(self, request: Received) -> _Answer:
        """Keep a request; what to answer. Called by the server's threads."""
        with self._lock:
            self._received.append(request)
            return self._next.popleft() if self._next else self._always


@contextmanager
def receiver(port: int | None = None) -> Iterator[Receiver]:
    """A Receiver on `port`, or on a free one; it stops listening at the end."""
    target = Receiver(port or free_port())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            request = Received(self.command, self.path, headers, body, time.time())
            answer = target.take(request)
            if answer.delay:
                time.sleep(answer.delay)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with _Server(("127.0.0.1", target.port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield target
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event here."""
