"""Debian packages that a stack needs: installed without starting or enabling their services."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from opsloop.errors import MachineError
from opsloop.stack.quiet import Machine, no_services

Say = Callable[[str], None]

_LOCK_WAIT_S = 300
_SHOWN = re.compile(
    r"^(?:Get:\d+ \S+ \S+ \S+ (?P<got>\S+) |Unpacking (?P<un>\S+)|"
    r"Setting up (?P<set>\S+)|(?P<wait>Waiting for cache lock))"
)


def install_command(packages: Sequence[str]) -> str:
    """The one line that installs these packages here, for a person to type."""
    if shutil.which("apt-get") is None:
        return (
            f"your package manager for {' '.join(packages)} "
            "(or name the programs in stack.binaries of the catalog)"
        )
    us = f"{shlex.quote(sys.executable)} -m opsloop doctor --install"
    return us if os.geteuid() == 0 else f"sudo {us}"


def install(packages: Iterable[str], say: Say, machine: Machine | None = None) -> list[str]:
    """Install what is not installed yet; returns the packages that were new, dependencies too.

    Services neither start now nor at the next boot, and PostgreSQL makes no cluster of its
    own. What was on the machine before is put back, also after a failure or Ctrl-C. Raises
    MachineError with apt's own last words.
    """
    machine = machine or Machine()
    wanted = sorted(set(packages))
    if machine.which("apt-get") is None:
        raise MachineError(
            ", ".join(wanted),
            "cannot be installed here: there is no apt-get",
            "install them with your package manager, or name the programs in stack.binaries",
        )
    if os.geteuid() != 0:
        raise MachineError(
            ", ".join(wanted), "only root can install packages", f"run: {install_command(wanted)}"
        )
    before = installed(machine)
    lacking = [p for p in wanted if p not in before]
    if not lacking:
        return []
    with _alone(machine, say), _ended_by_signals(), no_services(machine, lacking):
        if any(not _has_candidate(machine, p) for p in lacking):
            _update(machine, say)
        unknown = [p for p in lacking if not _has_candidate(machine, p)]
        if unknown:
            raise MachineError(
                ", ".join(unknown),
                "apt knows no such package",
                "see /etc/apt/sources.list, or name the programs in stack.binaries",
            )
        say(f"installing {', '.join(lacking)}")
        _install(machine, lacking, say)
        new = sorted(installed(machine) - before)
        disable_units(machine, new, say)
    return new


def installed(machine: Machine) -> set[str]:
    """The names of the packages that are wholly installed."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"],
        env=machine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return {row[1] for row in rows if len(row) == 2 and row[0] == "installed"}


def disable_units(machine: Machine, packages: Sequence[str], say: Say) -> None:
    """Keep the services of these (just installed) packages from starting at the next boot."""
    units, scripts = [], []
    for package in packages:
        done = subprocess.run(
            ["dpkg-query", "-L", package],
            env=machine.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            path = Path(line)
            unit_folder = path.parent.name == "system" and path.parent.parent.name == "systemd"
            if unit_folder and path.suffix in (".service", ".timer", ".socket"):
                if "@" not in path.name:
                    units.append(path.name)
            elif str(path.parent) == "/etc/init.d":
                scripts.append(path.name)
    if units and machine.which("systemctl"):
        _quietly(machine, ["systemctl", "disable", *units])
        say(f"kept from starting at boot: {', '.join(sorted(units))}")
    elif scripts and machine.which("update-rc.d"):
        for script in scripts:
            _quietly(machine, ["update-rc.d", script, "disable"])
        say(f"kept from starting at boot: {', '.join(sorted(scripts))}")


def _quietly(machine: Machine, command: list[str]) -> None:
    subprocess.run(
        command,
        env=machine.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _has_candidate(machine: Machine, package: str) -> bool:
    done = subprocess.run(
        ["apt-cache", "policy", package],
        env=machine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^\s*Candidate:\s*(\S+)", done.stdout, re.MULTILINE)
    return found is not None and found[1] != "(none)"


def _update(machine: Machine, say: Say) -> None:
    say("reading the package lists (apt-get update)")
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        code, lines = _run(machine, ["apt-get", "-q", "update"], lambda _: None)
        if code == 0:
            return
        # apt waits for dpkg's lock when told to, but not for the lists'.
        locked = any("Could not get lock" in line for line in lines)
        if not locked or time.monotonic() > deadline:
            raise _apt_failed("apt-get update", lines)
        say("another package manager runs; waiting for it")
        time.sleep(2)


def _install(machine: Machine, packages: Sequence[str], say: Say) -> None:
    def show(line: str) -> None:
        match = _SHOWN.match(line)
        if match is None:
            return
        if match["wait"]:
            say("another package manager runs; waiting for it")
        elif match["got"]:
            say(f"  downloading {match['got']}")
        elif match["un"]:
            say(f"  unpacking {match['un']}")
        else:
            say(f"  setting up {match['set']}")

    command = [
        *("apt-get", "-q", "-y", "--no-install-recommends"),
        *("-o", f"DPkg::Lock::Timeout={_LOCK_WAIT_S}"),
        *("-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Use-Pty=0"),
        *("install", *packages),
    ]
    code, lines = _run(machine, command, show)
    stale = any("404" in line or "Unable to fetch" in line for line in lines)
    if code != 0 and stale:
        # The lists are older than what the mirror has.
        _update(machine, say)
        code, lines = _run(machine, command, show)
    if code != 0:
        raise _apt_failed(f"apt-get install {' '.join(packages)}", lines)


def _run(machine: Machine, command: list[str], show: Say) -> tuple[int, list[str]]:
    """Run it, give each line to `show`; ends it before it lets an interruption through."""
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=machine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Its own group: Ctrl-C reaches this process only.
        process_group=0,
    ) as child:
        try:
            for line in child.stdout or ():
                lines.append(line.rstrip())
                show(lines[-1])
            child.wait()
        except BaseException:
            # apt leaves off downloading, but lets dpkg finish; what keeps services from
            # starting must stay until then, so nothing hurries this.
            child.send_signal(signal.SIGINT)
            while child.poll() is None:
                with contextlib.suppress(KeyboardInterrupt, _Ended):
                    child.wait()
            raise
    return child.returncode, lines


def _apt_failed(command: str, lines: Sequence[str]) -> MachineError:
    words = [line for line in lines if line.startswith(("E:", "W:", "dpkg: error"))]
    told = words or [line for line in lines if line.strip()][-3:] or ["no output"]
    return MachineError(command, " | ".join(told[:4]), "mend that, then run it again")


@contextlib.contextmanager
def _alone(machine: Machine, say: Say) -> Iterator[None]:
    """One installation of opsloop at a time: two would save each other's policy-rc.d."""
    machine.lock.parent.mkdir(parents=True, exist_ok=True)
    with machine.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another opsloop installs; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Ended(BaseException):
    """A signal that would have ended the process before the machine was put back."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C, then end the process as they would have."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise _Ended(number)

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except _Ended as ended:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.raise_signal(signal.Signals(ended.number))
        raise SystemExit(128 + ended.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
