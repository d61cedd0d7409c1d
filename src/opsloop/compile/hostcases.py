"""The cases of alerts about hosts: gauges of disks and memory, the pace of disks, clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile import conditions, samples, testseries
from opsloop.compile.gaugecases import Gauge, gauge_cases
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

_LONG = "x200"
_TICK = Duration(517_000)  # 20.9 are half the time that the pace is measured over
_CROSSED = 25  # the tick from which on the disk will be full too soon


def _target(s: Subject) -> Labels:
    return {**s.target, "job": "node-exporter", names.INSTANCE: INSTANCE_A}


def _disk(s: Subject) -> Iterator[Case]:
    mountpoint = samples.matched(s.catalog.hosts[s.name].mountpoints, "/")
    if mountpoint is None:
        return

    def lines(values: str, target: Labels) -> list[Line]:
        return _filesystems(s, mountpoint, values, target)

    yield from _used_cases(s, {"mountpoint": mountpoint}, lines)


def _filesystems(
    s: Subject, mountpoint: str, values: str, target: Labels, size: float = EVENTS,
    others: str = f"0{_LONG}", away: str | None = None,
) -> list[Line]:  # fmt: skip
    """One with these bytes available, and others that are none of a disk or not looked at."""
    pattern = s.catalog.hosts[s.name].mountpoints
    elsewhere = [m for m in ("/opsloop-elsewhere",) if not samples.fits(pattern, m)]
    kinds = [(mountpoint, "ext4"), (mountpoint, "tmpfs"), *((m, "ext4") for m in elsewhere)]
    found = []
    for at, (mount, kind) in enumerate(kinds):
        labels = {**target, "mountpoint": mount, "fstype": kind, "device": f"/dev/sd{at}"}
        available = (values, others, away or others)[at]
        found.append(Line.of("node_filesystem_avail_bytes", labels, available))
        found.append(Line.of("node_filesystem_size_bytes", labels, testseries.number(size) + _LONG))
    return found


def _memory(s: Subject) -> Iterator[Case]:
    def lines(values: str, target: Labels) -> list[Line]:
        return [
            Line.of("node_memory_MemAvailable_bytes", target, values),
            Line.of("node_memory_MemTotal_bytes", target, f"{EVENTS}x60"),
        ]

    yield from _used_cases(s, {}, lines)


def _used_cases(
    s: Subject, kept: Labels, lines: Callable[[str, Labels], list[Line]]
) -> Iterator[Case]:
    """Bytes available of EVENTS: the fewer the worse."""
    used = round(s.clause.threshold * EVENTS)
    step = max(1, min(50, (EVENTS - used) // 2))
    bad, good = float(EVENTS - used - step), float(min(EVENTS, EVENTS - used + step))
    target = _target(s)
    yield from gauge_cases(
        s,
        Gauge(
            bad=bad,
            good=good,
            value=1 - bad / EVENTS,
            lines=lambda values: lines(values, target),
            kept={**s.kept, names.INSTANCE: INSTANCE_A, **kept},
            strangers=lines(f"0{_LONG}", {**target, names.SERVICE: STRANGER}),
        ),
    )


def _will_fill(s: Subject) -> Iterator[Case]:
    """Bytes that fall by `EVENTS` a tick; how full the disk is depends on its size."""
    mountpoint = samples.matched(s.catalog.hosts[s.name].mountpoints, "/")
    if mountpoint is None:
        return
    host, target = s.catalog.hosts[s.name], _target(s)
    kept = {**s.kept, names.INSTANCE: INSTANCE_A, "mountpoint": mountpoint}
    wait = testseries.ticks_in(s.rule.for_, _TICK)
    full = float(host.disk_full)
    room = conditions.room_below(full)
    known = int(conditions.PACE_KNOWN) // int(_TICK) + 1
    # In ticks until full, at tick 0: a little under the limit at _CROSSED.
    start = s.clause.threshold / _TICK.seconds + _CROSSED - 0.1
    last = _CROSSED + wait + 6

    def case(name: str, first: float, size: float, freed: int | None = None,
             from_tick: int = 0) -> Case:  # fmt: skip
        """freed: the tick at which most of it is removed."""
        end = last if freed is None else freed - 1
        values = [(first - at) * EVENTS for at in range(last + 5)]
        holds: list[float | None] = []
        for at in range(last + 5):
            used = 1 - values[at] / (size * EVENTS)
            left = (first - at) * _TICK.seconds
            fits = left < s.clause.threshold and room < used <= full
            holds.append(left if from_tick + known <= at <= end and fits else None)
        missing = f"_x{from_tick} " if from_tick else ""
        series = f"{missing}{testseries.number(values[from_tick])}-{EVENTS}x{end - from_tick}"
        if freed is not None:
            series += f" {testseries.number(0.95 * size * EVENTS)}x6"
        slow = f"5000000-1000{_LONG}"
        lines = _filesystems(s, mountpoint, series, target, size * EVENTS, slow, away=series)
        stranger = {**target, names.SERVICE: STRANGER}
        lines += _filesystems(s, mountpoint, series, stranger, size * EVENTS)
        checks = testseries.turns(holds[: last + (5 if freed else 1)], wait)
        checks = [c for c in checks if c[1] is None or _plain(s, kept, c[1])]
        return Case(name, _TICK, kept, lines, checks or never(last))

    at_crossing = start - _CROSSED
    roomy = (start - last) / (1 - room + 0.01)  # still not full enough at the end
    yield case("fires when it will be full in time", start, at_crossing / (1 - room - 0.02))
    yield case("and resolves", start, at_crossing / (1 - room - 0.02), freed=last)
    yield case("fires also when it is nearly full", start, at_crossing / (1 - full + 0.03))
    yield case("does not fire at a slower pace", start + 60, (start + 60) / (1 - room - 0.02))
    yield case("does not fire while there is room", start, roomy)
    yield case("is left to DiskFull", start, start / (1 - full - 0.01))
    young = start - 5
    yield case("waits until the pace is known", young, young / (1 - room - 0.02), from_tick=12)
    yield from _bursts(s, mountpoint, target, kept)
    yield Case("no data", _TICK, checks=never(3))


def _bursts(s: Subject, mountpoint: str, target: Labels, kept: Labels) -> Iterator[Case]:
    """A part of what is free is gone at once, or within hours: what the two windows make of it."""
    full = float(s.catalog.hosts[s.name].disk_full)
    room = conditions.room_below(full)
    window = int(conditions.PACE) // int(_TICK)
    # Full in so many ticks where the burst lies in the middle, for each share of the rest.
    steepest = int(conditions.PACE) / int(_TICK) / 1.5
    limit = s.clause.threshold / _TICK.seconds
    before, after, free = window + 4, window - 6, 1000 * EVENTS
    for name, far in (("a burst is no pace", 1.35), ("nor is a great burst", 0.6)):
        rest = round(free * (1 - 1 / (1 + far * limit / steepest)))
        yield _shaped(s, mountpoint, target, kept, name, [free] * before + [rest] * after)
    falling = window * 3 // 4
    step = round(free / (0.5 * limit + window / 2))
    last = free - falling * step
    if last / free > (1 - full) / (1 - room - 0.02):  # DiskFull does not tell of it first
        slope = [free - at * step for at in range(1, falling + 1)]
        yield _shaped(
            s, mountpoint, target, kept, "a pace is one after hours, and none soon after its end",
            [free] * before + slope + [last] * (window // 2),
        )  # fmt: skip


def _shaped(
    s: Subject, mountpoint: str, target: Labels, kept: Labels, name: str, values: Sequence[int]
) -> Case:
    """Free bytes at each tick, of a disk that is full enough from the beginning."""
    full = float(s.catalog.hosts[s.name].disk_full)
    room = conditions.room_below(full)
    size = values[0] / (1 - room - 0.02)
    windows = [int(w) // int(_TICK) for w in (conditions.PACE, conditions.PACE_NOW)]
    holds: list[float | None] = []
    for at, now in enumerate(values):
        left, still = (_left(values[max(0, at - ticks) : at + 1]) for ticks in windows)
        fits = min(left, still) > 0 and max(left, still) < s.clause.threshold
        holds.append(left if fits and room < 1 - now / size <= full else None)
    checks = testseries.turns(holds, testseries.ticks_in(s.rule.for_, _TICK))
    checks = [c for c in checks if c[1] is None or _plain(s, kept, c[1])]
    series = testseries.gauge([(float(value), 1) for value in values])
    lines = _filesystems(s, mountpoint, series, target, size)
    return Case(name, _TICK, kept, lines, checks or never(len(values) - 1))


def _left(values: Sequence[float]) -> float:
    """Seconds until nothing is left at their pace; 0 when they do not fall."""
    pace = _pace(values) / _TICK.seconds
    return values[-1] / -pace if pace < 0 else 0.0


def _pace(values: Sequence[float]) -> float:
    """What a straight line through them gains at each tick."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in range(len(values)))
    together = sum((at - middle) * (value - mean) for at, value in enumerate(values))
    return together / spread if spread else 0.0


