"""A small SMTP sink: takes mail after a login, and keeps it."""

from __future__ import annotations

import base64
import email
import email.message
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.net import free_port


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as it came. login: (user, password)."""

    sender: str
    to: tuple[str, ...]
    login: tuple[str, str]
    message: email.message.Message


@dataclass
class Sink:
    """Listens at 127.0.0.1:`port`; `mails` grows as they come."""

    port: int
    _mails: list[Mail] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def mails(self) -> list[Mail]:
        with self._lock:
            return list(self._mails)

    def take(self, mail: Mail) -> None:
        with self._lock:
            self._mails.append(mail)


@contextmanager
def smtp_sink() -> Iterator[Sink]:
    """A sink on a free port; it stops listening at the end."""
    sink = Sink(free_port())

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _talk(self, sink)

    with _Server(("127.0.0.1", sink.port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()


def _talk(handler: socketserver.StreamRequestHandler, sink: Sink) -> None:
    def say(line: str) -> None:
        handler.wfile.write(f"{line}\r\n".encode())

    say("220 sink ESMTP")
    login, sender, to = ("", ""), "", []
    while line := handler.rfile.readline().decode().strip():
        word, _, rest = line.partition(" ")
        match word.upper():
            case "EHLO":
                say("250-sink")
                say("250 AUTH PLAIN")
            case "AUTH":
                _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                login = (user, password)
                say("235 welcome")
            case "MAIL":
                sender = rest.partition(":")[2].split(" ")[0].strip("<>")
                say("250 ok")
            case "RCPT":
                to.append(rest.partition(":")[2].strip("<>"))
                say("250 ok")
            case "DATA":
                say("354 go on")
                lines = []
                while (text := handler.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(text)
                message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                sink.take(Mail(sender, tuple(to), login, message))
                say("250 kept")
            case "QUIT":
                say("221 bye")
                return
            case _:
                say("250 ok")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
