"""The supervisord of one stack: started, found again, ended, and what it left behind swept up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from opsloop import names
from opsloop.drivers.supervisor import Supervisor
from opsloop.errors import DriverError, PartFailed, StackError
from opsloop.settings import ENV_STATE
from opsloop.stack import processes
from opsloop.stack.files import usable, write_file
from opsloop.stack.state import StateFolder

Say = Callable[[str], None]

ENV_SOCKET = "OPSLOOP_SOCKET"
ENV_PYTHON = "OPSLOOP_PYTHON"
ENV_CATALOG_DIR = "OPSLOOP_CATALOG_DIR"
_ENV_SERVER_URL = "SUPERVISOR_SERVER_URL"  # supervisord puts it into every child
_ENV_PROGRAM = "SUPERVISOR_PROCESS_NAME"  # and this
_MODULE = "opsloop.stack.steady"  # runs supervisor.supervisord
_MODULES = {_MODULE, "supervisor.supervisord"}  # a stack of an earlier version is found too
_KEPT = ("PATH", "LANG", "LC_ALL", "HOME", "TZ", "TMPDIR")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_START_S = 15.0
_SHUTDOWN_S = 60.0
_QUIET_S = 1.0  # between lines about an end that takes its time
_SWEEPS = 5
_POLL_S = 0.05


def environment(
    state: StateFolder, catalog_dir: Path, binaries: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of supervisord: where things are, and no secret."""
    return {
        "PATH": _PATH,
        **{name: environ[name] for name in _KEPT if environ.get(name)},
        ENV_STATE: str(state.root),
        ENV_PYTHON: sys.executable,
        ENV_CATALOG_DIR: str(catalog_dir),
        ENV_SOCKET: str(state.socket_path()),
        **binaries,
    }


def client(state: StateFolder, timeout_s: float = 5.0) -> Supervisor:
    """The driver at the socket that stack.json records (or that a start would use)."""
    info = state.read()
    return Supervisor(Path(info.socket) if info else state.socket_path(), timeout_s)


def find(state: StateFolder) -> int:
    """The pid of this stack's supervisord, 0 when it does not run.

    The pid file alone proves nothing: after a crash another program may have the number. So
    the process must have this state folder in its environment and be a supervisord.
    """
    try:
        pid = int(state.pid_file.read_text().strip())
    except (OSError, ValueError):
        pid = 0
    if _is_supervisord(pid, state):
        return pid
    # A pid file that was removed or overwritten hides nothing.
    return next((p for p in processes.pids() if _is_supervisord(p, state)), 0)


def _is_supervisord(pid: int, state: StateFolder) -> bool:
    """It leads its session, which a child that has not come to its own program yet does not."""
    return _looks_like_supervisord(pid, state) and processes.session_of(pid) == pid


def _looks_like_supervisord(pid: int, state: StateFolder) -> bool:
    return (
        pid > 1
        and not _MODULES.isdisjoint(processes.arguments(pid))
        and processes.environment(pid).get(ENV_STATE) == str(state.root)
        and processes.alive(pid)
    )


class Membership:
    """Tells which processes were started by a supervisord of one stack, now or earlier.

    By the socket that supervisord puts into the environment of its children, and, for those
    that clean their environment (a database under another user), by their session: it is
    supervisord's, and its number is not given again while anybody is in it.
    """

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._sockets = state.sockets()
        self._session = _recorded_session(state)

    def has(self, pid: int) -> bool:
        """Whether it is a child of such a supervisord (not: what lies below one)."""
        if self._session and processes.session_of(pid) == self._session != pid:
            return True
        url = processes.environment(pid).get(_ENV_SERVER_URL, "")
        if url.removeprefix("unix://") in self._sockets:
            return True
        # Killed between fork and exec, supervisord leaves a copy of itself that goes on to exec.
        return _looks_like_supervisord(pid, self._state) and processes.session_of(pid) != pid

    def covers(self, pid: int) -> bool:
        """Whether it, or something above it, is such a child."""
        return any(self.has(p) for p in processes.ancestors(pid))


def orphans(state: StateFolder) -> set[int]:
    """What earlier supervisords of this stack left running, with all below it.

    Only what was started for this very state folder, never the caller or its parents: a shell
    may have been opened from a child. While a supervisord runs these are its children.
    """
    members = Membership(state)
    keep = processes.ancestors(os.getpid())
    roots = {p for p in processes.pids() if p not in keep and members.has(p)}
    return processes.family(roots) - keep


def _record_session(state: StateFolder, pid: int) -> None:
    record = {"pid": pid, "ticks": processes.started_ticks(pid), "boot": processes.boot_id()}
    write_file(_session_file(state), json.dumps(record) + "\n", 0o600)


