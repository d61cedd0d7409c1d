"""Probes: what serves, what only listens, and PostgreSQL from its first moment on."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from opsloop.drivers.listener import listens
from opsloop.drivers.probe import PostgresLogin, probe
from tests.support.net import free_port
from tests.support.servers import require, stop
from tests.support.wait import wait_until

LOGIN = PostgresLogin("opsloop", "shop")


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """An address where each connection is handled by `talk`."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with closing(connection):
                connection.settimeout(5)
                with suppress(OSError):
                    talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join(30)
        listener.close()


def answering(text: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return talk


def silent(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.recv(4096)  # until the other side goes away


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 200\r\n\r\n", ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered HTTP 204"),
        (b"HTTP/1.1 301 Moved\r\n\r\n", "answered HTTP 301"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answered HTTP 503"),
        (b"SSH-2.0-OpenSSH\r\n", "did not answer in HTTP"),
        (b"\n", "did not answer in HTTP"),
        (b"x" * 10_000, "did not answer in HTTP"),
        (b"", "closed without an answer"),
    ],
)
def test_http(answer: bytes, reason: str) -> None:
    with listening(answering(answer)) as address:
        look = probe(address, "/healthz", 10.0)
    assert (look.ok, look.reason) == (not reason, reason)


def test_a_port_that_is_open_and_says_nothing() -> None:
    with listening(silent) as address:
        assert probe(address, "", 10.0).ok
        assert probe(address, "/healthz", 0.2).reason == "timed out"
        assert probe(address, "", 0.2, LOGIN).reason == "timed out"


def test_a_port_that_is_closed() -> None:
    assert probe(f"127.0.0.1:{free_port()}", "", 5.0).reason == "connection refused"


@pytest.mark.parametrize("address", ["", "x", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:99999999"])
def test_an_address_that_is_none(address: str) -> None:
    look = probe(address, "", 1.0)
    assert not look.ok
    assert look.reason


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (_message(b"R", struct.pack("!I", 10)), True),  # asks for a password
        (_message(b"E", b"SFATAL\0C28000\0Mno pg_hba.conf entry\0\0"), True),
        (_message(b"E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"), False),
        (_message(b"E", b"SFATAL\0C53300\0Msorry, too many clients already\0\0"), False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
        (b"R\xff\xff\xff\xff" + b"x" * 9000, True),
    ],
)
def test_postgresql_as_it_may_answer(answer: bytes, ok: bool) -> None:
    with listening(answering(answer)) as address:
        look = probe(address, "", 10.0, LOGIN)
    assert look.ok is ok
    assert bool(look.reason) is not ok


@contextmanager
def postgresql(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A real server in a folder of its own; it refuses to run as root."""
    initdb, server = require("initdb"), require("postgres")
    as_user: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ol-") as folder:
        data = Path(folder) / "data"
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("running as root, and there is no user postgres to run it as")
            os.chown(folder, user.pw_uid, user.pw_gid)
            as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
            as_user += ["--clear-groups"]
        made = [*as_user, str(initdb), "-D", str(data), "-A", "scram-sha-256", "-N", "-U", "boss"]
        password = Path(folder) / "pw"
        password.write_text("x\n")
        password.chmod(0o644)
        subprocess.run([*made, f"--pwfile={password}"], check=True, capture_output=True)
        command = [*as_user, "setpriv", "--pdeathsig", "QUIT", str(server), "-D", str(data)]
        command += ["-p", str(port), "-h", "127.0.0.1", "-k", folder]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGQUIT)
            stop(process)


def test_postgresql_itself() -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with postgresql(port) as process:
        wait_until(lambda: probe(address, "", 2.0, LOGIN).ok, "PostgreSQL is ready")
        assert listens(process.pid, port)
        process.send_signal(signal.SIGSTOP)
        # The kernel still accepts connections for it: a TCP connect would say all is well.
        assert probe(address, "", 2.0).ok
        assert probe(address, "", 0.3, LOGIN).reason == "timed out"
        process.send_signal(signal.SIGCONT)
        assert wait_until(lambda: probe(address, "", 2.0, LOGIN).ok, "it goes on")


def test_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert listens(os.getpid(), port) is True
        other = subprocess.Popen(["sleep", "60"])
        try:
            assert listens(other.pid, port) is False
        finally:
            stop(other)
    assert listens(os.getpid(), free_port()) is False


def test_a_child_listens_for_its_parent() -> None:
    """As a shell around a server does."""
    code = (
        "import os, socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "if os.fork():\n    s.close(); os.wait()\n"
        "else:\n    print(s.getsockname()[1], flush=True); sys.stdin.read(); os._exit(0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        assert listens(process.pid, port) is True
        process.stdin.close()
