"""The cases of alerts that read a gauge, and of those that miss one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from opsloop.catalog.units import Duration
from opsloop.compile import testseries
from opsloop.compile.conditions import NO_WINDOW
from opsloop.compile.testseries import Case, Check, Labels, Line, Subject, never


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a gauge alert is shown: values just beyond its limit and just within.

    value: the alert's own at `bad`. lines: the series of the subject for such values.
    strangers: series that must not make it fire. kept: the labels that the alert has from them.
    """

    bad: float
    good: float
    value: float
    lines: Callable[[str], list[Line]]
    kept: Labels
    strangers: Sequence[Line] = field(default_factory=tuple)


def gauge_cases(s: Subject, g: Gauge) -> Iterator[Case]:
    tick, wait = testseries.rhythm(s)
    bad = wait + 3
    whole = bad + 7
    holds = [g.value if 3 <= at < 3 + bad else None for at in range(whole)]

    def case(name: str, phases: Sequence[tuple[float, int]], checks: Sequence[Check]) -> Case:
        lines = g.lines(testseries.gauge(phases))
        return Case(name, tick, g.kept, [*lines, *g.strangers], checks)

    yield case(
        "fires just beyond its limit, and resolves",
        [(g.good, 3), (g.bad, bad), (g.good, 4)],
        testseries.turns(holds, wait),
    )
    yield case("does not fire just within its limit", [(g.good, whole)], never(whole - 1))
    if wait:
        blip = [(g.good, 3), (g.bad, wait), (g.good, 4)]
        yield case("does not fire for a moment", blip, never(wait + 6))
        flapping = [(g.bad, wait), (g.good, 1)] * 3
        yield case("does not fire while it flaps", flapping, never(3 * wait + 2))
    stays = [(g.good, 3), (g.bad, whole)]
    holds = [None] * 3 + [g.value] * whole
    checks = [*testseries.turns(holds, wait), (whole + 2, g.value)]
    yield case("goes on for as long as it lasts", stays, checks)
    ends = [(g.good, 3), (g.bad, bad)]
    lines = g.lines(testseries.gauge(ends) + f" stale _x{4}")
    holds = [g.value if 3 <= at < 3 + bad else None for at in range(whole + 1)]
    yield Case("the series end", tick, g.kept, lines, testseries.turns(holds, wait))
    yield Case("no data", tick, checks=never(whole - 1))


@dataclass(frozen=True, slots=True)
class Aging:
    """A moment that a gauge tells, and an alert on the time since it (sign 1: limit exceeded)
    or until it (-1: undercut), in seconds."""

    limit: float
    sign: int
    tick: Duration
    lines: Callable[[str], list[Line]]
    strangers: Sequence[Line] = field(default_factory=tuple)


def aging_cases(s: Subject, a: Aging) -> Iterator[Case]:
    """The condition holds from tick 3 on, by a second."""
    wait = testseries.ticks_in(s.rule.for_, a.tick)
    step, bad = a.tick.seconds, wait + 4
    moment = 3 * step - 1 - a.sign * a.limit
    renewed = moment + 1000 * step + a.limit

    def holds(until: int, whole: int) -> list[float | None]:
        values = [a.sign * (at * step - moment) for at in range(whole)]
        return [v if 3 <= at < until else None for at, v in enumerate(values)]

    def case(name: str, phases: Sequence[tuple[float, int]], checks: Sequence[Check]) -> Case:
        lines = [*a.lines(testseries.gauge(phases)), *a.strangers]
        return Case(name, a.tick, s.kept, lines, checks)

    first = holds(3 + bad, bad + 8)
    yield case(
        "fires when it is time, and resolves",
        [(moment, 3 + bad), (renewed, 5)],
        testseries.turns(first, wait),
    )
    yield case("does not fire before", [(moment + 20 * step, bad + 7)], never(bad + 6))
    if wait:
        phases = [(moment + 3 * n * step, 3 if n else 4) for n in range(4)]
        yield case("does not fire when it is renewed at the last moment", phases, never(12))
    stays = holds(40, 40)
    checks = [*testseries.turns(stays, wait), (39, stays[-1])]
    yield case("goes on for as long as it lasts", [(moment, 40)], checks)
    yield Case("no data", a.tick, checks=never(bad + 6))


def absence_cases(
    s: Subject,
    lines: Callable[[str], list[Line]],
    window: Duration = NO_WINDOW,
    strangers: Sequence[Line] = (),
) -> Iterator[Case]:
    """Of an alert that fires while a series is missing, or was for its window."""
    tick = Duration(int(s.rule.for_) // 4 // 1000 * 1000)
    while window and int(window) % int(tick) == 0:  # no sample lies on the edge of a window
        tick = Duration(int(tick) - 1000)
    wait = testseries.ticks_in(s.rule.for_, tick)
    seen = int(window) // int(tick)  # further ticks for which the last sample counts
    gone = seen + wait + 4

    def case(name: str, values: str, checks: Sequence[Check]) -> Case:
        return Case(name, tick, s.kept, [*lines(values), *strangers], checks)

    def away(ticks: int) -> str:
        return "stale" + (f" _x{ticks - 1}" if ticks > 1 else "")

    whole = 3 + gone + 4
    holds = [1.0 if 3 + seen <= at < 3 + gone else None for at in range(whole)]
    values = f"1x2 {away(gone)} 1x3"
    yield case("fires when it is gone, and resolves", values, testseries.turns(holds, wait))
    yield case("does not fire while it is there", f"1x{whole - 1}", never(whole - 1))
    short = f"1x2 {away(seen + wait)} 1x4"
    yield case("does not fire for a moment", short, never(seen + wait + 6))
    flapping = " ".join([f"1x0 {away(seen + wait - 1)}"] * 3)
    yield case("does not fire while it flaps", flapping, never(3 * (seen + wait) - 1))
    ever = [*testseries.turns([1.0] * (wait + 3), wait), (wait + 2, 1.0)]
    yield Case("fires when it was never there", tick, s.kept, list(strangers), ever)
