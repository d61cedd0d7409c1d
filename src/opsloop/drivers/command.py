"""One command of an action, run for real: no shell, a scrubbed environment, a limit that holds."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from opsloop.errors import DriverError

KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")
"""All that a command inherits of the engine's environment."""
MARK: Final = "OPSLOOP_ACTION_OF"  # its state folder, by which `sweep` knows an action's processes
RUN: Final = "OPSLOOP_ACTION_RUN"  # which of them: everything that one command started has it
RECORDS: Final = "run/actions"  # of the state folder: a file for each command that runs, by pid
MAX_OUTPUT: Final = 16 * 1024  # bytes that are kept, the last ones
TERM_WAIT_S: Final = 5.0  # between SIGTERM and SIGKILL
KILL_WAIT_S: Final = 5.0
_DRAIN_S: Final = 0.5  # for what a process that ended had written
_POLL_S: Final = 0.05
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. code: its exit status, negative the signal; output: the end of what
    it wrote to stdout and stderr, as plain text."""

    code: int
    output: str
    took_s: float
    timed_out: bool = False


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    document: bytes,
    folder: Path,
    limit_s: float,
    state: Path,
    term_wait_s: float = TERM_WAIT_S,
    leavers: str = "",
) -> Ended:
    """Run argv in `folder` with `document` on its stdin, for at most limit_s.

    It leads a session and so a process group of its own; at the limit the group gets SIGTERM and,
    after term_wait_s, SIGKILL, and whatever of the group is left when the command has ended is
    killed. leavers: a word in the command line of those of its processes that leave the group, as
    ansible's workers do; then all that it started is killed at the limit. It dies with the engine.
    Raises DriverError, nothing started, when it cannot be run.
    """
    begun = time.monotonic()
    of_it = uuid.uuid4().hex
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", _found(argv[0], folder), *argv[1:]],
            env={**kept, **environment, MARK: str(state), RUN: of_it},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DriverError(argv[0], f"cannot be run: {reason.lower()}") from error
    record = state / RECORDS / str(process.pid)
    output = _Tail()
    timed_out = False
    try:
        _note(record, f"{of_it} {leavers}" if leavers else "")
        timed_out = not _watch(process, document, output, begun + limit_s)
        if timed_out:
            _signal_group(process.pid, signal.SIGTERM)
            _watch(process, b"", output, time.monotonic() + term_wait_s)
    finally:
        _signal_group(process.pid, signal.SIGKILL)  # what is left of it, if anything
        if timed_out and leavers:
            _kill_marked(f"{RUN}={of_it}".encode())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_WAIT_S)
        _wait_for_group(process.pid)
        _drain(process, output)
        with contextlib.suppress(OSError):
            record.unlink(missing_ok=True)
    code = process.returncode
    if code is None:
        raise DriverError(argv[0], f"pid {process.pid} lives on after SIGKILL", started=True)
    return Ended(code, output.text(), time.monotonic() - begun, timed_out)


def sweep(state: Path) -> list[int]:
    """Kill what actions of an engine that died left running; the pids that were.

    Their outcome is unknown, and is looked at next: nothing may go on changing the world then.
    """
    try:
        records = [path for path in (state / RECORDS).iterdir() if path.name.isdigit()]
    except OSError:
        return []
    sessions, found = {int(path.name) for path in records}, set[int]()
    deadline = time.monotonic() + KILL_WAIT_S
    while records and time.monotonic() < deadline:
        sessions |= {s for path in records for s in _sessions_left(path)}
        marked = _marked(f"{MARK}={state}".encode())
        # A service that an action started has a session of its own, and lives on.
        left = {pid for pid in marked if _session_of(pid) in sessions}
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        found |= left
        if not left and not any(map(_group_of, found)):
            break
        time.sleep(_POLL_S / 10)
    for path in records:
        with contextlib.suppress(OSError):
            path.unlink()
    return sorted(found)


def _note(record: Path, more: str) -> None:
    """Without room for a record the command still dies with the engine, but not its children."""
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(more)


def _sessions_left(record: Path) -> set[int]:
    """Sessions that processes of this command made for themselves, led by one of its `leavers`."""
    found = set[int]()
    with contextlib.suppress(OSError, ValueError):
        of_it, word = record.read_text().split(" ", 1)
        for session in {_session_of(pid) for pid in _marked(f"{RUN}={of_it}".encode())}:
            with contextlib.suppress(OSError):
                if word.encode() in Path(f"/proc/{session}/cmdline").read_bytes():
                    found.add(session)
    return found


def _session_of(pid: int) -> int:
    """0 of one that is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _found(program: str, folder: Path) -> str:
    """The program's file, so that what is missing is said before anything is started."""
    if "/" not in program:
        places = os.environ.get("PATH", os.defpath).split(os.pathsep)
        for place in places:
            path = Path(place, program)
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
        raise DriverError(program, "is not installed: it is nowhere on PATH")
    path = folder / program
    if not path.is_file():
        raise DriverError(program, "there is no such file", "see `opsloop check`")
    if not os.access(path, os.X_OK):
        raise DriverError(program, "is not executable", f"chmod +x {path}")
    return str(path)


