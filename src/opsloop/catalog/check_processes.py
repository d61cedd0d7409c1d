"""Rules over processes: ports, order, and the words that are replaced in their commands."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsloop.catalog.explain import nearest
from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.model import Process
from opsloop.settings import Ports

# Programs that the native runtime runs itself; a process of the catalog cannot have their names.
STACK_PROGRAMS = (
    "prometheus", "alertmanager", "node-exporter", "blackbox-exporter", "postgres-exporter",
    "engine", "inbox", "console", "grafana",
)  # fmt: skip
PLACEHOLDERS = ("python", "port", "slot", "state", "catalog_dir")
_SUPERVISOR_FORM = "%(ENV_"
_PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")


def processes(scope: Scope) -> None:
    for name, process in scope.catalog.processes.items():
        path = ("processes", name)
        if name in STACK_PROGRAMS or name.startswith("postgres-exporter-"):
            scope.error(path, f"{name!r} is a program of the stack", "choose another name")
        for field in ("health", "fault_path"):
            value = getattr(process, field)
            if value is None:
                continue
            if process.port is None:
                scope.error(
                    (*path, field), "cannot be reached without a port", "add port:",
                    reads=[(*path, "port")],
                )  # fmt: skip
            if not value.startswith("/"):
                scope.error((*path, field), f"{value!r} does not start with /", f"write /{value}")
        for i, other in enumerate(process.after):
            if other == name:
                scope.error((*path, "after", i), "a process cannot start after itself")
            else:
                scope.refer((*path, "after", i), "processes", other, "process")
        for at, text in _words(path, process):
            _placeholders(scope, at, text, process)
    edges = {n: [a for a in p.after if a != n] for n, p in scope.catalog.processes.items()}
    scope.refuse_cycles(edges, "processes", "after")
    _ports(scope)


def _words(path: Path, process: Process) -> Iterator[tuple[Path, str]]:
    for i, word in enumerate(process.command):
        yield (*path, "command", i), word
    for key, value in process.environment.items():
        yield (*path, "environment", key), value


def _placeholders(scope: Scope, at: Path, text: str, process: Process) -> None:
    if "\n" in text or "\r" in text:
        scope.error(at, "has a line break", "put the script into a file of its own")
    if _SUPERVISOR_FORM in text:
        scope.error(at, f"{_SUPERVISOR_FORM}...) is supervisor's own form", "leave it out")
    for match in _PLACEHOLDER.finditer(text):
        word, other = match.group(1), match.group(2)
        if word == "port" and other is None and process.port is None:
            scope.error(at, "{port} without a port", "add port:", reads=[(*at[:2], "port")])
        elif word == "port" and other is not None:
            port_path = ("processes", other, "port")
            if scope.refer(at, "processes", other, "process"):
                known = scope.catalog.processes.get(other)
                if known is not None and known.port is None:
                    scope.error(at, f"process {other!r} has no port", reads=[port_path])
        elif word not in PLACEHOLDERS:
            hint = nearest(word, PLACEHOLDERS)
            if hint.startswith("did"):  # other words in braces may be the program's own
                scope.error(at, f"{match.group()} is not replaced by anything", hint)


def _ports(scope: Scope) -> None:
    """No two processes, and no process and a part of the stack, on one port."""
    base = scope.settings.ports.base
    owners: dict[int, str] = {p: f"the stack's {n}" for n in STACK_PROGRAMS if (p := _port(n))}
    databases = sum(s.postgres is not None for s in scope.catalog.services.values())
    for i in range(1, databases):  # one exporter for each
        owners[Ports().postgres_exporter + i] = "the stack's postgres-exporter"
    for name, process in scope.catalog.processes.items():
        if process.port is None:
            continue
        path, last = ("processes", name, "port"), process.port + process.slots - 1
        reads = [("processes", name, "slots")]
        if not 1024 <= process.port + base <= last + base <= 65535:
            scope.error(
                path, f"with --port-base {base} its ports are {process.port + base}..{last + base},"
                " which is not in 1024..65535", reads=reads,
            )  # fmt: skip
        for port in range(process.port, last + 1):
            owner = owners.setdefault(port, f"process {name!r}")
            if owner != f"process {name!r}":
                others = [("processes", owner.split("'")[1])] if "'" in owner[8:] else []
                slot = f" (slot {port - process.port})" if process.slots > 1 else ""
                scope.error(
                    path, f"port {port}{slot} is that of {owner}", "choose another",
                    reads=[*reads, *others],
                )  # fmt: skip
                break


def _port(program: str) -> int | None:
    """The default port of a part of the stack."""
    port = getattr(Ports(), program.replace("-", "_"), None)
    return port if isinstance(port, int) else None
