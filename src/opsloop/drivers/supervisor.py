"""Supervisord's XML-RPC over its unix socket: read the processes, start, stop, signal, update."""

from __future__ import annotations

import http.client
import socket
import time
import xmlrpc.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError

from opsloop.errors import DriverError

RUNNING_STATES: Final = frozenset({"STARTING", "RUNNING", "BACKOFF", "STOPPING"})
"""States in which supervisord still does something with the process."""

_SHUTDOWN_STATE = 6
_BAD_NAME = 10
_ABNORMAL_TERMINATION = 40
_ALREADY_STARTED = 60
_NOT_RUNNING = 70
_ALREADY_ADDED = 90
_POLL_S = 0.03


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One program as supervisord sees it. Times are unix seconds; pid 0: does not run."""

    target: str  # group:name
    group: str
    name: str
    state: str  # STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN
    pid: int
    started_at: float
    exit_status: int
    description: str

    @property
    def running(self) -> bool:
        return self.state in ("STARTING", "RUNNING") and self.pid > 1


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did, as groups: `removed` ended, `changed` restarted, `added` started."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, with a timeout for connecting and for each read."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Supervisor:
    """A supervisord behind `socket`. Each call has its own connection, so threads may share it.

    timeout_s bounds each exchange. Every failure is a DriverError; its `started` is True
    when the request was sent and its effect is not known.
    """

    def __init__(self, socket: Path, timeout_s: float = 5.0) -> None:
        self.socket = socket
        self.timeout_s = timeout_s

    def processes(self) -> list[ProcessInfo]:
        """All programs, in supervisord's order."""
        infos = self._call("supervisor.getAllProcessInfo")
        return [_info(i) for i in infos]

    def process(self, target: str) -> ProcessInfo:
        """The program `group:name`. Raises DriverError when there is none."""
        return _info(self._call("supervisor.getProcessInfo", target, thing=target))

    def start(self, target: str, wait: bool = False) -> bool:
        """Start; False when it runs already. `wait`: until it stayed up for its startsecs."""
        done = self._change("supervisor.startProcess", target, False, unless=_ALREADY_STARTED)
        if done and wait:
            info = self._until(target, lambda i: i.state not in ("STARTING", "BACKOFF"), 30.0)
            if info.state != "RUNNING":
                raise DriverError(
                    target, f"did not stay up: {_story(info)}", "read its log", started=True
                )
        return done

    def stop(self, target: str, wait: bool = True, wait_s: float = 30.0) -> bool:
        """Ask it to end; False when it does not run. `wait`: until it ended, at most wait_s."""
        done = self._change("supervisor.stopProcess", target, False, unless=_NOT_RUNNING)
        if wait:
            self._until(target, lambda i: i.state not in RUNNING_STATES, wait_s)
        return done

    def signal(self, target: str, name: str) -> bool:
        """Send a signal (`KILL`, `HUP`, ...) to it; False when it does not run."""
        return self._change("supervisor.signalProcess", target, name, unless=_NOT_RUNNING)

    def update(self, wait_s: float = 30.0) -> Updated:
        """Read supervisord.conf again and apply it: only groups that changed are touched."""
        added, changed, removed = self._call("supervisor.reloadConfig", started=True)[0]
        for group in [*removed, *changed]:
            self._stop_group(group, wait_s)
            self._call("supervisor.removeProcessGroup", group, thing=group, started=True)
        for group in [*changed, *added]:
            self._change("supervisor.addProcessGroup", group, unless=_ALREADY_ADDED)
        return Updated(tuple(added), tuple(changed), tuple(removed))

    def shutdown(self) -> None:
        """Ask supervisord to stop everything and end; returns before it has."""
        self._change("supervisor.shutdown", unless=_SHUTDOWN_STATE)

    def pid(self) -> int:
        """supervisord's own pid."""
        return int(self._call("supervisor.getPID"))

    def alive(self) -> bool:
        """Whether it answers."""
        try:
            self._call("supervisor.getState")
        except DriverError:
            return False
        return True

    def _stop_group(self, group: str, wait_s: float) -> None:
        self._call("supervisor.stopProcessGroup", group, False, thing=group, started=True)
        deadline = time.monotonic() + wait_s
        while True:
            left = [p for p in self.processes() if p.group == group and p.state in RUNNING_STATES]
            if not left:
                return
            if time.monotonic() > deadline:
                raise DriverError(left[0].target, f"did not end within {wait_s:g} s", started=True)
            time.sleep(_POLL_S)

    def _until(
        self, target: str, done: Callable[[ProcessInfo], bool], wait_s: float
    ) -> ProcessInfo:
        deadline = time.monotonic() + wait_s
        while True:
            info = self.process(target)
            if done(info):
                return info
            if time.monotonic() > deadline:
                raise DriverError(target, f"is still {info.state} after {wait_s:g} s", started=True)
            time.sleep(_POLL_S)

    def _change(self, method: str, *args: Any, unless: int) -> bool:
        """Call what changes something; False when supervisord says fault `unless`."""
        thing = str(args[0]) if args else "supervisord"
        try:
            self._exchange(method, args, thing=thing, started=True)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == unless:
                return False
            raise _refused(thing, fault) from fault
        return True

    def _call(
        self, method: str, *args: Any, thing: str = "supervisord", started: bool = False
    ) -> Any:
        try:
            return self._exchange(method, args, thing=thing, started=started)
        except xmlrpc.client.Fault as fault:
            raise _refused(thing, fault) from fault

    def _exchange(self, method: str, args: Iterable[Any], *, thing: str, started: bool) -> Any:
        body = xmlrpc.client.dumps(tuple(args), method, allow_none=True).encode()
        connection = _UnixConnection(str(self.socket), self.timeout_s)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise DriverError(
                    thing,
                    f"supervisord does not answer at {self.socket}: {_plain(error)}",
                    "start the stack with `opsloop up`",
                ) from error
            try:
                connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
                response = connection.getresponse()
                text = response.read()
                if response.status != http.client.OK:
                    raise DriverError(thing, f"supervisord answered HTTP {response.status}")
                return xmlrpc.client.loads(text.decode())[0][0]
            except xmlrpc.client.Fault:
                raise
            except (OSError, http.client.HTTPException, ExpatError, ValueError) as error:
                raise DriverError(
                    thing, f"supervisord did not answer {method}: {_plain(error)}", started=started
                ) from error
        finally:
            connection.close()


def _plain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _refused(thing: str, fault: xmlrpc.client.Fault) -> DriverError:
    if fault.faultCode == _BAD_NAME:
        return DriverError(thing, "supervisord has no such program", "`opsloop status` lists them")
    return DriverError(
        thing,
        f"supervisord refused: {fault.faultString}",
        started=fault.faultCode == _ABNORMAL_TERMINATION,
    )


def _story(info: ProcessInfo) -> str:
    text = f"{info.state} with exit status {info.exit_status}"
    return f"{text} ({info.description})" if info.description else text


def _info(raw: Any) -> ProcessInfo:
    state = str(raw["statename"])
    return ProcessInfo(
        target=f"{raw['group']}:{raw['name']}",
        group=str(raw["group"]),
        name=str(raw["name"]),
        state=state,
        pid=int(raw["pid"]),
        started_at=float(raw["start"]),
        exit_status=int(raw["exitstatus"]),
        description=str(raw["spawnerr"] or raw["description"]),
    )
