"""The parts of a stack: its programs as supervisord.conf has them, and where each answers."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from opsloop.catalog.model import Catalog
from opsloop.compile import places
from opsloop.compile.options import Options

_SLOT = re.compile(r"(?P<process>.+)-(?P<slot>\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One program, and how its health is read.

    target: supervisord's name of it (group:name). address: host:port, empty when it listens
    nowhere. path: what answers 200 when it is healthy, empty: running is all there is to see.
    protected: it wants the scrape password. wanted: it should run. process, slot: of the
    catalog, for what is not the stack's own.
    """

    name: str
    target: str
    address: str = ""
    path: str = ""
    protected: bool = False
    kind: Literal["http", "postgres", "process"] = "process"
    wanted: bool = True
    process: str | None = None
    slot: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.address}{self.path}" if self.address and self.path else ""


def programs(conf: str) -> dict[str, str]:
    """Program -> supervisord's name of it (group:name), in the order of supervisord.conf."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",), strict=False)
    parser.read_string(conf)
    found = {}
    groups = {}
    for section in parser.sections():
        kind, _, name = section.partition(":")
        if kind == "program":
            found[name] = f"{name}:{name}"
        elif kind == "group":
            for member in parser.get(section, "programs").split(","):
                groups[member.strip()] = f"{name}:{member.strip()}"
    return found | {name: target for name, target in groups.items() if name in found}


def parts(catalog: Catalog, options: Options, conf: str, wanted: Mapping[str, int]) -> list[Part]:
    """Every part. `wanted`: process -> how many of its slots should run."""
    ports = options.ports
    bind = catalog.stack.bind
    own = {
        "prometheus": (ports.prometheus, "/-/ready", True),
        "alertmanager": (ports.alertmanager, "/-/ready", True),
        "engine": (ports.engine, "/healthz", False),
        "console": (ports.console, "/healthz", False),
        "inbox": (ports.inbox, "/healthz", False),
        "grafana": (ports.grafana, "/api/health", False),
        "node-exporter": (ports.node_exporter, "/metrics", True),
        "blackbox-exporter": (ports.blackbox_exporter, "/metrics", True),
    }
    exporters = {d.program: d.exporter_port for d in places.databases(catalog, options)}
    found = []
    for name, target in programs(conf).items():
        group = target.partition(":")[0]
        if name in own:
            port, path, protected = own[name]
            address = places.address(bind, port)
            found.append(Part(name, target, address, path, protected, "http"))
        elif name in exporters:
            address = places.address(bind, exporters[name])
            found.append(Part(name, target, address, "/metrics", True, "postgres"))
        elif group in catalog.processes:
            found.append(_slot(catalog, options, name, target, wanted))
        else:
            found.append(Part(name, target))
    return found


def _slot(
    catalog: Catalog, options: Options, name: str, target: str, wanted: Mapping[str, int]
) -> Part:
    process_name = target.partition(":")[0]
    process = catalog.processes[process_name]
    match = _SLOT.fullmatch(name)
    slot = int(match["slot"]) if match and match["process"] == process_name else 0
    address = ""
    if process.port is not None:
        address = f"127.0.0.1:{options.ports.process(process.port, slot)}"
    return Part(
        name=name,
        target=target,
        address=address,
        path=process.health or "",
        kind="http" if process.health and address else "process",
        wanted=slot < wanted.get(process_name, process.slots),
        process=process_name,
        slot=slot,
    )


def wanted_slots(catalog: Catalog, services: Mapping[str, int]) -> dict[str, int]:
    """Process -> slots that should run: what its services want, all of them without a service."""
    found: dict[str, int] = {}
    for name, count in services.items():
        process = catalog.services[name].process
        if process is not None:
            found[process] = max(found.get(process, 0), count)
    return {
        name: min(found.get(name, process.slots), process.slots)
        for name, process in catalog.processes.items()
    }
