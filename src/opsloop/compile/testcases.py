"""The cases of each shipped alert: what series it is shown, and when it must fire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile import samples, testseries
from opsloop.compile.alerts import AlertRule, interval_of
from opsloop.compile.conditions import Clause
from opsloop.compile.prometheus import labels_of, service_labels
from opsloop.compile.selectors import Selector
from opsloop.compile.testseries import Case, Labels, Line, Phase, ticks_in

EVENTS = 100_000  # a tick, so that shares can be set finely
QUANTILE = 0.95
_A, _B = "10.0.0.1:8000", "10.0.0.2:8000"
_STRANGER = "nobody-declared-this"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a test is about: a rule's clause, and one service or host of it."""

    catalog: Catalog
    rule: AlertRule
    clause: Clause
    name: str

    @property
    def target(self) -> Labels:
        """The labels of its targets, without instance and job."""
        if self.name in self.catalog.services and (self.rule.scope == "service" or self._down):
            return service_labels(self.catalog, self.name)
        return labels_of(self.catalog, self.name, self.catalog.hosts[self.name].team)

    @property
    def _down(self) -> bool:
        return self.rule.shape == names.SERVICE_DOWN

    @property
    def kept(self) -> Labels:
        """The labels that the alert keeps, without instance."""
        return {k: self.target[k] for k in names.SERVICE_LABELS}


def cases(subject: Subject) -> list[Case]:
    """Fires, does not fire, resolves, no data; every case has ticks of one length."""
    make = {
        names.SERVICE_DOWN: _down,
        names.HIGH_ERROR_RATE: _errors,
        names.HIGH_LATENCY: _latency,
        names.DISK_FULL: _disk,
        names.MEMORY_HIGH: _memory,
    }[subject.rule.shape]
    return list(make(subject))


def watchdog() -> list[Case]:
    return [Case("fires without any data", Duration(60_000), checks=[(0, 1.0), (5, 1.0)])]


# ServiceDown reads up, or pg_up behind an exporter.


def _down(s: Subject) -> Iterator[Case]:
    tick = interval_of(s.catalog, s.rule)
    wait = ticks_in(s.rule.for_, tick)
    base = {**s.target, "job": s.name}
    alert = {**s.kept, names.INSTANCE: _A}
    database = s.catalog.services[s.name].postgres is not None
    metric = "pg_up" if database else "up"
    bad = wait + 4
    phases = [(1.0, 3), (0.0, bad), (1.0, 4)]
    value: list[float | None] = [0.0 if 3 <= at < 3 + bad else None for at in range(bad + 7)]
    well = Line.of(metric, {**base, names.INSTANCE: _B}, testseries.gauge([(1, bad + 7)]))
    stranger = Line.of(
        metric, {**base, "job": _STRANGER, names.SERVICE: _STRANGER, names.INSTANCE: _A}, "0x20"
    )
    hurt = Line.of(metric, {**base, names.INSTANCE: _A}, testseries.gauge(phases))
    checks = testseries.turns(value, wait)
    yield Case("fires for the instance that is down, and resolves", tick, alert,
               [hurt, well, stranger], checks)  # fmt: skip
    yield Case("does not fire while all answer", tick, alert, [well, stranger], _never(bad + 6))
    if wait:
        blip = testseries.gauge([(1, 3), (0, wait), (1, 4)])
        yield Case("does not fire for a moment", tick, alert,
                   [Line.of(metric, {**base, names.INSTANCE: _A}, blip)], _never(wait + 6))  # fmt: skip
    yield Case("no data", tick, checks=_never(wait + 6))
    if database:
        exporter = Line.of("up", {**base, names.INSTANCE: _A}, testseries.gauge(phases))
        seen = Line.of(metric, {**base, names.INSTANCE: _A}, f"1x2 stale{' _' * (bad - 1)} 1x3")
        yield Case(
            "fires while the exporter does not answer", tick, alert, [exporter, seen], checks
        )


# HighErrorRate and HighLatency read a share of bad events over two windows.


@dataclass(frozen=True, slots=True)
class _Rate:
    """How a rate alert reads a share of bad events: its windows in ticks, its value."""

    subject: Subject
    tick: Duration
    long: int
    short: int
    share: float  # of bad events, which must be exceeded
    value: Callable[[float], float]  # the alert's value at a share of bad events
    lines: Callable[[Sequence[Phase], Labels], list[Line]]  # phases of bad events of EVENTS

    @property
    def wait(self) -> int:
        return ticks_in(self.subject.rule.for_, self.tick)

    def holds(self, bad: Sequence[Phase], at: int) -> float | None:
        """The value while both windows exceed the share."""
        added = testseries.steps(bad)
        shares = [testseries.over(added, at, w) / (w * EVENTS) for w in (self.long, self.short)]
        return self.value(shares[0]) if min(shares) > self.share else None


def _rate_cases(r: _Rate) -> Iterator[Case]:
    s = r.subject
    threshold = int(r.share * EVENTS)
    twice = min(EVENTS, 2 * threshold + 1)  # turns in the middle of a window
    calm, storm = r.long + 2, r.long + r.wait + 2
    phases: list[Phase] = [(0, calm), (twice, storm), (0, r.long + 2)]
    end = calm + storm + r.long + 2
    holds = [r.holds(phases, at) for at in range(end)]
    labels = s.kept
    stranger = r.lines([(EVENTS, end)], {**s.target, names.SERVICE: _STRANGER})
    yield Case("fires, and resolves by its short window", r.tick, labels,
               [*r.lines(phases, s.target), *stranger],
               testseries.turns(holds, r.wait, from_tick=r.long))  # fmt: skip
    steady = 2 * r.long + r.wait
    above, below = [(float(threshold + 1), steady)], [(float(max(0, threshold - 1)), steady)]
    yield Case("fires just above its limit", r.tick, labels,
               r.lines(above, s.target), [(steady, r.holds(above, steady))])  # fmt: skip
    yield Case("does not fire just below its limit", r.tick, labels,
               r.lines(below, s.target), _never(steady))  # fmt: skip
    yield Case("no data", r.tick, checks=_never(r.long))
    gone = [(float(EVENTS), calm)]
    yield Case("the series end", r.tick, labels,
               r.lines(gone, s.target), [(calm + r.long + 1, None)])  # fmt: skip
    yield Case("no traffic", r.tick, labels, r.lines([], s.target), _never(r.long))


