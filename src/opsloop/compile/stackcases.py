"""The cases of alerts about the stack itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from opsloop import names
from opsloop.compile import conditions_stack as on
from opsloop.compile import ratecases, testseries
from opsloop.compile.countercases import counter_cases
from opsloop.compile.gaugecases import Gauge, gauge_cases
from opsloop.compile.testseries import (
    INSTANCE_A,
    STRANGER,
    Case,
    Check,
    Labels,
    Line,
    Subject,
    never,
)
from opsloop.compile.upcases import up_cases


def _base(s: Subject) -> Labels:
    return {**s.target, "job": s.name, names.INSTANCE: INSTANCE_A}


def _kept(s: Subject) -> Labels:
    return {**s.kept, names.INSTANCE: INSTANCE_A}


def _other(s: Subject) -> Labels:
    return {**_base(s), "job": STRANGER, names.SERVICE: STRANGER}


def _down(s: Subject) -> Iterator[Case]:
    yield from up_cases(s, "up", {**s.target, "job": s.name})


def _engine_down(s: Subject) -> Iterator[Case]:
    """Also when it is not scraped at all, so that no data is a fault."""
    tick, wait = testseries.rhythm(s)
    gauge = Gauge(
        bad=0,
        good=1,
        value=0.0,
        lines=lambda values: [Line.of("up", _base(s), values)],
        kept=s.kept,
        strangers=[Line.of("up", _other(s), "1x60")],
    )
    never_there = {"no data", "the series end"}
    yield from (case for case in gauge_cases(s, gauge) if case.name not in never_there)
    checks = [*testseries.turns([0.0] * (wait + 3), wait), (wait + 2, 0.0)]
    yield Case("fires when it is not scraped", tick, s.kept, checks=checks)


def _engine_stuck(s: Subject) -> Iterator[Case]:
    if on.LOOP_SILENT in s.clause.expr:
        yield from _plain_gauge(s, on.LOOP_SILENT, 1.02 * s.clause.threshold, 0.98)
    elif on.ACTIVE in s.clause.expr:
        yield from _gauge(s, on.ACTIVE, bad=0, good=1, value=0.0)
    else:
        yield from _unheard(s)


def _policy_stopped(s: Subject) -> Iterator[Case]:
    """How many targets it has stopped on."""
    policy = {names.BREAKER: "restart"}

    def lines(values: str) -> list[Line]:
        well = {**_base(s), names.BREAKER: "another"}
        return [
            Line.of(names.BREAKER_OPEN, {**_base(s), **policy}, values),
            Line.of(names.BREAKER_OPEN, well, "0x90"),
        ]

    gauge = Gauge(
        bad=1,
        good=0,
        value=1.0,
        lines=lines,
        kept={**_kept(s), **policy},
        strangers=[Line.of(names.BREAKER_OPEN, {**_other(s), **policy}, "2x90")],
    )
    yield from gauge_cases(s, gauge)


def _plain_gauge(s: Subject, metric: str, bad: float, within: float) -> Iterator[Case]:
    return _gauge(s, metric, bad=bad, good=within * s.clause.threshold, value=bad)


def _gauge(
    s: Subject, metric: str, *, bad: float, good: float, value: float, more: Sequence[str] = (),
    kept: Labels | None = None,
) -> Iterator[Case]:  # fmt: skip
    """more: further series of the subject, as metrics that are 1."""

    def lines(values: str, labels: Labels) -> list[Line]:
        others = [Line.of(name, labels, "1x90") for name in more]
        return [Line.of(metric, labels, values), *others]

    gauge = Gauge(
        bad=bad,
        good=good,
        value=value,
        lines=lambda values: lines(values, _base(s)),
        kept={**_kept(s), **(kept or {})},
        strangers=lines(f"{testseries.number(bad)}x90", _other(s)),
    )
    yield from gauge_cases(s, gauge)


def _unheard(s: Subject) -> Iterator[Case]:
    """Seconds since the Watchdog was heard; never heard (0), since the engine's start."""
    tick, wait = testseries.rhythm(s)
    step = tick.seconds
    lag = (s.clause.threshold + 1) % step  # so that it is too late by a second at a tick
    late = 2 + round((s.clause.threshold + 1 - lag) / step)
    moment, back = 2 * step - lag, late + wait + 4  # last heard, and the tick of its return
    every = f"+{testseries.number(step)}"
    often = f"{testseries.number(-lag)}{every}x2"

    def case(name: str, heard: str, checks: Sequence[Check], started: float = -9000) -> Case:
        def lines(heard: str, labels: Labels) -> list[Line]:
            start = Line.of(on.STARTED, labels, testseries.number(started) + "x90")
            return [Line.of(on.WATCHDOG_HEARD, labels, heard), start]

        series = [*lines(heard, _base(s)), *lines("1x90", _other(s))]
        return Case(name, tick, _kept(s), series, checks)

    holds = [at * step - moment if late <= at < back else None for at in range(back + 5)]
    again = f"{testseries.number(back * step - lag)}{every}x6"
    gone = f"{often} {testseries.number(moment)}x{back - 4} {again}"
    yield case("fires when it is heard no more, and resolves", gone, testseries.turns(holds, wait))
    yield case("does not fire while it is heard", f"{often[:-2]}x30", never(20))
    at_last = testseries.number(2 - s.clause.threshold)  # heard two seconds before the limit
    yield case("does not fire when it is heard late", f"{at_last}{every}x30", never(29), 0)
    holds = [at * step - moment if late <= at else None for at in range(back)]
    yield case("fires when it was never heard", "0x60", testseries.turns(holds, wait), moment)
    yield case("waits after a restart", f"{often} 0x{late}", never(late), 3 * step)
    yield Case("no data", tick, checks=never(9))


