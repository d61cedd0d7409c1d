"""Where things listen: addresses of processes, databases, exporters and parts of the stack."""

from __future__ import annotations

import re
from dataclasses import dataclass

from opsloop.catalog.model import Catalog
from opsloop.compile.options import Options
from opsloop.errors import InputError

CATALOG_LINK = "catalog"  # in the state folder
_PORT_OF = re.compile(r"\{port:([a-z][a-z0-9-]*)\}")


def address(bind: str, port: int) -> str:
    """host:port that reaches a part which listens on `bind`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bind, bind)
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def listen(bind: str, port: int) -> str:
    """host:port that a part of the stack listens on."""
    return f"[{bind}]:{port}" if ":" in bind and not bind.startswith("[") else f"{bind}:{port}"


def process_port(catalog: Catalog, options: Options, process: str) -> int:
    """The first port of a process; InputError when it has none."""
    found = catalog.processes.get(process)
    if found is None or found.port is None:
        raise InputError(f"{{port:{process}}}", "no such process with a port in the catalog")
    return options.ports.process(found.port)


def with_ports(catalog: Catalog, options: Options, text: str) -> str:
    """`{port:NAME}` replaced by the first port of that process."""
    return _PORT_OF.sub(lambda m: str(process_port(catalog, options, m.group(1))), text)


def beside_catalog(path: str) -> str:
    """A path of the catalog, which is relative to its folder, as seen from build/prometheus.

    `up` makes STATE/catalog a link to that folder, so that no absolute path gets into build/.
    """
    return path if path.startswith("/") else f"../../{CATALOG_LINK}/{path}"


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL service, its own address and that of its exporter."""

    service: str
    program: str  # of its exporter
    host: str
    port: int
    exporter_port: int
    user: str
    database: str
    password_file: str | None

    @property
    def instance(self) -> str:
        return f"{self.host}:{self.port}"


def databases(catalog: Catalog, options: Options) -> list[Database]:
    """One exporter for each PostgreSQL service: pg_up has no label that could tell them apart."""
    found: list[Database] = []
    for name, service in sorted(catalog.services.items()):
        if (pg := service.postgres) is None:
            continue
        process = catalog.process_of(name)
        port = options.ports.process(process.port or pg.port) if process else pg.port
        program = f"postgres-exporter-{name}" if found else "postgres-exporter"
        found.append(
            Database(
                service=name,
                program=program,
                host=pg.host,
                port=port,
                exporter_port=options.ports.postgres_exporter + len(found),
                user=pg.user,
                database=pg.database,
                password_file=pg.password_file,
            )
        )
    return found


def local_host(catalog: Catalog) -> str | None:
    """The host that the stack's own node-exporter stands for."""
    for name, host in sorted(catalog.hosts.items()):
        if not host.targets.static and not host.targets.files:
            return name
    return None
