"""The cases of HighErrorRate and HighLatency: shares of bad events over two windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile import samples, testseries
from opsloop.compile.conditions import Clause
from opsloop.compile.selectors import Selector
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
    ticks_in,
)

QUANTILE = 0.95


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
    limit = math.floor(r.share * EVENTS + 1e-6)
    calm, storm = r.long + 2, r.long + r.wait + 2
    end = calm + storm + r.long + 2

    def passing(bad: int) -> list[Phase]:
        return [(0, calm), (bad, storm), (0, r.long + 2)]

    # Twice the limit: both windows turn in their middle, and a wrong length shows.
    twice = _told_plainly(
        r, 2 * limit + 1, lambda bad: [r.holds(passing(bad), t) for t in range(end)]
    )
    holds = [r.holds(passing(twice), at) for at in range(end)]
    stranger = r.lines([(EVENTS, end)], {**s.target, names.SERVICE: STRANGER})
    yield Case(
        "fires, and resolves by its short window",
        r.tick,
        s.kept,
        [*r.lines(passing(twice), s.target), *stranger],
        testseries.turns(holds, r.wait, from_tick=r.long),
    )
    steady = 2 * r.long + r.wait
    more = _told_plainly(r, limit + 1, lambda bad: [r.holds([(bad, steady)], steady)])
    above, below = [(float(more), steady)], [(float(max(0, limit - 1)), steady)]
    yield Case(
        "fires just above its limit",
        r.tick,
        s.kept,
        r.lines(above, s.target),
        [(steady, r.holds(above, steady))],
    )
    yield Case(
        "does not fire just below its limit",
        r.tick,
        s.kept,
        r.lines(below, s.target),
        never(steady),
    )
    yield Case("no data", r.tick, checks=never(r.long))
    gone = r.lines([(float(EVENTS), calm)], s.target)
    yield Case("the series end", r.tick, s.kept, gone, [(calm + r.long + 1, None)])
    yield Case("no traffic", r.tick, s.kept, r.lines([], s.target), never(r.long))


def _told_plainly(r: _Rate, first: int, values: Callable[[int], list[float | None]]) -> int:
    """The first share of bad events from `first` on whose values are not rounded on an edge,
    where the last bit of a sum would decide what the annotation says."""
    for bad in range(min(first, EVENTS), min(first + 100, EVENTS)):
        if all(_plain(r, value) for value in values(bad) if value is not None):
            return bad
    return min(first, EVENTS)


def _plain(r: _Rate, value: float) -> bool:
    labels = r.subject.kept
    words = r.subject.rule.annotations.values()
    return all(
        w.render(labels, value * (1 - 1e-9)) == w.render(labels, value * (1 + 1e-9)) for w in words
    )


def _ticks(clause: Clause) -> tuple[Duration, int, int]:
    """(tick, long window, short window in ticks): four to the short window, as scrapes are."""
    tick = Duration(int(clause.short) // 4)
    return tick, int(clause.window) // int(tick), int(clause.short) // int(tick)


def errors(s: Subject) -> Iterator[Case]:
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
        """Both instances alike: an alert that would not add them up reads half."""
        failing = _times(bad, 0.5)
        good = [(EVENTS / 2 - step if same else EVENTS / 2, ticks) for step, ticks in failing]
        return [
            line
            for instance in (INSTANCE_A, INSTANCE_B)
            if (where := {**target, "job": target[names.SERVICE], names.INSTANCE: instance})
            for line in (
                Line.of(requests.metric, {**where, **fine}, _counter(good, long)),
                Line.of(errors.metric, {**where, **failed}, _counter(failing, long)),
            )
        ]

    yield from _rate_cases(
        _Rate(s, tick, long, short, s.clause.threshold, lambda share: share, lines)
    )


def latency(s: Subject) -> Iterator[Case]:
    metrics = s.clause.metrics
    if metrics is None or not metrics.latency:
        return
    histogram = Selector.parse(metrics.latency)
    met = samples.meeting(histogram.matchers)
    if met is None:
        return
    tick, long, short = _ticks(s.clause)
    limit = s.clause.threshold
    metric = f"{histogram.metric}_bucket"
    bounds = [round(limit * 0.9, 6), limit, round(limit * 2, 6)]

    def value(slow: float) -> float:
        """p95 where `slow` of all events took up to twice the limit, and 90% were fast."""
        return limit + (bounds[2] - limit) * (slow - (1 - QUANTILE)) / slow

    def lines(bad: Sequence[Phase], target: Labels) -> list[Line]:
        """All slow events on one instance: an alert that would not add both up reads more."""
        found = []
        for instance, slow in ((INSTANCE_A, 1.0), (INSTANCE_B, 0.0)):
            where = {**target, "job": target[names.SERVICE], names.INSTANCE: instance, **met}
            fast = [(min(0.9 * EVENTS, EVENTS - step) / 2, ticks) for step, ticks in bad]
            within = [((EVENTS - step) / 2, ticks) for step, ticks in bad]
            every = [((EVENTS - step) / 2 + slow * step, ticks) for step, ticks in bad]
            buckets = {bounds[0]: fast, bounds[1]: within, bounds[2]: every, "+Inf": every}
            found += [
                Line.of(metric, {**where, "le": str(le)}, _counter(phases, long))
                for le, phases in buckets.items()
            ]
        return found

    yield from _rate_cases(_Rate(s, tick, long, short, 1 - QUANTILE, value, lines))


def _times(phases: Sequence[Phase], factor: float) -> list[Phase]:
    return [(step * factor, ticks) for step, ticks in phases]


def _counter(phases: Sequence[Phase], flat: int) -> str:
    """A counter; without phases one that does not grow."""
    return testseries.counter(phases or [(0, flat + 1)])
