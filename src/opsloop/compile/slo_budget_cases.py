"""Cases of one objective's budget, told in pages: edges of the period, what is left, when spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from opsloop.catalog.units import Duration
from opsloop.compile.slo_alerts import COVERED
from opsloop.compile.slo_budget import SETTLED
from opsloop.compile.slo_cases import Fired, Sample
from opsloop.compile.slo_names import (
    BUDGET_EXHAUSTED,
    COVERAGE_PERIOD,
    EXHAUSTION,
    KINDS,
    LEFT_EVENTS,
    LEFT_MINUTES,
    LEFT_RATIO,
    PAGE,
    RATIO_PERIOD,
    TILE,
    period_sum,
)
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_windows import OPEN_WITHIN

TICK = SETTLED  # so that pages can lie exactly on an edge of what is looked at
LOOK = Duration(12 * 3_600_000)  # how often the rules are evaluated
Counts = tuple[float, float, float]  # total, errors, minutes of data
NOTHING: Counts = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class BudgetCase:
    """Closed and open pages by time (ms), with the month of a closed one; burn rate by time."""

    name: str
    end: int
    closed: Mapping[int, Counts]
    opened: Mapping[int, Counts] = field(default_factory=dict)
    months: Mapping[int, int] = field(default_factory=dict)
    burn: Mapping[int, float] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()  # `at` is a time in ms
    fired: tuple[Fired, ...] = ()


def budget_cases(spec: SLOSpec, forecast: bool = True) -> list[BudgetCase]:
    """forecast: whether there is a burn rate to tell when the budget will be spent."""
    make = _months if spec.period.calendar else _rolling
    return [*make(spec, forecast), *_spent(spec)]


def _look_after(time: int) -> int:
    """The first evaluation after a time."""
    return (time // int(LOOK) + 1) * int(LOOK)


def _rolling(spec: SLOSpec, forecast: bool) -> Iterator[BudgetCase]:
    """Pages on both edges of the period, and pages that were open at its ends."""
    length, hour, tick = int(spec.period.length), int(PAGE), int(TICK)
    recent = int(OPEN_WITHIN)
    look = _look_after(length + 2 * hour)
    now = look - int(SETTLED)
    began = now - length
    burn = 2.0 if forecast else None
    closed: dict[int, Counts] = {
        began - tick: (7e6, 9e5, 51.0),  # before the period
        began: (5e6, 4e5, 52.0),  # on its edge, which belongs to what was before
        began + tick: (90_000.0, 13.0, 53.0),
        began + length // 2: (40_000.0, 5.0, 54.0),
        now: (10_000.0, 2.0, 55.0),
        look: (3e6, 2e5, 56.0),  # not settled yet
    }
    opened: dict[int, Counts] = {
        began - recent + tick: (300.0, 3.0, 20.0),
        now - recent + tick: (700.0, 4.0, 30.0),
        look: (2e6, 3e5, 59.0),  # not settled yet
    }
    inside = [v for at, v in closed.items() if began < at <= now]
    both = opened[now - recent + tick], _minus(opened[began - recent + tick])
    sums = _sum(*inside, *both)
    yield BudgetCase(
        "the period holds each page once",
        look,
        closed,
        opened,
        burn={look: 2.0},
        samples=_all(spec, look, sums, length, burn),
    )
    page: dict[int, Counts] = {now - hour: (60_000.0, 7.0, float(length))}
    yield BudgetCase(
        "what was open long before is closed; more minutes than there are count as all",
        look,
        page,
        {began - recent: (1e3, 1e2, 9.0), now - recent: (1e6, 1e5, 59.0)},
        burn={look: 2.0},
        samples=_all(spec, look, page[now - hour], length, burn),
    )
    yield BudgetCase(
        "less than nothing is not known",
        look,
        {},
        {began - tick: (1.0, 1.0, 1.0)},
        samples=tuple(Sample(look, period_sum(k), None, "period") for k in KINDS),
    )
    yield from _young(spec, forecast)


def _young(spec: SLOSpec, forecast: bool) -> Iterator[BudgetCase]:
    """A part of the period has data: few events, one, none."""
    look = int(LOOK)
    at = look - int(TICK) - int(PAGE)
    for total, errors, rate in ((50_000.0, 6.0, 1.0), (50_000.0, 6.0, 3.0), (1.0, 0.0, 2.0)):
        counts = (total, errors, 60.0)
        burn = rate if forecast else None
        yield BudgetCase(
            f"a young period is covered in part; {total:g} events, burn {rate:g}",
            look,
            {at: counts},
            burn={look: rate},
            samples=_all(spec, look, counts, int(spec.period.length), burn),
        )
    yield BudgetCase(
        "no events: nothing is spent, and no ratio made up",
        look,
        {at: NOTHING},
        burn={look: 2.0},
        samples=(
            *(
                Sample(look, period_sum(k), v, "period")
                for k, v in zip(KINDS, NOTHING, strict=True)
            ),
            Sample(look, RATIO_PERIOD, None, "period"),
            Sample(look, LEFT_RATIO, None, "whole"),
            Sample(look, LEFT_EVENTS, 0.0, "whole"),
            Sample(look, LEFT_MINUTES, None, "whole"),
        ),
    )


def _months(spec: SLOSpec, forecast: bool) -> Iterator[BudgetCase]:
    """January 1970 up to its last moment, and the next month from nothing."""
    day, tick, hour = int(LOOK) * 2, int(TICK), int(PAGE)
    turn = 31 * day
    closed: dict[int, Counts] = {
        hour: (20_000.0, 3.0, 60.0),
        15 * day: (70_000.0, 9.0, 60.0),
        turn - tick: (4_000.0, 2.0, 60.0),
        turn: (3e6, 2e5, 56.0),  # not settled at the turn, and of the month before
        turn + hour: (8_000.0, 1.0, 59.0),
        turn + 5 * hour: (2_000.0, 1.0, 60.0),
        turn + day // 2: (5e6, 4e5, 57.0),  # not settled yet
    }
    months = {at: 2 if at > turn else 1 for at in closed}
    opened: dict[int, Counts] = {
        turn - tick: NOTHING,
        turn: (2e6, 3e5, 59.0),  # not settled yet
        turn + day // 2 - tick: (500.0, 1.0, 11.0),
        turn + day // 2: (4e6, 5e5, 58.0),  # not settled yet
    }
    first = _sum(*(v for at, v in closed.items() if at < turn))
    settled_pages = (v for at, v in closed.items() if turn < at < turn + day // 2)
    second = _sum(*settled_pages, opened[turn + day // 2 - tick])
    burn = 2.0 if forecast else None
    settled = (int(SETTLED) + int(TILE)) // int(TILE)  # whole minutes that are not counted yet
    yield BudgetCase(
        "a month begins with nothing",
        turn + day // 2,
        closed,
        opened,
        months,
        {turn: 2.0, turn + day // 2: 2.0},
        (
            *_all(spec, turn, first, turn - int(TILE) * settled, burn),
            *_all(spec, turn + day // 2, second, day // 2 - int(TILE) * settled, burn),
        ),
    )


def _spent(spec: SLOSpec) -> Iterator[BudgetCase]:
    """Exactly spent fires; a little left, or too few errors or minutes to tell, does not."""
    budget, floor = spec.objective.budget, spec.min_events
    scale = -(-1000 * floor // budget.numerator)
    total, errors = float(budget.denominator * scale), float(budget.numerator * scale)
    look, at = int(LOOK), int(LOOK) - int(TICK) - int(PAGE)
    enough = float(int(spec.period.length) // int(TILE) // COVERED)
    cases: tuple[tuple[str, float, float, float, bool], ...] = (
        ("exactly spent", total, errors, enough, True),
        ("an error is left", total, errors - 1, enough, False),
        (f"{floor} errors can tell", float(floor), float(floor), enough, True),
        (f"{floor - 1} errors cannot tell", float(floor), float(floor - 1), enough, False),
        (f"{enough - 1:.0f} minutes cannot tell", total, errors, enough - 1, False),
    )
    for name, events, failed, minutes, fires in cases:
        left = 1 - failed / events / float(spec.budget)
        yield BudgetCase(
            name,
            look,
            {at: (events, failed, minutes)},
            months={at: 1} if spec.period.calendar else {},
            fired=(Fired(look, BUDGET_EXHAUSTED, left if fires else None),),
            burn={look: 2.0},
            samples=() if left > 0 else (Sample(look, EXHAUSTION, None, "whole"),),
        )


def _sum(*pages: Counts) -> Counts:
    total, errors, minutes = (sum(column) for column in zip(*pages, strict=True))
    return total, errors, minutes


def _minus(page: Counts) -> Counts:
    return -page[0], -page[1], -page[2]


def _all(
    spec: SLOSpec, at: int, sums: Counts, elapsed: int, burn: float | None
) -> tuple[Sample, ...]:
    """Every series of the budget, from what the period counts. elapsed: its length, ms."""
    total, errors, minutes = sums
    budget, ratio = float(spec.budget), errors / total
    covered = min(1.0, minutes / (elapsed // int(TILE)))
    left = 1 - ratio / budget
    events = budget * total - errors
    found = [
        *(Sample(at, period_sum(k), v, "period") for k, v in zip(KINDS, sums, strict=True)),
        Sample(at, COVERAGE_PERIOD, covered, "period"),
        Sample(at, RATIO_PERIOD, ratio, "period"),
        Sample(at, LEFT_RATIO, left, "whole"),
        Sample(at, LEFT_EVENTS, events, "whole"),
        Sample(at, LEFT_MINUTES, events * (minutes / total), "whole"),
    ]
    if burn is None:
        return tuple(found)
    seconds: float | None = None
    if burn > 1 and left > 0 and spec.period.calendar:
        seconds = 60 * left / (burn - 1) * (elapsed // int(TILE))
    elif burn > 1 and left > 0:
        seconds = int(spec.period.length) // 1000 * (left * covered) / (burn - 1 + left * covered)
    return (*found, Sample(at, EXHAUSTION, seconds, "whole"))
