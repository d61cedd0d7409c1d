"""The cases of each shipped alert: what series it is shown, and when it must fire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile import (
    aftermathcases,
    declaredcases,
    hostcases,
    hostdowncases,
    ratecases,
    stackcases,
    testseries,
    upcases,
)
from opsloop.compile.alerts import AlertRule
from opsloop.compile.gaugecases import Gauge, gauge_cases
from opsloop.compile.selectors import scrape_timeout
from opsloop.compile.testseries import (
    EVENTS,
    INSTANCE_A,
    STRANGER,
    Case,
    Labels,
    Line,
    Subject,
    never,
)

_CASES: Mapping[str, Callable[[Subject], Iterator[Case]]] = {
    names.HIGH_ERROR_RATE: ratecases.errors,
    names.HIGH_LATENCY: ratecases.latency,
    **hostcases.CASES,
    names.HOST_DOWN: hostdowncases.host_down,
    **declaredcases.CASES,
    **stackcases.CASES,
    names.INCIDENT_AFTERMATH: aftermathcases.aftermath_cases,
}


def cases(subject: Subject) -> list[Case]:
    """Fires, does not fire, resolves, no data; every case has ticks of one length."""
    own = {names.SERVICE_DOWN: _down, names.CONNECTIONS_HIGH: _connections}
    make = own.get(subject.rule.shape) or _CASES[subject.rule.shape]
    return list(make(subject))


def watchdog(rule: AlertRule) -> list[Case]:
    """It needs no data; once it fires it goes on."""
    tick = Duration(int(rule.for_) // 4)
    checks = testseries.turns([1.0] * 9, 4)
    return [Case("fires without any data", tick, checks=[*checks, (8, 1.0)])]


# ServiceDown reads up, or pg_up behind an exporter.


def _down(s: Subject) -> Iterator[Case]:
    base = {**s.target, "job": s.name}
    if s.catalog.services[s.name].postgres is None:
        yield from upcases.up_cases(s, "up", base)
        return
    yield from upcases.up_cases(s, "pg_up", base)
    yield from _exporter_cases(s, {**base, names.INSTANCE: INSTANCE_A})


def _exporter_cases(s: Subject, base: Labels) -> Iterator[Case]:
    """The exporter gives no pg_up: it waits for a database that hangs, or is gone itself."""
    tick, wait = testseries.rhythm(s)
    bad = wait + 4
    timeout = scrape_timeout(s.catalog, s.name).seconds
    gone = Line.of("pg_up", base, f"1x2 stale{' _' * (bad - 1)} 1x3")
    value: list[float | None] = [0.0 if 3 <= at < 3 + bad else None for at in range(bad + 7)]

    def lines(seconds: float) -> list[Line]:
        lasted = testseries.gauge([(0.01, 3), (seconds, bad), (0.01, 4)])
        up = Line.of("up", base, testseries.gauge([(1, 3), (0, bad), (1, 4)]))
        other = {**base, "job": STRANGER, names.SERVICE: STRANGER}
        return [
            gone,
            up,
            Line.of("scrape_duration_seconds", base, lasted),
            Line.of("scrape_duration_seconds", other, f"{timeout * 2:g}x20"),
        ]

    yield Case(
        "fires while the database hangs, and resolves",
        tick,
        {**s.kept, names.INSTANCE: INSTANCE_A},
        lines(round(timeout * 0.91, 6)),
        testseries.turns(value, wait),
    )
    yield Case(
        "does not fire while only the exporter is gone",
        tick,
        series=lines(round(timeout * 0.89, 6)),
        checks=never(bad + 6),
    )


def _connections(s: Subject) -> Iterator[Case]:
    """Those of all databases together count."""
    used = round(s.clause.threshold * EVENTS)
    step = max(1, min(50, (EVENTS - used) // 2))
    target = {**s.target, "job": s.name, names.INSTANCE: INSTANCE_A}

    def lines(values: str, labels: Labels = target) -> list[Line]:
        half = {**labels, "datname": "half"}
        return [
            Line.of("pg_stat_database_numbackends", {**labels, "datname": "rest"}, values),
            Line.of("pg_stat_database_numbackends", half, f"{used // 2}x60"),
            Line.of("pg_settings_max_connections", labels, f"{EVENTS}x60"),
        ]

    other = {**target, "job": STRANGER, names.SERVICE: STRANGER}
    rest = used - used // 2
    yield from gauge_cases(
        s,
        Gauge(
            bad=rest + step,
            good=rest - step,
            value=(used + step) / EVENTS,
            lines=lines,
            kept={**s.kept, names.INSTANCE: INSTANCE_A},
            strangers=lines(f"{EVENTS}x60", other),
        ),
    )
