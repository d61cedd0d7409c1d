"""What /proc says of processes: state, parents, environment, memory, listening ports."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_LISTEN = "0A"
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Holder:
    """Who listens on a port. pid 0: a process that this user may not look at."""

    pid: int
    command: str
    user: str

    def __str__(self) -> str:
        if self.pid:
            return f"{self.command} (pid {self.pid}, user {self.user})"
        return f"a process of user {self.user}"


def pids() -> Iterator[int]:
    """Every process that there is now."""
    for entry in os.listdir(PROC):  # noqa: PTH208 - 3 times as quick as iterdir on a full machine
        if entry.isdigit():
            yield int(entry)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not, and a child of ours that ended is reaped on the way."""
    if pid <= 1:
        return False
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
    return state_of(pid) not in ("", "Z", "X")


def state_of(pid: int) -> str:
    """The state letter of /proc/PID/stat (R S D T Z ...), empty when it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def parent_of(pid: int) -> int:
    """Its parent's pid; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def session_of(pid: int) -> int:
    """The pid of the leader of its session; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[3]) if fields else 0


def started_ticks(pid: int) -> int:
    """When it started, in clock ticks after boot: with the pid, one process for ever."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def boot_id() -> str:
    """Differs after each boot: pids before it mean nothing."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def arguments(pid: int) -> list[str]:
    """Its command line; empty when it is gone or not readable."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(a) for a in raw.split(b"\0") if a]


def environment(pid: int) -> dict[str, str]:
    """The environment it was started with; empty when it is not ours to read."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(item).partition("=") for item in raw.split(b"\0") if item)
    return {name: value for name, _, value in pairs}


def ancestors(pid: int) -> set[int]:
    """`pid` and its parents up to init."""
    found: set[int] = set()
    while pid > 1 and pid not in found:
        found.add(pid)
        pid = parent_of(pid)
    return found


def children(pid: int) -> list[int]:
    """Those that it started and that run, or ended unnoticed."""
    return [p for p in pids() if parent_of(p) == pid]


def family(roots: Iterable[int]) -> set[int]:
    """The roots and everything below them."""
    children: dict[int, list[int]] = {}
    for pid in pids():
        children.setdefault(parent_of(pid), []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid > 1]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def memory_mib(pid: int) -> float:
    """Memory of it and everything below it, in MiB: PSS, or RSS where PSS is not readable."""
    return sum(_memory_kib(p) for p in family([pid])) / 1024


def own_memory_mib(pid: int) -> float:
    """Memory of this one process, in MiB."""
    return _memory_kib(pid) / 1024


def _memory_kib(pid: int) -> int:
    for file, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(OSError):
            for line in (PROC / str(pid) / file).read_text().splitlines():
                if line.startswith(field):
                    return int(line.split()[1])
    return 0


def holder_of(port: int) -> Holder | None:
    """Who listens on a TCP port of this machine, on whatever address."""
    found = _listening().get(port)
    if found is None:
        return None
    inodes, uid = found
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in pids():
        with contextlib.suppress(OSError):
            folder = PROC / str(pid) / "fd"
            for name in os.listdir(folder):  # noqa: PTH208 - as in pids
                with contextlib.suppress(OSError):
                    if os.readlink(folder / name) in wanted:  # noqa: PTH115 - no real path
                        return Holder(pid, command_of(pid), user_of(uid))
    return Holder(0, "", user_of(uid))


def command_of(pid: int) -> str:
    """A short name of what it runs: the program, and for an interpreter what it interprets."""
    words = arguments(pid)
    if not words:
        with contextlib.suppress(OSError):
            return (PROC / str(pid) / "comm").read_text().strip()
        return "a process that ended"
    program = Path(words[0].rstrip(":")).name
    if program.startswith(("python", "node", "java", "ruby", "perl")):
        if len(words) > 2 and words[1] == "-m":
            return f"{program} -m {words[2]}"
        script = next((w for w in words[1:] if not w.startswith("-")), "")
        return f"{program} {Path(script).name}".strip() if len(script) < 80 else program
    return program


def user_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _listening() -> dict[int, tuple[set[str], int]]:
    """Port -> (socket inodes, uid) of every TCP listener."""
    found: dict[int, tuple[set[str], int]] = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if len(fields) > 9 and fields[3] == _LISTEN:
                    port = int(fields[1].rpartition(":")[2], 16)
                    found.setdefault(port, (set(), int(fields[7])))[0].add(fields[9])
    return found


def end(targets: Iterable[int], how: signal.Signals, wait_s: float) -> set[int]:
    """Signal each and wait until they are gone; returns those that are not. Never pid <= 1.

    A stopped process would not see the signal, so it is continued first.
    """
    left = {pid: started_ticks(pid) for pid in targets if pid > 1 and alive(pid)}
    for pid in left:
        for number in (signal.SIGCONT, how):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
    deadline = time.monotonic() + wait_s
    while True:
        left = {p: t for p, t in left.items() if alive(p) and started_ticks(p) == t}
        if not left or time.monotonic() > deadline:
            return set(left)
        time.sleep(_POLL_S)