def _slow(s: Subject) -> Iterator[Case]:
    limit = s.clause.threshold
    yield from _gauge(
        s, "scrape_duration_seconds", bad=round(limit * 1.02, 6), good=round(limit * 0.98, 6),
        value=round(limit * 1.02, 6), more=["up"], kept={"job": s.name},
    )  # fmt: skip
    tick, wait = testseries.rhythm(s)
    down = [
        Line.of("scrape_duration_seconds", _base(s), f"{limit * 2:g}x60"),
        Line.of("up", _base(s), "0x60"),
    ]
    yield Case("is no matter of a target that is down", tick, series=down, checks=never(wait + 3))


def _counters(*metrics: str, **labels: str) -> Callable[[Subject], Iterator[Case]]:
    """Each of the metrics alone, in two series that add up, while the others stand still."""

    def cases(s: Subject) -> Iterator[Case]:
        base = {**_base(s), **labels}
        for metric in metrics:
            others = [m for m in metrics if m != metric]

            def lines(values: str, metric: str = metric) -> list[Line]:
                return [Line.of(metric, {**base, "part": part}, values) for part in "ab"]

            still = [Line.of(m, base, "7x90") for m in others]
            strange = [Line.of(m, {**_other(s), **labels}, "0+9x90") for m in metrics]
            kept = {**_kept(s), **labels}
            for case in counter_cases(s, lines, kept, [*still, *strange], series=2):
                yield testseries.renamed(case, f"{metric}: {case.name}")

    return cases


def _tsdb(s: Subject) -> Iterator[Case]:
    if on.WAL_CORRUPTIONS not in s.clause.expr:
        yield from _counters(*on.TSDB_FAILURES)(s)
        return
    tick, wait = testseries.rhythm(s)
    hour = int(on.TSDB_WINDOW.seconds)

    def lines(damaged: int, started: float, labels: Labels) -> list[Line]:
        return [
            Line.of(on.WAL_CORRUPTIONS, labels, f"{damaged}x60"),
            Line.of(on.STARTED, labels, f"{testseries.number(started)}x60"),
        ]

    def case(name: str, damaged: int, started: float, holds: list[float | None]) -> Case:
        series = [*lines(damaged, started, _base(s)), *lines(3, 0, _other(s))]
        fires = any(v is not None for v in holds)
        checks = testseries.turns(holds, wait) if fires else never(len(holds) - 1)
        return Case(name, tick, _kept(s), series, checks)

    step = tick.seconds
    ends = 8  # the tick at which its start is an hour ago
    holds = [1.0 if at < ends else None for at in range(ends + 4)]
    yield case("damage at the start is told for an hour", 1, ends * step - hour, holds)
    yield case("none, nothing is told", 0, 0, [None] * 9)
    yield case("long ago, nothing is told", 2, -2.0 * hour, [None] * 9)
    yield Case("no data", tick, checks=never(9))


def _config(s: Subject) -> Iterator[Case]:
    yield from _gauge(s, on.RELOADED[s.name], bad=0, good=1, value=0.0)


def _shares(s: Subject, failed: str, every: str, **labels: str) -> Iterator[Case]:
    def lines(loads: Sequence[ratecases.Load], target: Labels) -> list[Line]:
        """In two series each, which add up."""
        where = {**target, "job": target[names.SERVICE], names.INSTANCE: INSTANCE_A, **labels}
        bad = testseries.counter([(x.bad / 2, x.ticks) for x in loads])
        total = testseries.counter([(x.events / 2, x.ticks) for x in loads])
        return [
            line
            for part in "ab"
            for line in (
                Line.of(failed, {**where, "part": part}, bad),
                Line.of(every, {**where, "part": part}, total),
            )
        ]

    yield from ratecases.share_cases(s, lines, {**_kept(s), **labels})


def _missed(s: Subject) -> Iterator[Case]:
    return _shares(s, on.TURNS_MISSED, on.TURNS, rule_group="loop.yml;loop")


def _notifications(s: Subject) -> Iterator[Case]:
    if s.name == on.PROMETHEUS:
        return _shares(s, on.ALERTS_DROPPED, on.ALERTS_SENT)
    return _shares(s, on.MESSAGES_FAILED, on.MESSAGES, integration="slack")


CASES: Mapping[str, Callable[[Subject], Iterator[Case]]] = {
    names.EXPORTER_DOWN: _down,
    names.MONITORING_DOWN: _down,
    names.ENGINE_DOWN: _engine_down,
    names.ENGINE_STUCK: _engine_stuck,
    names.POLICY_STOPPED: _policy_stopped,
    names.SCRAPE_SLOW: _slow,
    names.SAMPLES_DROPPED: _counters(*on.DROPPED_SAMPLES),
    names.RULES_FAILING: _counters(on.RULE_FAILURES, rule_group="loop.yml;loop"),
    names.RULES_MISSED: _missed,
    names.NOTIFICATIONS_FAILING: _notifications,
    names.TSDB_TROUBLE: _tsdb,
    names.CONFIG_REJECTED: _config,
}
