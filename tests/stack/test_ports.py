"""Ports: who uses which, and the name of who holds one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from opsloop.catalog.model import Catalog
from opsloop.compile.options import Options
from opsloop.errors import PortTaken
from opsloop.settings import Ports
from opsloop.stack import processes
from opsloop.stack.ports import PortUse, is_free, refuse_taken, uses
from tests.support.net import free_port, free_ports

LISTEN = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.bind((sys.argv[1], 0)); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()
"""


@contextmanager
def listener(address: str = "127.0.0.1") -> Iterator[tuple[int, int]]:
    """(port, pid) of another process that listens."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_the_holder_is_named_whatever_it_binds(address: str) -> None:
    with listener(address) as (port, pid):
        with pytest.raises(PortTaken) as error:
            refuse_taken([PortUse("prometheus", port)], "127.0.0.1")
        text = str(error.value)
        assert f"port {port} (prometheus) is held by" in text
        assert f"pid {pid}" in text
        assert "--port-base" in text
        assert error.value.exit_code == 3


def test_our_own_port_is_not_taken_from_us() -> None:
    with listener() as (port, pid):
        refuse_taken([PortUse("x", port)], "127.0.0.1", is_ours=lambda p: p == pid)


def test_free_ports_pass() -> None:
    refuse_taken([PortUse("x", p) for p in free_ports(3)], "127.0.0.1")


def test_a_port_in_time_wait_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
            client.recv(1)
    assert is_free(port)


def test_many_taken_ports_stay_one_readable_sentence() -> None:
    sockets = [socket.socket() for _ in range(7)]
    try:
        found = []
        for one in sockets:
            one.bind(("127.0.0.1", 0))
            one.listen()
            found.append(PortUse("p", one.getsockname()[1]))
        with pytest.raises(PortTaken, match="and 3 more") as error:
            refuse_taken(found, "127.0.0.1")
        assert f"pid {os.getpid()}" in str(error.value)
    finally:
        for one in sockets:
            one.close()


def test_nobody_holds_a_free_port() -> None:
    assert processes.holder_of(free_port()) is None


def test_every_slot_and_every_exporter_has_its_port() -> None:
    catalog = Catalog.model_validate(
        {
            "apiVersion": "opsloop/v1",
            "processes": {
                "api": {"command": ["x"], "slots": 2, "port": 8000},
                "quiet": {"command": ["x"]},
            },
            "services": {
                "one": {"team": "a", "postgres": {}},
                "two": {"team": "a", "postgres": {}},
            },
        }
    )
    names = {"prometheus", "postgres-exporter", "postgres-exporter-two"}
    found = {u.program: u.port for u in uses(catalog, Options(ports=Ports(100)), names)}
    assert found == {
        "prometheus": 9190,
        "postgres-exporter": 9287,
        "postgres-exporter-two": 9288,
        "api-0": 8100,
        "api-1": 8101,
    }
