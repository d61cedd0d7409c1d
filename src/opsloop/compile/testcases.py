"""The cases of each shipped alert: what series it is shown, and when it must fire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile import ratecases, samples, testseries
from opsloop.compile.alerts import AlertRule, interval_of
from opsloop.compile.selectors import scrape_timeout
from opsloop.compile.testseries import (
    EVENTS,
    INSTANCE_A,
    INSTANCE_B,
    STRANGER,
    Case,
    Labels,
    Line,
    Phase,
    Subject,
    never,
)


def cases(subject: Subject) -> list[Case]:
    """Fires, does not fire, resolves, no data; every case has ticks of one length."""
    make = {
        names.SERVICE_DOWN: _down,
        names.HIGH_ERROR_RATE: ratecases.errors,
        names.HIGH_LATENCY: ratecases.latency,
        names.MONITORING_DOWN: _monitoring,
        names.DISK_FULL: _disk,
        names.MEMORY_HIGH: _memory,
    }[subject.rule.shape]
    return list(make(subject))


def watchdog(rule: AlertRule) -> list[Case]:
    """It needs no data; once it fires it goes on."""
    tick = Duration(int(rule.for_) // 4)
    checks = testseries.turns([1.0] * 9, 4)
    return [Case("fires without any data", tick, checks=[*checks, (8, 1.0)])]


# ServiceDown and MonitoringDown read up, or pg_up behind an exporter.


def _down(s: Subject) -> Iterator[Case]:
    base = {**s.target, "job": s.name}
    if s.catalog.services[s.name].postgres is None:
        yield from _up_cases(s, "up", base)
        return
    yield from _up_cases(s, "pg_up", base)
    yield from _exporter_cases(s, {**base, names.INSTANCE: INSTANCE_A})


def _monitoring(s: Subject) -> Iterator[Case]:
    yield from _up_cases(s, "up", {**s.target, "job": s.name})


def _rhythm(s: Subject) -> tuple[Duration, int]:
    """(tick, ticks of `for`): a long `for` is tested in few ticks."""
    if not s.rule.for_:
        return interval_of(s.catalog, s.rule), 0
    return Duration(int(s.rule.for_) // 4), 4


def _up_cases(s: Subject, metric: str, base: Labels) -> Iterator[Case]:
    tick, wait = _rhythm(s)
    bad = wait + 4
    alert = {**s.kept, names.INSTANCE: INSTANCE_A}
    value: list[float | None] = [0.0 if 3 <= at < 3 + bad else None for at in range(bad + 7)]

    def line(phases: Sequence[Phase], **labels: str) -> Line:
        return Line.of(
            metric, {**base, names.INSTANCE: INSTANCE_A, **labels}, testseries.gauge(phases)
        )

    hurt = line([(1, 3), (0, bad), (1, 4)])
    well = line([(1, bad + 7)], instance=INSTANCE_B)
    stranger = line([(0, bad + 7)], job=STRANGER, service=STRANGER)
    yield Case(
        "fires for the instance that is down, and resolves",
        tick,
        alert,
        [hurt, well, stranger],
        testseries.turns(value, wait),
    )
    yield Case("does not fire while all answer", tick, alert, [well, stranger], never(bad + 6))
    if wait:
        blip = line([(1, 3), (0, wait), (1, 4)])
        yield Case("does not fire for a moment", tick, alert, [blip], never(wait + 6))
    yield Case("no data", tick, checks=never(wait + 6))


def _exporter_cases(s: Subject, base: Labels) -> Iterator[Case]:
    """The exporter gives no pg_up: it waits for a database that hangs, or is gone itself."""
    tick, wait = _rhythm(s)
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


# DiskFull and MemoryHigh read gauges of hosts.


def _disk(s: Subject) -> Iterator[Case]:
    pattern = s.catalog.hosts[s.name].mountpoints
    mountpoint = samples.matched(pattern, "/")
    if mountpoint is None:
        return
    others = [m for m in ("/opsloop-elsewhere",) if not samples.fits(pattern, m)]

    def lines(values: str, target: Labels) -> list[Line]:
        found = []
        kinds = [(mountpoint, "ext4"), (mountpoint, "tmpfs"), *((m, "ext4") for m in others)]
        for at, (mount, kind) in enumerate(kinds):
            labels = {**target, "mountpoint": mount, "fstype": kind, "device": f"/dev/sd{at}"}
            available = values if at == 0 else "0x60"
            found.append(Line.of("node_filesystem_avail_bytes", labels, available))
            found.append(Line.of("node_filesystem_size_bytes", labels, f"{EVENTS}x60"))
        return found

    yield from _gauge_cases(s, {"mountpoint": mountpoint}, lines)


def _memory(s: Subject) -> Iterator[Case]:
    def lines(values: str, target: Labels) -> list[Line]:
        return [
            Line.of("node_memory_MemAvailable_bytes", target, values),
            Line.of("node_memory_MemTotal_bytes", target, f"{EVENTS}x60"),
        ]

    yield from _gauge_cases(s, {}, lines)


def _gauge_cases(
    s: Subject, kept: Labels, lines: Callable[[str, Labels], list[Line]]
) -> Iterator[Case]:
    tick, wait = _rhythm(s)
    used = round(s.clause.threshold * EVENTS)
    step = max(1, min(50, (EVENTS - used) // 2))
    above, below = float(EVENTS - used - step), float(min(EVENTS, EVENTS - used + step))
    value = 1 - above / EVENTS
    target = {**s.target, "job": "node-exporter", names.INSTANCE: INSTANCE_A}
    labels = {**s.kept, names.INSTANCE: INSTANCE_A, **kept}
    stranger = lines("0x60", {**target, names.SERVICE: STRANGER})
    bad = wait + 3
    holds = [value if 3 <= at < 3 + bad else None for at in range(bad + 7)]
    phases = [(below, 3), (above, bad), (below, 4)]
    yield Case("fires just above its limit, and resolves", tick, labels,
               [*lines(testseries.gauge(phases), target), *stranger],
               testseries.turns(holds, wait))  # fmt: skip
    yield Case("does not fire just below its limit", tick, labels,
               [*lines(testseries.gauge([(below, bad + 7)]), target), *stranger],
               never(bad + 6))  # fmt: skip
    if wait:
        blip = testseries.gauge([(below, 3), (above, wait), (below, 4)])
        yield Case("does not fire for a moment", tick, labels, lines(blip, target), never(wait + 6))
    yield Case("no data", tick, checks=never(bad + 6))