def _recorded_session(state: StateFolder) -> int:
    """The session of the last supervisord, 0 when its number means something else by now."""
    try:
        record = json.loads(_session_file(state).read_text())
        pid, ticks, boot = int(record["pid"]), int(record["ticks"]), str(record["boot"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    now = processes.started_ticks(pid)
    return pid if boot == processes.boot_id() and now in (0, ticks) else 0


def _session_file(state: StateFolder) -> Path:
    return state.run / "session.json"


def start(state: StateFolder, env: Mapping[str, str]) -> int:
    """Start it in a session of its own and wait until it answers; returns its pid.

    Raises PartFailed with its own words when it ends at once. Whatever interrupts this leaves
    it to the caller to `stop` what runs by then.
    """
    state.pid_file.unlink(missing_ok=True)
    state.make_socket_folder()
    socket = Path(env[ENV_SOCKET])
    conf = state.build / names.SUPERVISORD_CONF
    out = state.logs / "supervisord.out"
    argv = [sys.executable, "-W", "ignore", "-m", _MODULE, "-n", "-c", str(conf)]
    append = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with usable(out):
        pid = os.posix_spawn(
            sys.executable,
            argv,
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(out), append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            # A Ctrl-C that this command ignores for a while is no matter of the stack's.
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
            setsigmask=[],
        )
    _record_session(state, pid)
    driver = Supervisor(socket, 2.0)
    deadline = time.monotonic() + _START_S
    while not _answers_as(driver, pid):
        if not processes.alive(pid):
            raise PartFailed("supervisord", f"ended at once: {tail(out, 3)}", f"see {out}")
        if time.monotonic() > deadline:
            raise PartFailed("supervisord", f"does not answer: {tail(out, 3)}", f"see {out}")
        time.sleep(_POLL_S)
    return pid


def _answers_as(driver: Supervisor, pid: int) -> bool:
    try:
        return driver.pid() == pid
    except DriverError:
        return False


def stop(state: StateFolder, say: Say) -> bool:
    """End supervisord and everything it started; False when nothing ran.

    Raises StackError when something of the stack is still there afterwards.
    """
    pid = find(state)
    if pid:
        _continue_stopped(pid)
        _shut_down(state, pid, say)
    swept = _sweep(state, lambda text: None if pid else say(text))
    _remove_traces(state)
    still = orphans(state) | ({find(state)} - {0})
    if still:
        raise StackError(
            "stack",
            f"processes {', '.join(map(str, sorted(still)))} do not end",
            "look at them with `ps`; a process in state D waits for its disk",
        )
    return bool(pid or swept)


def sweep(state: StateFolder, say: Say) -> None:
    """Before a start: end what a killed supervisord left, which would hold its ports."""
    _sweep(state, say)
    _remove_traces(state)


def _sweep(state: StateFolder, say: Say) -> set[int]:
    """End all that is left, looking again until there is nothing; returns what was ended."""
    seen: set[int] = set()
    for _ in range(_SWEEPS):
        left = orphans(state)
        if not left:
            break
        if not seen:
            what = sorted({processes.command_of(p) for p in left})
            say(f"sweeping up what a killed supervisord left: {', '.join(what[:6])}")
        seen |= left
        # A database ends its sessions on INT and waits for them on TERM.
        databases = {p for p in left if processes.command_of(p) in ("postgres", "postmaster")}
        processes.end(databases, signal.SIGINT, 0.0)
        processes.end(left - databases, signal.SIGTERM, 8.0)
        processes.end(databases, signal.SIGINT, 8.0)
        processes.end(left, signal.SIGKILL, 5.0)
    return seen


def _shut_down(state: StateFolder, pid: int, say: Say) -> None:
    driver = client(state, 5.0)
    try:
        driver.shutdown()
    except DriverError:
        # It does not listen any more; TERM means the same to it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    began = time.monotonic()
    deadline, tell_at, shown = began + _SHUTDOWN_S, began + _QUIET_S, ""
    while processes.alive(pid):
        # supervisord answers no question any more; its children tell their names.
        running = sorted(n for p in processes.children(pid) if (n := _program(p)))
        text = f"waiting for {', '.join(running)} to end"
        now = time.monotonic()
        if running and text != shown and now > tell_at:
            say(text)
            shown, tell_at = text, now + _QUIET_S
        if now > deadline:
            say("supervisord does not end; killing it and what it runs")
            processes.end(processes.family([pid]), signal.SIGKILL, 5.0)
            return
        time.sleep(_POLL_S)


def _program(pid: int) -> str:
    return processes.environment(pid).get(_ENV_PROGRAM, "")


def _continue_stopped(pid: int) -> None:
    """A child that is stopped (a hang on purpose) cannot hear that it should end."""
    for child in processes.family([pid]):
        if processes.state_of(child) == "T":
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGCONT)


def _remove_traces(state: StateFolder) -> None:
    with usable(state.run):
        for path in (state.pid_file, _session_file(state), *map(Path, state.sockets())):
            path.unlink(missing_ok=True)
    state.remove_socket_folders()


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, as one; a sentence when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return "it wrote no log"
    found = [line.strip() for line in text.splitlines() if line.strip()]
    # A program that is started again and again says the same again and again.
    return " | ".join(list(dict.fromkeys(found))[-lines:]) or "it wrote nothing"
