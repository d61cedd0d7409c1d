"""The cases of HostDown: an exporter that is silent is a machine that is down only with all else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opsloop import names
from opsloop.compile import testseries
from opsloop.compile.hostdown import Machine, machines
from opsloop.compile.testseries import STRANGER, Case, Line, Phase, Subject, never


def host_down(s: Subject) -> Iterator[Case]:
    for machine in machines(s.catalog):
        if machine.host == s.name and machine.exporter in s.clause.expr:
            yield from _cases(s, machine)


def _cases(s: Subject, machine: Machine) -> Iterator[Case]:
    tick, wait = testseries.rhythm(s)
    bad = wait + 4
    alert = {**s.kept, names.INSTANCE: machine.exporter}
    hurt: list[Phase] = [(1, 3), (0, bad), (1, 4)]
    value: list[float | None] = [0.0 if 3 <= at < 3 + bad else None for at in range(bad + 7)]

    def exporter(phases: Sequence[Phase], **other: str) -> Line:
        labels = {**s.target, "job": f"host/{s.name}", names.INSTANCE: machine.exporter, **other}
        return Line.of("up", labels, testseries.gauge(phases))

    def service(
        phases: Sequence[Phase],
        name: str = machine.services[-1],
        at: str = f"{machine.address}:4711",
    ) -> Line:
        labels = {"job": name, names.SERVICE: name, names.INSTANCE: at}
        return Line.of("up", labels, testseries.gauge(phases))

    well: list[Phase] = [(1, bad + 7)]
    down: list[Phase] = [(0, bad + 7)]
    elsewhere = service(well, at=f"{machine.address}0:80")
    all_down = [service(hurt, name) for name in machine.services]
    yield Case(
        "fires while all on the machine is silent, and resolves", tick, alert,
        [exporter(hurt), *all_down, elsewhere], testseries.turns(value, wait),
    )  # fmt: skip
    quiet = never(bad + 6)
    yield Case(
        "does not fire while all answer", tick, alert, [exporter(well), service(well)], quiet
    )
    yield Case(
        "does not fire while a service answers", tick, alert,
        [exporter(down), *(service(down, n) for n in machine.services),
         service(well, at=f"{machine.address}:4712")], quiet,
    )  # fmt: skip
    yield Case(
        "does not fire while the exporter answers", tick, alert,
        [exporter(well), exporter(down, job=STRANGER), exporter(down, instance=STRANGER),
         *(service(down, name) for name in machine.services)], quiet,
    )  # fmt: skip
    yield Case(
        "does not fire where no service is scraped", tick, alert,
        [exporter(down), service(down, STRANGER), service(down, at=f"{machine.address}0:80")], quiet,
    )  # fmt: skip
    blip: list[Phase] = [(1, 3), (0, wait), (1, 4)]
    yield Case(
        "does not fire for a moment", tick, alert, [exporter(blip), service(blip)], never(wait + 6)
    )
    stays: list[Phase] = [(1, 3), (0, bad + 7)]
    checks = [*testseries.turns([None] * 3 + [0.0] * (bad + 7), wait), (bad + 9, 0.0)]
    yield Case("goes on while it lasts", tick, alert, [exporter(stays), service(stays)], checks)
    yield Case("no data", tick, checks=never(wait + 6))