def _ticks(clause: Clause) -> tuple[Duration, int, int]:
    """(tick, long window, short window in ticks): four to the short window, as scrapes are."""
    tick = Duration(int(clause.short) // 4)
    return tick, int(clause.window) // int(tick), int(clause.short) // int(tick)


def _errors(s: Subject) -> Iterator[Case]:
    metrics = s.clause.metrics
    if metrics is None or not metrics.requests or not metrics.errors:
        return
    requests, errors = Selector.parse(metrics.requests), Selector.parse(metrics.errors)
    same = requests.metric == errors.metric
    both = (*requests.matchers, *errors.matchers) if same else errors.matchers
    failed = samples.meeting(both)
    fine = samples.meeting(requests.matchers, errors.matchers if same else ())
    if failed is None or fine is None:
        return
    tick, long, short = _ticks(s.clause)

    def lines(bad: Sequence[Phase], target: Labels) -> list[Line]:
        good = [(EVENTS - step if same else float(EVENTS), ticks) for step, ticks in bad]
        where = {**target, "job": target[names.SERVICE], names.INSTANCE: _A}
        return [
            Line.of(requests.metric, {**where, **fine}, _counter(good, long)),
            Line.of(errors.metric, {**where, **failed}, _counter(bad, long)),
        ]

    yield from _rate_cases(
        _Rate(s, tick, long, short, s.clause.threshold, lambda share: share, lines)
    )


def _latency(s: Subject) -> Iterator[Case]:
    metrics = s.clause.metrics
    if metrics is None or not metrics.latency:
        return
    histogram = Selector.parse(metrics.latency)
    met = samples.meeting(histogram.matchers)
    if met is None:
        return
    tick, long, short = _ticks(s.clause)
    limit = s.clause.threshold
    bounds = [round(limit * 0.9, 6), limit, round(limit * 2, 6)]

    def value(slow: float) -> float:
        """p95 where `slow` of all events took up to twice the limit, and 90% were fast."""
        return limit + (bounds[2] - limit) * (slow - (1 - QUANTILE)) / slow

    def lines(bad: Sequence[Phase], target: Labels) -> list[Line]:
        where = {**target, "job": target[names.SERVICE], names.INSTANCE: _A, **met}
        fast = [(min(0.9 * EVENTS, EVENTS - step), ticks) for step, ticks in bad]
        within = [(EVENTS - step, ticks) for step, ticks in bad]
        every = [(float(EVENTS), ticks) for _, ticks in bad]
        buckets = {bounds[0]: fast, bounds[1]: within, bounds[2]: every, "+Inf": every}
        return [
            Line.of(f"{histogram.metric}_bucket", {**where, "le": str(le)}, _counter(phases, long))
            for le, phases in buckets.items()
        ]

    yield from _rate_cases(_Rate(s, tick, long, short, 1 - QUANTILE, value, lines))


def _counter(phases: Sequence[Phase], flat: int) -> str:
    """A counter; without phases one that does not grow."""
    return testseries.counter(phases or [(0, flat + 1)])


# DiskFull and MemoryHigh read gauges of hosts.


def _disk(s: Subject) -> Iterator[Case]:
    pattern = s.catalog.hosts[s.name].mountpoints
    mountpoint = samples.matched(pattern)
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
    wait = 4 if s.rule.for_ else 0
    tick = Duration(int(s.rule.for_) // 4) if s.rule.for_ else interval_of(s.catalog, s.rule)
    used = round(s.clause.threshold * EVENTS)
    above, below = float(EVENTS - used - 50), float(min(EVENTS, EVENTS - used + 50))
    value = 1 - above / EVENTS
    target = {**s.target, "job": "node-exporter", names.INSTANCE: _A}
    labels = {**s.kept, names.INSTANCE: _A, **kept}
    stranger = lines("0x60", {**target, names.SERVICE: _STRANGER})
    bad = wait + 3
    holds = [value if 3 <= at < 3 + bad else None for at in range(bad + 7)]
    phases = [(below, 3), (above, bad), (below, 4)]
    yield Case("fires just above its limit, and resolves", tick, labels,
               [*lines(testseries.gauge(phases), target), *stranger],
               testseries.turns(holds, wait))  # fmt: skip
    yield Case("does not fire just below its limit", tick, labels,
               [*lines(testseries.gauge([(below, bad + 7)]), target), *stranger],
               _never(bad + 6))  # fmt: skip
    if wait:
        blip = testseries.gauge([(below, 3), (above, wait), (below, 4)])
        yield Case(
            "does not fire for a moment", tick, labels, lines(blip, target), _never(wait + 6)
        )
    yield Case("no data", tick, checks=_never(bad + 6))


def _never(last: int) -> list[tuple[int, float | None]]:
    """Checks that nothing fires at any tick up to `last`."""
    return [(at, None) for at in range(last + 1)]
