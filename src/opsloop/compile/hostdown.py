"""HostDown: a machine whose exporter and services are all silent; which alerts it explains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile import alertrule, texts
from opsloop.compile.alertrule import SEVERITY, AlertRule
from opsloop.compile.conditions import Clause
from opsloop.compile.options import Options
from opsloop.compile.prometheus import up_jobs
from opsloop.compile.selectors import BY_INSTANCE, one_of, quote
from opsloop.compile.wording import Label, Wording

# Where the stack runs, a machine that is down tells nobody.
_HERE = re.compile(r"localhost|127\..*|\[?::1\]?")


@dataclass(frozen=True, slots=True)
class Machine:
    """A host of the catalog by one of its addresses, and the services that are scraped there."""

    host: str
    exporter: str  # the target of its exporter, host:port
    services: tuple[str, ...]

    @property
    def address(self) -> str:
        return self.exporter.rpartition(":")[0]

    @property
    def instances(self) -> str:
        """A matcher of all targets on it."""
        return f"{names.INSTANCE}=~{quote(re.escape(self.address).replace(chr(92) + '-', '-') + ':.+')}"


def machines(catalog: Catalog) -> list[Machine]:
    """Hosts that share an address with targets of services; told by `static` targets alone."""
    plain, _ = up_jobs(catalog)
    on: dict[str, list[str]] = {}
    for name in plain:
        for target in catalog.services[name].targets.static:
            on.setdefault(target.rpartition(":")[0], []).append(name)
    return [
        Machine(host, target, tuple(sorted(set(on[address]))))
        for host, declared in sorted(catalog.hosts.items())
        for target in sorted(set(declared.targets.static))
        if (address := target.rpartition(":")[0]) in on and not _HERE.fullmatch(address)
    ]


def host_down_rules(catalog: Catalog, options: Options) -> Iterator[AlertRule]:
    """One rule, where a machine is known by more than its exporter."""
    clauses = tuple(_clause(machine) for machine in machines(catalog))
    if not clauses:
        return
    host, instance = Label(names.SERVICE), Label(names.INSTANCE)
    yield AlertRule(
        shape=names.HOST_DOWN,
        alert=names.HOST_DOWN,
        severity=SEVERITY[names.HOST_DOWN],
        policy=None,  # policies act on services; nothing on this machine could
        scope="instance",
        clauses=clauses,
        for_=alertrule.wait(catalog, None),
        labels=alertrule.labels(SEVERITY[names.HOST_DOWN], None),
        annotations=texts.page(
            catalog,
            options,
            names.HOST_DOWN,
            summary=Wording.of("The machine ", host, " (", instance, ") does not answer"),
            description=Wording.of(
                "Prometheus gets no answer from the exporter of ", host, " (", instance,
                "), nor from any service on this address.",
            ),
            impact="All that runs on it is down, or cannot be reached.",
        ),
        about="host",
    )  # fmt: skip


def _clause(machine: Machine) -> Clause:
    exporter = f'up{{job="host/{machine.host}",{names.INSTANCE}={quote(machine.exporter)}}}'
    services = f"up{{{one_of('job', machine.services)},{machine.instances}}}"
    return Clause(
        expr=f"min by ({BY_INSTANCE}) ({exporter}) == 0\nand on ()\nmax({services}) == 0",
        subjects=(machine.host,),
    )