def _plain(s: Subject, labels: Labels, value: float) -> bool:
    """Whether no annotation rounds the value on an edge, where its last bit would decide."""
    said = s.rule.annotations.values()
    return all(
        w.render(labels, value * (1 - 1e-9)) == w.render(labels, value * (1 + 1e-9)) for w in said
    )


def _clock(s: Subject) -> Iterator[Case]:
    tick, _ = testseries.rhythm(s)
    limit, target = s.clause.threshold, _target(s)
    timex = "timex" in s.clause.expr

    def lines(values: str, labels: Labels = target) -> list[Line]:
        if timex:
            return [Line.of("node_timex_offset_seconds", labels, values)]
        return [Line.of("node_time_seconds", labels, _with_time(values, tick))]

    def gauge(sign: int) -> Gauge:
        return Gauge(
            bad=sign * limit * 1.05,
            good=sign * limit * 0.95,
            value=limit * 1.05,
            lines=lines,
            kept={**s.kept, names.INSTANCE: INSTANCE_A},
            strangers=lines(f"{limit * 9:g}x60", {**target, names.SERVICE: STRANGER}),
        )

    yield from gauge_cases(s, gauge(1))
    first = next(gauge_cases(s, gauge(-1)))
    yield testseries.renamed(first, f"{first.name}, also when it is behind")


def _with_time(values: str, tick: Duration) -> str:
    """The same offsets, as a clock that goes on shows them."""
    found: list[str] = []
    for part in values.split():
        number, _, more = part.partition("x")
        if part.startswith("_"):
            found += ["_"] * int(more or 1)
        elif part == "stale":
            found.append(part)
        else:
            found += [
                testseries.number(round(float(number) + (len(found) + n) * tick.seconds, 6))
                for n in range(int(more or 0) + 1)
            ]
    return " ".join(found)


CASES: Mapping[str, Callable[[Subject], Iterator[Case]]] = {
    names.DISK_FULL: _disk,
    names.DISK_WILL_FILL: _will_fill,
    names.MEMORY_HIGH: _memory,
    names.CLOCK_SKEW: _clock,
}
