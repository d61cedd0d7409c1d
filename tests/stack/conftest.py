"""A state folder with a supervisord of small real programs, ended whatever the test does."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from opsloop import names
from opsloop.stack import processes, supervisord
from opsloop.stack.state import StackInfo, StateFolder

HEAD = """\
[unix_http_server]
file=%(ENV_OPSLOOP_SOCKET)s
[supervisord]
logfile=%(ENV_OPSLOOP_STATE)s/logs/supervisord.log
pidfile=%(ENV_OPSLOOP_STATE)s/run/supervisord.pid
nodaemon=true
silent=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


class SmallStack:
    """Programs of one's own under the supervisord of a state folder."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder(folder)
        self.said: list[str] = []
        self._seen: set[int] = set()

    def write(self, startsecs: int = 0, **commands: str) -> None:
        """One program for each keyword; its command is a line for supervisord.conf.

        With startsecs a program that ends before is given up on at once.
        """
        self.state.prepare()
        sections = [
            f"[program:{name}]\ncommand={command}\nstartsecs={startsecs}\nstartretries=0\nstopwaitsecs=3\n"
            f"redirect_stderr=true\nstdout_logfile=%(ENV_OPSLOOP_STATE)s/logs/{name}.log\n"
            for name, command in commands.items()
        ]
        path = self.state.build / names.SUPERVISORD_CONF
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD + "".join(sections))

    def start(self) -> int:
        socket = self.state.socket_path()
        self.state.write(StackInfo(0, "", str(socket), 1.0))
        env = supervisord.environment(self.state, self.state.root, {}, os.environ)
        pid = supervisord.start(self.state, env)
        self.remember()
        return pid

    def stop(self) -> bool:
        return supervisord.stop(self.state, self.said.append)

    def pid(self, program: str) -> int:
        return supervisord.client(self.state).process(program).pid

    def remember(self) -> set[int]:
        """The processes of this stack now; all that were ever seen end with the test."""
        now = supervisord.orphans(self.state) | {supervisord.find(self.state)} - {0}
        self._seen |= now
        return now

    def close(self) -> None:
        if self.state.run.is_dir():
            self.remember()
        processes.end(self._seen, signal.SIGKILL, 5.0)


def sleeper(code: str = "") -> str:
    """A command that waits for ever."""
    return f"{sys.executable} -c 'import time{code}; time.sleep(3600)'"


Answer = Callable[[str], tuple[int, str]]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """host:port of a server in this process."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answer(self.headers.get("Authorization", ""))
            with suppress(OSError):  # who asked may have gone
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())
                self.wfile.flush()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def small_stack() -> Iterator[SmallStack]:
    with tempfile.TemporaryDirectory(prefix="ol-") as folder:
        stack = SmallStack(Path(folder) / "state")
        try:
            yield stack
        finally:
            stack.close()
