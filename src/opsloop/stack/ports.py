"""The ports of a stack: who uses which, and who holds one that is taken."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

from opsloop.catalog.model import Catalog
from opsloop.compile import places
from opsloop.compile.options import Options
from opsloop.errors import PortTaken
from opsloop.stack import processes
from opsloop.stack.processes import Holder

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port of 127.0.0.1 (or stack.bind) and the program that will listen on it."""

    program: str
    port: int


def uses(catalog: Catalog, options: Options, programs: Collection[str]) -> list[PortUse]:
    """The ports of the parts in `programs`, and of every slot of every process.

    Slots that are not wanted count too: the loop may start them at any time.
    """
    ports = options.ports
    fixed = {
        "prometheus": ports.prometheus,
        "alertmanager": ports.alertmanager,
        "engine": ports.engine,
        "console": ports.console,
        "inbox": ports.inbox,
        "grafana": ports.grafana,
        "node-exporter": ports.node_exporter,
        "blackbox-exporter": ports.blackbox_exporter,
        **{d.program: d.exporter_port for d in places.databases(catalog, options)},
    }
    found = [PortUse(name, port) for name, port in fixed.items() if name in programs]
    for name, process in catalog.processes.items():
        if process.port is not None:
            found += [
                PortUse(f"{name}-{slot}", ports.process(process.port, slot))
                for slot in range(process.slots)
            ]
    return found


def refuse_taken(
    wanted: Collection[PortUse],
    address: str,
    is_ours: Callable[[int], bool] = lambda _: False,
    named: Callable[[Holder], str] = str,
) -> None:
    """Try each port; raise PortTaken that names the taken ones with the process that holds it.

    is_ours(pid): a process of this very stack, whose port is not taken from it.
    """
    taken = []
    for use in wanted:
        if is_free(use.port, address):
            continue
        holder = processes.holder_of(use.port)
        if holder is not None and is_ours(holder.pid):
            continue
        who = named(holder) if holder else "something that is not on this machine's list"
        taken.append(f"port {use.port} ({use.program}) is held by {who}")
    if taken:
        more = [f"and {len(taken) - _SHOWN} more"] if len(taken) > _SHOWN else []
        raise PortTaken(
            "",
            ", ".join(taken[:_SHOWN] + more),
            "end it, or move all ports of the stack with --port-base N",
        )


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: what lingers in TIME_WAIT is no reason, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