def plain(raw: bytes) -> str:
    """What somebody else wrote, as text that changes no terminal and no page."""
    said = raw.decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in said).strip()


class _Tail:
    """The last bytes of an output, with a word on what is missing before them."""

    def __init__(self) -> None:
        self._kept = b""
        self._dropped = 0

    def add(self, chunk: bytes) -> None:
        both = self._kept + chunk
        self._dropped += max(0, len(both) - MAX_OUTPUT)
        self._kept = both[-MAX_OUTPUT:]

    def text(self) -> str:
        said = plain(self._kept)
        return f"(the first {self._dropped} bytes are left out)\n{said}" if self._dropped else said


def _watch(
    process: subprocess.Popen[bytes], document: bytes, output: _Tail, deadline: float
) -> bool:
    """Feed and read it until it has ended; False when the deadline came first."""
    stdin, stdout = _pipes(process)
    to_write = memoryview(document)
    if not stdin.closed:
        os.set_blocking(stdin.fileno(), False)
    readable = True
    while not _has_ended(process.pid):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        if not to_write and not stdin.closed:
            _close(stdin)
        ready_r, ready_w, _ = select.select(
            [stdout] if readable else [],
            [] if stdin.closed else [stdin],
            [],
            min(left, _POLL_S),
        )
        if ready_w:
            try:
                to_write = to_write[os.write(stdin.fileno(), to_write[:_CHUNK]) :]
            except (BrokenPipeError, BlockingIOError):
                to_write = memoryview(b"")  # it does not read what it is told: its own choice
        if ready_r:
            chunk = os.read(stdout.fileno(), _CHUNK)
            readable = bool(chunk)
            output.add(chunk)
        elif not readable:
            time.sleep(min(left, _POLL_S))
    return True


def _has_ended(pid: int) -> bool:
    """Without reaping it: while it is not, its pid and its group's are nobody else's."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _drain(process: subprocess.Popen[bytes], output: _Tail) -> None:
    """What is in the pipe still; one that left the group may hold it open for ever."""
    stdin, stdout = _pipes(process)
    deadline = time.monotonic() + _DRAIN_S
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([stdout], [], [], min(left, _POLL_S))[0]:
            break
        chunk = os.read(stdout.fileno(), _CHUNK)
        if not chunk:
            break
        output.add(chunk)
    _close(stdout)
    _close(stdin)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Its stdin and stdout, which `run` asked for."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the command was started without pipes")
    return process.stdin, process.stdout


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        pipe.close()


def _kill_marked(mark: bytes) -> None:
    """Until none is left: one that is killed may have started another meanwhile."""
    deadline = time.monotonic() + KILL_WAIT_S
    while (found := _marked(mark)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _marked(mark: bytes) -> list[int]:
    """Processes with this in their environment; what has ended shows none."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - quicker than iterdir
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
    return found


def _wait_for_group(leader: int) -> None:
    """Until nothing of the group runs: a process that got SIGKILL may act for a moment more."""
    deadline = time.monotonic() + KILL_WAIT_S
    while _group_runs(leader) and time.monotonic() < deadline:
        time.sleep(_POLL_S / 10)


def _group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208
    return any(_group_of(pid) == group for pid in pids)


def _group_of(pid: int) -> int:
    """The process group of one that runs; 0 of one that ended, also if its parent waits still."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if stat[0] in "ZX" else int(stat[2])


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
