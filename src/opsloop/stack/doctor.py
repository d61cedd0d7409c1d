"""What this machine lacks for a stack, and the exact command that mends each."""

from __future__ import annotations

import contextlib
import locale
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.compile.options import Options
from opsloop.errors import CatalogError, MachineError, MissingBinary
from opsloop.settings import Settings
from opsloop.stack import binaries, install, ports, prepare, processes, supervisord
from opsloop.stack.state import StateFolder

_NEWEST_UNTRIED = (3, 15)
_ROOM_MIB = 500
_MEMORY_MIB = 900


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. Not ok and `needed`: a stack cannot start."""

    name: str
    ok: bool
    found: str
    needed: bool = True
    fix: str = ""


def examine(settings: Settings, environ: Mapping[str, str]) -> list[Check]:
    """Look at everything. A catalog that is found narrows it to what that catalog needs."""
    state = StateFolder(settings.state)
    catalog, note = _catalog(settings, environ, state)
    checks = [_python(), _locale()]
    checks += [_program(p, catalog) for p in binaries.needed(catalog)]
    checks.append(_state(state))
    checks += [_room(state.root), _memory()]
    checks += _ports(settings, catalog, state)
    checks.append(_docker())
    if note is not None:
        checks.append(note)
    return checks


def missing_packages(checks: Sequence[Check]) -> list[str]:
    """The Debian packages of the programs that are not there."""
    absent = {c.name for c in checks if not c.ok}
    return sorted({p.package for p in binaries.PROGRAMS.values() if p.name in absent})


def mend(checks: Sequence[Check], say: Callable[[str], None]) -> list[str]:
    """Install what is missing; returns what was installed. Raises MachineError."""
    packages = missing_packages(checks)
    return install.install(packages, say) if packages else []


def lacks(checks: Sequence[Check]) -> list[Check]:
    """What keeps a stack from starting."""
    return [c for c in checks if c.needed and not c.ok]


def lacks_installation(checks: Sequence[Check]) -> list[Check]:
    """Of these, what an installation has to bring; a port that is taken now is another matter."""
    return [c for c in lacks(checks) if c.name in binaries.PROGRAMS or c.name == "python"]


def _catalog(
    settings: Settings, environ: Mapping[str, str], state: StateFolder
) -> tuple[Catalog | None, Check | None]:
    with contextlib.suppress(MachineError):  # a broken state folder is told as such
        settings = prepare.with_catalog(settings, state)
    try:
        if settings.catalog is None:
            return None, None
        return load(settings.catalog, environ, settings).catalog, None
    except CatalogError as error:
        where = str(settings.catalog or error.problems[0].file)
        count = len(error.problems)
        found = f"{where} has {count} problem{'s' if count != 1 else ''}: {error.problems[0]}"
        return None, Check("catalog", False, found, False, "opsloop check")


def _python() -> Check:
    version = sys.version_info[:3]
    text = ".".join(map(str, version))
    if version[:2] >= _NEWEST_UNTRIED:
        return Check("python", True, f"{text} (newer than any that was tried)")
    return Check("python", version >= (3, 11), text, True, "install Python 3.11 or later")


def _locale() -> Check:
    encoding = locale.getpreferredencoding(do_setlocale=False)
    ok = encoding.lower().replace("-", "") == "utf8"
    return Check("locale", ok, encoding, False, "export LC_ALL=C.UTF-8")


def _program(program: binaries.Program, catalog: Catalog | None) -> Check:
    named = catalog.stack.binaries if catalog else {}
    try:
        path = binaries.find(program, named)
    except MissingBinary as error:
        return Check(program.name, False, error.reason, True, error.next_step)
    if path is None:
        fix = install.install_command([program.package])
        return Check(program.name, False, "not installed", True, fix)
    return Check(program.name, True, str(path))


def _state(state: StateFolder) -> Check:
    """Whether the folder is, or could be made, a writable state folder; nothing is left there."""
    place = next(p for p in (state.root, *state.root.parents) if p.exists())
    fix = "choose another folder with --state"
    if place != state.root or not any(place.iterdir() if place.is_dir() else ()):
        ok = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
        found = f"{state.root} can be made" if ok else f"{state.root} cannot be made in {place}"
        return Check("state folder", ok, found, True, "" if ok else fix)
    try:
        state.prepare()
    except MachineError as error:
        return Check("state folder", False, f"{error.thing} {error.reason}", True, error.next_step)
    return Check("state folder", True, f"{state.root} can be written")


def _room(root: Path) -> Check:
    place = next(p for p in (root, *root.parents) if p.exists())
    free = shutil.disk_usage(place).free // (1024 * 1024)
    ok = free >= _ROOM_MIB
    return Check("disk space", ok, f"{free} MiB free at {place}", False, "free some space")


def _memory() -> Check:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return Check("memory", True, "unknown", False)
    ok = kib // 1024 >= _MEMORY_MIB
    return Check("memory", ok, f"{kib // 1024} MiB available", False, "end what is not needed")


def _ports(settings: Settings, catalog: Catalog | None, state: StateFolder) -> list[Check]:
    parts = [*binaries.PROGRAMS, "engine", "console", "inbox"]
    base = settings.ports
    members: supervisord.Membership | None = None
    with contextlib.suppress(MachineError):
        info = state.read()
        members = supervisord.Membership(state)
        if info is not None and supervisord.find(state):
            base = replace(base, base=info.port_base)  # of the stack that runs
    empty = Catalog.model_validate({"apiVersion": "opsloop/v1"})
    wanted = ports.uses(catalog or empty, Options(ports=base), parts)
    address = catalog.stack.bind if catalog else "127.0.0.1"
    found = []
    for use in wanted:
        if ports.is_free(use.port, address):
            continue
        holder = processes.holder_of(use.port)
        if holder is not None and members is not None and members.covers(holder.pid):
            continue
        who = str(holder) if holder else "an unknown process"
        found.append(
            Check(
                f"port {use.port}",
                False,
                f"held by {who}, wanted by {use.program}",
                True,
                "end it, or use --port-base N",
            )
        )
    return found or [Check("ports", True, f"{len(wanted)} ports are free or the stack's own")]


def _docker() -> Check:
    """Only told: the native runtime needs no Docker."""
    client = shutil.which("docker")
    if client is None:
        return Check("docker", True, "not installed; not needed", False)
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if address.startswith("unix://"):
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(address.removeprefix("unix://"))
        except OSError:
            return Check("docker", True, "the engine does not answer; not needed", False)
    try:
        done = subprocess.run(
            [client, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return Check("docker", True, "the engine does not answer; not needed", False)
    return Check("docker", True, f"engine {done.stdout.strip()}; not needed", False)


def as_json(checks: Sequence[Check]) -> dict[str, object]:
    """The stable form of `opsloop doctor --json`."""
    return {
        "ok": not lacks(checks),
        "checks": [
            {"name": c.name, "ok": c.ok, "needed": c.needed, "found": c.found, "fix": c.fix}
            for c in checks
        ],
    }
