"""What runs on this machine and could be watched: open /metrics, supervisor programs, containers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from opsloop.catalog.check_services import RESERVED_NAMES
from opsloop.catalog.scaffold import Found, FoundService, name_of
from opsloop.drivers.supervisor import Supervisor
from opsloop.errors import DriverError
from opsloop.stack import processes
from opsloop.stack.exposition import recognise
from opsloop.stack.listeners import Listener, listeners

MOST_PORTS = 100
MOST_BYTES = 2 * 1024 * 1024
LOOK_S = 2.0  # for the answer of one port
AT_ONCE = 16
DOCKER_SOCKET = Path("/var/run/docker.sock")
# Ports whose servers do not speak HTTP and may log or count a stranger's request as an attack.
SILENT = frozenset(
    (
        21, 22, 23, 25, 53, 88, 110, 111, 139, 143, 389, 445, 465, 514, 587, 631, 636, 873, 993,
        995, 1433, 1521, 2049, 3306, 3389, 5432, 5672, 6379, 9042, 11211, 27017,
    )
)  # fmt: skip
_POSTGRES = re.compile(r"postgres|postmaster")


@dataclass(frozen=True, slots=True)
class Page:
    """What GET /metrics gave: an HTTP status and the beginning of the text."""

    listener: Listener
    status: int
    text: str


def discover(
    found: Sequence[Listener] | None = None,
    *,
    supervisors: Sequence[Path] | None = None,
    docker: Path = DOCKER_SOCKET,
    look_s: float = LOOK_S,
) -> Found:
    """Look at what listens on loopback (or at `found`); never raises for what it meets there.

    supervisors: supervisord sockets, by default those that are open now. At most MOST_PORTS
    ports are asked, AT_ONCE at a time, and each has `look_s` seconds to begin its answer and
    as long to end it.
    """
    every = listeners() if found is None else list(found)
    asked = [item for item in every if item.port not in SILENT and not _is_postgres(item)]
    notes = [
        f"PostgreSQL on {item.address}: a service with postgres: {{port: {item.port}, user: ...}}"
        for item in every
        if _is_postgres(item)
    ]
    if len(asked) > MOST_PORTS:
        notes.append(f"{len(asked) - MOST_PORTS} more listening ports, which were not looked at")
        asked = asked[:MOST_PORTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pages = [
            page for page in pool.map(lambda item: look(item, look_s), asked) if page is not None
        ]
    programs = supervised(_open_supervisors() if supervisors is None else supervisors)
    containers = published(docker)
    return _found(pages, programs, containers, notes)


def look(listener: Listener, look_s: float = LOOK_S) -> Page | None:
    """GET /metrics there; None when nothing that speaks HTTP answers in time."""
    host = listener.host.strip("[]")
    connection = http.client.HTTPConnection(host, listener.port, timeout=look_s)
    try:
        connection.request("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4"})
        response = connection.getresponse()
        raw, end = b"", time.monotonic() + look_s
        while len(raw) < MOST_BYTES and time.monotonic() < end:
            part = response.read1(65536)
            if not part:
                break
            raw += part
        return Page(listener, response.status, raw.decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def supervised(sockets: Sequence[Path]) -> dict[int, str]:
    """pid -> program of every supervisord behind these sockets that answers."""
    programs: dict[int, str] = {}
    for path in sockets:
        with contextlib.suppress(DriverError):
            programs.update({p.pid: p.name for p in Supervisor(path, 1.0).processes() if p.running})
    return programs


def published(path: Path) -> dict[int, str]:
    """Published port -> name of its container; empty when no Docker engine answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"GET /containers/json HTTP/1.0\r\nHost: docker\r\n\r\n")
            response = http.client.HTTPResponse(connection)
            response.begin()
            containers = json.loads(response.read(MOST_BYTES)) if response.status == 200 else []
        return {
            int(port["PublicPort"]): str(container["Names"][0]).lstrip("/")
            for container in containers
            for port in container.get("Ports") or ()
            if port.get("PublicPort") and port.get("Type", "tcp") == "tcp"
        }
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError):
        return {}
    except AttributeError:  # JSON of another shape
        return {}


def _open_supervisors() -> list[Path]:
    """Paths of unix sockets that are open now and are called like supervisord's."""
    try:
        text = (processes.PROC / "net" / "unix").read_text(errors="replace")
    except OSError:
        return []
    paths = {line.split()[-1] for line in text.splitlines()[1:] if "supervisor" in line}
    # While it starts, supervisord listens on NAME.PID, which it then renames.
    plain = {re.sub(r"\.\d+$", "", path) for path in paths if path.startswith("/")}
    return [Path(path) for path in sorted(plain) if os.access(path, os.W_OK)][:8]


def _is_postgres(listener: Listener) -> bool:
    return _POSTGRES.fullmatch(listener.program) is not None


def _found(
    pages: Sequence[Page],
    programs: Mapping[int, str],
    containers: Mapping[int, str],
    notes: list[str],
) -> Found:
    services: list[FoundService] = []
    node_exporters: list[str] = []
    taken = set(RESERVED_NAMES)
    for page in pages:
        listener = page.listener
        container = containers.get(listener.port, "")
        program = next(
            (programs[p] for p in processes.ancestors(listener.pid) if p in programs), ""
        )
        known = recognise(page.text) if page.status == http.client.OK else None
        who = container or program or listener.program or "something"
        if page.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            notes.append(f"{who} on {listener.address}: /metrics wants a password (scrape: auth:)")
        if known is None:
            continue
        if known.node_exporter:
            node_exporters.append(listener.address)
            continue
        where = f"container {container}" if container else ""
        where = where or (f"supervisor program {program}" if program else listener.program)
        what = ", ".join(part for part in (known.what, where) if part) or "answers with metrics"
        name = name_of(
            container or program or known.name or _script(listener.program),
            taken,
            f"service-{listener.port}",
        )
        services.append(FoundService(name, listener.address, what, known.metrics))
    return Found(tuple(services), tuple(node_exporters), tuple(notes))


def _script(program: str) -> str:
    """`api` of `python3 api.py` and of `python3 -m api`; an interpreter alone is no name."""
    words = program.split()
    if len(words) > 1:
        return Path(words[-1]).stem
    return "" if re.match(r"(python|node|java|ruby|perl)[\d.]*$", program) else program
