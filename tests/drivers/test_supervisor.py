"""The supervisor driver against a real supervisord with small real programs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsloop.drivers.supervisor import Supervisor
from opsloop.errors import DriverError

SLEEP = f"{sys.executable} -c 'import time; time.sleep(3600)'"


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


class Daemon:
    """A supervisord of the test's own in a short folder (socket paths are limited)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "s.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, programs: str) -> None:
        head = (
            f"[unix_http_server]\nfile={self.socket}\n"
            f"[supervisord]\nlogfile={self.folder}/d.log\npidfile={self.folder}/d.pid\n"
            f"childlogdir={self.folder}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        )
        (self.folder / "d.conf").write_text(head + programs)

    def start(self) -> Supervisor:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "supervisor.supervisord"),
                *("-n", "-c", str(self.folder / "d.conf")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client = Supervisor(self.socket, 5.0)
        until(client.alive)
        return client

    def close(self) -> None:
        if self.process is None:
            return
        pids = []
        with contextlib.suppress(DriverError):
            pids = [p.pid for p in Supervisor(self.socket, 5.0).processes() if p.pid > 1]
        self.process.kill()
        self.process.wait(10)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="ol-") as folder:
        daemon = Daemon(Path(folder))
        try:
            yield daemon
        finally:
            daemon.close()


PAIR = f"""
[program:one]
command={SLEEP}
startsecs=0
[program:two]
command={SLEEP}
autostart=false
startsecs=0
"""


def test_reads_starts_stops(daemon: Daemon) -> None:
    daemon.write(PAIR)
    client = daemon.start()
    until(lambda: client.process("one:one").state == "RUNNING")
    one, two = client.processes()
    assert (one.target, one.group, one.name) == ("one:one", "one", "one")
    assert one.running
    assert one.pid > 1
    assert one.started_at > 0
    assert (two.state, two.pid, two.running) == ("STOPPED", 0, False)

    assert client.start("two:two", wait=True) is True
    assert client.start("two:two") is False
    pid = client.process("two:two").pid
    assert client.stop("two:two") is True
    assert gone(pid)
    assert client.stop("two:two") is False
    assert client.process("one:one").pid == one.pid


def test_signal_kills_a_stopped_child(daemon: Daemon) -> None:
    daemon.write(PAIR.replace("startsecs=0", "startsecs=0\nautorestart=false", 1))
    client = daemon.start()
    until(lambda: client.process("one:one").state == "RUNNING")
    pid = client.process("one:one").pid
    os.kill(pid, signal.SIGSTOP)
    assert client.signal("one:one", "KILL") is True
    until(lambda: client.process("one:one").state == "EXITED")
    assert client.process("one:one").pid == 0
    assert client.signal("one:one", "KILL") is False
    assert client.start("one:one") is True
    assert client.process("one:one").pid not in (0, pid)


def test_update_touches_only_what_changed(daemon: Daemon) -> None:
    daemon.write(PAIR + f"[program:gone]\ncommand={SLEEP}\nstartsecs=0\n")
    client = daemon.start()
    client.start("two:two")
    until(lambda: all(p.state == "RUNNING" for p in client.processes()))
    before = {p.name: p.pid for p in client.processes()}
    assert not client.update()
    assert {p.name: p.pid for p in client.processes()} == before

    changed = PAIR.replace("[program:two]", "[program:two]\nenvironment=A='1'")
    daemon.write(changed + f"[program:new]\ncommand={SLEEP}\nstartsecs=0\n")
    done = client.update()
    assert (done.added, done.changed, done.removed) == (("new",), ("two",), ("gone",))
    until(lambda: client.process("new").state == "RUNNING")
    after = {p.name: p for p in client.processes()}
    assert set(after) == {"one", "two", "new"}
    assert after["one"].pid == before["one"]
    assert after["two"].pid == 0  # autostart is off: who wants it running starts it
    assert gone(before["two"])
    assert gone(before["gone"])


def test_a_program_that_cannot_start_is_told(daemon: Daemon) -> None:
    daemon.write(
        "[program:bad]\ncommand=/nonexistent/program\nautostart=false\n"
        f"[program:ends]\ncommand={sys.executable} -c 'raise SystemExit(3)'\n"
        "autostart=false\nstartretries=0\n"
    )
    client = daemon.start()
    with pytest.raises(DriverError) as bad:
        client.start("bad:bad")
    assert not bad.value.started
    assert "bad:bad" in str(bad.value)
    with pytest.raises(DriverError, match="did not stay up") as ends:
        client.start("ends:ends", wait=True)
    assert ends.value.started
    with pytest.raises(DriverError, match="no such program"):
        client.process("nobody:nobody")


def test_shutdown_ends_it_and_its_children(daemon: Daemon) -> None:
    daemon.write(PAIR)
    client = daemon.start()
    until(lambda: client.process("one:one").state == "RUNNING")
    pid = client.process("one:one").pid
    assert daemon.process is not None
    assert client.pid() == daemon.process.pid
    client.shutdown()
    daemon.process.wait(20)
    assert gone(pid)
    assert not client.alive()


def test_nobody_there_is_not_started(tmp_path: Path) -> None:
    client = Supervisor(tmp_path / "none.sock", 1.0)
    assert not client.alive()
    with pytest.raises(DriverError, match="opsloop up") as error:
        client.start("one:one")
    assert not error.value.started
    assert error.value.retryable


def test_a_silent_peer_is_left_after_the_timeout() -> None:
    with tempfile.TemporaryDirectory(prefix="ol-") as folder:
        path = Path(folder) / "s.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(4)
            client = Supervisor(path, 0.2)
            with pytest.raises(DriverError, match="timed out") as change:
                client.start("one:one")
            assert change.value.started  # sent, effect unknown
            with pytest.raises(DriverError, match="timed out") as read:
                client.processes()
            assert not read.value.started


def test_threads_share_one_client(daemon: Daemon) -> None:
    daemon.write(PAIR)
    client = daemon.start()
    results: list[int] = []

    def work() -> None:
        results.extend(len(client.processes()) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [2] * 160
