"""The cases of alerts on shares of bad events: over two windows, with enough events, or one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    Subject,
    never,
    ticks_in,
)

QUANTILE = 0.95


class Load(NamedTuple):
    """Events and bad ones at each tick, for some ticks."""

    events: float
    bad: float
    ticks: int


@dataclass(frozen=True, slots=True)
class _Rate:
    """How a rate alert reads a share of bad events: its windows in ticks, its value."""

    subject: Subject
    tick: Duration
    long: int
    short: int
    share: float  # of bad events, which must be exceeded
    value: Callable[[float], float]  # the alert's value at a share of bad events
    lines: Callable[[Sequence[Load], Labels], list[Line]]
    left_out: Labels | None = None  # labels of bad events that its selectors leave out
    kept: Labels | None = None  # the labels of its alert; unset: those of its subject

    @property
    def wait(self) -> int:
        return ticks_in(self.subject.rule.for_, self.tick)

    @property
    def labels(self) -> Labels:
        return self.subject.kept if self.kept is None else self.kept

    @property
    def least(self) -> float:
        """Events that the long window must hold, as samples count them: `increase` takes what it
        sees for as much as the whole window would show."""
        clause = self.subject.clause
        return clause.least * self.long * int(self.tick) / int(clause.window)

    @property
    def limit(self) -> int:
        """The most bad events of EVENTS that are not too many."""
        return math.floor(self.share * EVENTS + 1e-6)

    def strays(self, ticks: int) -> list[Line]:
        """Bad events of the service itself that its selectors leave out."""
        if self.left_out is None:
            return []
        return self.lines([Load(EVENTS, EVENTS, ticks)], {**self.subject.target, **self.left_out})

    def holds(self, loads: Sequence[Load]) -> list[float | None]:
        """By tick: the value while both windows exceed the share."""
        bad = testseries.steps([(x.bad, x.ticks) for x in loads])
        events = testseries.steps([(x.events, x.ticks) for x in loads])
        found: list[float | None] = [None]
        for at in range(1, len(bad)):
            shares = [
                testseries.over(bad, at, window) / testseries.over(events, at, window)
                for window in (self.long, self.short)
            ]
            enough = testseries.over(events, at, self.long) >= self.least
            fires = enough and min(shares) > self.share
            found.append(self.value(shares[0]) if fires else None)
        return found

    def plain(self, value: float) -> bool:
        """Whether no annotation rounds the value on an edge, where its last bit would decide."""
        labels = self.labels
        return all(
            w.render(labels, value * (1 - 1e-9)) == w.render(labels, value * (1 + 1e-9))
            for w in self.subject.rule.annotations.values()
        )


def _rate_cases(r: _Rate) -> Iterator[Case]:
    """Volumes differ, so that a window of another length on one side of a ratio shows."""
    s, storm, after = r.subject, r.long + r.wait + 2, r.long + 2
    calm = Load(EVENTS, 0, r.long + 2)
    quiet = Load(3 * EVENTS, 0, after)
    most, near = EVENTS - 1, 0.97 * r.limit

    def passing(more: int) -> list[Load]:
        bad = min(most, 2 * r.limit + 1 + more)
        return [calm, Load(2 * EVENTS, 2 * bad, storm), quiet]

    def lingering(more: int) -> list[Load]:
        """The short window stays just below the limit while the long one is still above, and the
        volume changes, so that a rate over more or less than the window shows."""
        bad = min(most, 6 * r.limit + 1 + more)
        waves = [(1, r.short + 1), (4, 3), (1, 3)]
        tail = [Load(n * EVENTS, n * round(near), ticks) for n, ticks in waves]
        return [calm, Load(EVENTS, bad, storm), *tail, quiet]

    def steady(bad: int) -> list[Load]:
        return [Load(EVENTS, max(0, bad), 2 * r.long + r.wait)]

    ticks = calm.ticks + storm + after
    shouting = r.lines([Load(EVENTS, EVENTS, ticks)], {**s.target, names.SERVICE: STRANGER})
    shouting += r.strays(ticks)
    yield _case(r, "fires, and resolves by its short window", passing, shouting)
    yield _case(r, "resolves just below its limit", lingering)
    yield _case(r, "fires just above its limit", lambda more: steady(r.limit + 1 + more))
    yield _case(r, "does not fire just below its limit", lambda _: steady(r.limit - 1), shouting)
    if burst := _burst(r, near):
        yield _case(r, "does not fire for a short burst", lambda _: [calm, burst, quiet])
    if r.least:
        yield from _few(r)
    yield Case("no data", r.tick, checks=never(r.long))
    gone = r.lines([Load(EVENTS, EVENTS, calm.ticks)], s.target)
    yield Case("the series end", r.tick, r.labels, gone, [(calm.ticks + r.long + 1, None)])
    idle = r.lines([Load(0, 0, r.long + 1)], s.target)
    yield Case("no traffic", r.tick, r.labels, idle, never(r.long))


def _few(r: _Rate) -> Iterator[Case]:
    """Half of all events are bad, and they are hardly too few for the window, or just enough."""

    def loads(part: float) -> list[Load]:
        each = part * r.least / r.long
        return [Load(each, each / 2, 2 * r.long + r.wait + 2)]

    yield _case(r, "does not fire for a handful of events", lambda _: loads(0.97))
    yield _case(r, "fires when there are enough", lambda _: loads(1.03))
    few = [Load(0, 0, r.long + 2), Load(0.9 * r.least, 0.9 * r.least, 1), Load(0, 0, r.long)]
    series = r.lines(few, r.subject.target)
    yield Case("a few errors at a time", r.tick, r.labels, series, never(2 * r.long + 3))


def share_cases(
    s: Subject, lines: Callable[[Sequence[Load], Labels], list[Line]], kept: Labels
) -> Iterator[Case]:
    """Of an alert on the share of bad events in one window, as counters tell them."""
    tick, long, short = _ticks(s.clause)
    limit = s.clause.threshold
    rate = _Rate(s, tick, long, short, limit, lambda share: share, lines, kept=kept)
    yield from _rate_cases(rate)
    calm = long + 2
    reset = [Load(EVENTS, 0, calm)]
    series = [Line(x.series, f"{x.values} 0x{long + 2}") for x in lines(reset, s.target)]
    yield Case("a restart is none", tick, kept, series, never(calm + long))


def _case(
    r: _Rate, name: str, loads: Callable[[int], list[Load]], others: Sequence[Line] = ()
) -> Case:
    """A case of the first loads (counted up) whose values are told plainly. Checked
    at each turn and at each tick after the last one."""
    for more in range(100):
        chosen = loads(more)
        holds = r.holds(chosen)
        checks = testseries.turns(holds, r.wait, from_tick=r.long)
        if not any(v is not None for v in holds):
            checks = never(len(holds) - 1)
        elif holds[-1] is not None:
            checks = [*checks, (len(holds) - 1, holds[-1])]
        else:
            checks += [(at, None) for at in range(checks[-1][0] + 1, len(holds))]
        if all(r.plain(value) for _, value in checks if value is not None):
            break
    lines = [*r.lines(chosen, r.subject.target), *others]
    return Case(name, r.tick, r.labels, lines, checks)


def _burst(r: _Rate, near: float) -> Load | None:
    """So many bad events that the short window is over the limit and the long one is not;
    None: the windows are too alike for one."""
    ticks = max(min(r.short, r.long - 1), math.ceil(near * r.long / EVENTS))
    bad = round(near * r.long / ticks)
    return Load(EVENTS, bad, ticks) if r.limit < bad < EVENTS else None


def _ticks(clause: Clause) -> tuple[Duration, int, int]:
    """(tick, long window, short window in ticks): four to the short window, as scrapes are.

    No sample lies on the edge of a window: Prometheus 2 counts one there, Prometheus 3 does not.
    """
    windows = (int(clause.window), int(clause.short))
    grain = 50 if clause.short > 2000 else 1
    tick = int(clause.short / 4.3) // grain * grain
    while any(window % tick == 0 for window in windows):
        tick -= grain
    return Duration(tick), windows[0] // tick, windows[1] // tick


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

    def lines(loads: Sequence[Load], target: Labels) -> list[Line]:
        """Both instances alike: an alert that would not add them up reads half."""
        good = [((x.events - x.bad if same else x.events) / 2, x.ticks) for x in loads]
        failing = [(x.bad / 2, x.ticks) for x in loads]
        return [
            line
            for instance in (INSTANCE_A, INSTANCE_B)
            if (where := {"job": target[names.SERVICE], names.INSTANCE: instance})
            for line in (
                Line.of(requests.metric, {**where, **fine, **target}, testseries.counter(good)),
                Line.of(errors.metric, {**where, **failed, **target}, testseries.counter(failing)),
            )
        ]

    left_out = samples.left_out(requests.matchers) if same else None
    yield from _rate_cases(
        _Rate(s, tick, long, short, s.clause.threshold, lambda share: share, lines, left_out)
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

    def lines(loads: Sequence[Load], target: Labels) -> list[Line]:
        """All slow events on one instance: an alert that would not add both up reads more."""
        found = []
        for instance, slow in ((INSTANCE_A, 1.0), (INSTANCE_B, 0.0)):
            where = {"job": target[names.SERVICE], names.INSTANCE: instance, **met, **target}
            fast = [(min(0.9 * x.events, x.events - x.bad) / 2, x.ticks) for x in loads]
            within = [((x.events - x.bad) / 2, x.ticks) for x in loads]
            every = [((x.events - x.bad) / 2 + slow * x.bad, x.ticks) for x in loads]
            buckets = {bounds[0]: fast, bounds[1]: within, bounds[2]: every, "+Inf": every}
            found += [
                Line.of(metric, {**where, "le": str(le)}, testseries.counter(phases))
                for le, phases in buckets.items()
            ]
        return found

    yield from _rate_cases(
        _Rate(
            s, tick, long, short, 1 - QUANTILE, value, lines, samples.left_out(histogram.matchers)
        )
    )
