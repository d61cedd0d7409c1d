"""The cases of HighErrorRate and HighLatency: shares of bad events over two windows."""

from __future__ import annotations

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
    threshold = int(r.share * EVENTS)
    twice = min(EVENTS, 2 * threshold + 1)  # turns in the middle of a window
    calm, storm = r.long + 2, r.long + r.wait + 2
    phases: list[Phase] = [(0, calm), (twice, storm), (0, r.long + 2)]
    end = calm + storm + r.long + 2
    holds = [r.holds(phases, at) for at in range(end)]
    labels = s.kept
    stranger = r.lines([(EVENTS, end)], {**s.target, names.SERVICE: STRANGER})
    yield Case("fires, and resolves by its short window", r.tick, labels,
               [*r.lines(phases, s.target), *stranger],
               testseries.turns(holds, r.wait, from_tick=r.long))  # fmt: skip
    steady = 2 * r.long + r.wait
    above, below = [(float(threshold + 1), steady)], [(float(max(0, threshold - 1)), steady)]
    yield Case("fires just above its limit", r.tick, labels,
               r.lines(above, s.target), [(steady, r.holds(above, steady))])  # fmt: skip
    yield Case("does not fire just below its limit", r.tick, labels,
               r.lines(below, s.target), never(steady))  # fmt: skip
    yield Case("no data", r.tick, checks=never(r.long))
    gone = [(float(EVENTS), calm)]
    yield Case("the series end", r.tick, labels,
               r.lines(gone, s.target), [(calm + r.long + 1, None)])  # fmt: skip
    yield Case("no traffic", r.tick, labels, r.lines([], s.target), never(r.long))


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
        good = [(EVENTS - step if same else float(EVENTS), ticks) for step, ticks in bad]
        where = {**target, "job": target[names.SERVICE], names.INSTANCE: INSTANCE_A}
        return [
            Line.of(requests.metric, {**where, **fine}, _counter(good, long)),
            Line.of(errors.metric, {**where, **failed}, _counter(bad, long)),
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
    bounds = [round(limit * 0.9, 6), limit, round(limit * 2, 6)]

    def value(slow: float) -> float:
        """p95 where `slow` of all events took up to twice the limit, and 90% were fast."""
        return limit + (bounds[2] - limit) * (slow - (1 - QUANTILE)) / slow

    def lines(bad: Sequence[Phase], target: Labels) -> list[Line]:
        where = {**target, "job": target[names.SERVICE], names.INSTANCE: INSTANCE_A, **met}
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
