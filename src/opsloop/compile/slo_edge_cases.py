"""Cases of windows that are made of pages: what lies exactly on their edges, told in pages."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from opsloop.catalog.slo import BurnPair
from opsloop.catalog.units import Duration
from opsloop.compile.slo_alerts import covered, factor_text
from opsloop.compile.slo_budget_cases import NOTHING, TICK, BudgetCase, Counts
from opsloop.compile.slo_cases import ALERTS, Fired, Sample
from opsloop.compile.slo_names import KINDS, PAGE, window_ratio, window_sum
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_windows import DIRECT_UP_TO, OPEN_WITHIN

HOUR = int(PAGE)


def edge_cases(spec: SLOSpec) -> tuple[Duration, list[BudgetCase]]:
    """(how often rules are evaluated, cases), for each window that is made of pages."""
    windows = sorted({w for p in spec.pairs for w in p.windows if w > DIRECT_UP_TO})
    every = _seldom(windows)
    long = {p.long for p in spec.pairs}
    cases = [c for w in windows for c in _of_window(w, _look(w, every), summed=w in long)]
    for at, pair in enumerate(spec.pairs):
        if min(pair.windows) > DIRECT_UP_TO:
            cases += _minutes(spec, pair, spec.floors[at], _look(pair.long, every))
    return Duration(every), cases


def _look(window: Duration, every: int) -> int:
    """An evaluation at half past, when no page is closed, and late enough."""
    times = -(-(int(window) + 2 * HOUR) // every)
    return (times + 1 - times % 2) * every


def _seldom(windows: list[Duration]) -> int:
    """An interval that looks at half past every other time, and not within an hour of `began`.

    Then the ledger would take what is open there for its own.
    """
    every = 15 * HOUR // 2
    while any((int(w) + int(OPEN_WITHIN)) % every < HOUR + int(TICK) for w in windows):
        every += HOUR
    return every


def _of_window(window: Duration, look: int, *, summed: bool) -> Iterator[BudgetCase]:
    tick, recent = int(TICK), int(OPEN_WITHIN)
    began = look - int(window)
    closed: dict[int, Counts] = {
        began - tick: (7e6, 9e5, 51.0),  # before the window
        began: (5e6, 4e5, 52.0),  # on its edge, which belongs to what was before
        began + tick: (90_000.0, 13.0, 53.0),
        look: (10_000.0, 2.0, 55.0),
    }
    was_open: Counts = (300.0, 3.0, 20.0)
    sums = tuple(closed[began + tick][n] + closed[look][n] - was_open[n] for n in range(len(KINDS)))
    yield BudgetCase(
        f"{window} holds each page once",
        look,
        closed,
        {began - recent + tick: was_open},
        samples=_samples(window, look, sums, summed),
    )
    page: Counts = (60_000.0, 7.0, 60.0)
    yield BudgetCase(
        f"what was open long before {window} is closed",
        look,
        {look - HOUR: page},
        {began - recent: (1e3, 1e2, 9.0)},
        samples=_samples(window, look, page, summed),
    )
    yield BudgetCase(
        f"less than nothing in {window} is not known",
        look,
        {},
        {began - tick: (1.0, 1.0, 1.0)},
        samples=_samples(window, look, None, summed),
    )
    yield BudgetCase(
        f"nothing in {window} is known, and makes no ratio",
        look,
        {look - HOUR: NOTHING},
        samples=_samples(window, look, NOTHING, summed),
    )
    one: Counts = (1.0, 1.0, 1.0)
    yield BudgetCase(
        f"one event in {window} makes a ratio",
        look,
        {look - HOUR: one},
        samples=_samples(window, look, one, summed),
    )


def _minutes(spec: SLOSpec, pair: BurnPair, floor: int, look: int) -> Iterator[BudgetCase]:
    """A minute too few of data cannot tell; told in pages by the hour it would not be seen."""
    own = Fraction(factor_text(pair.factor))
    higher = [Fraction(factor_text(p.factor)) for p in spec.pairs if p.kind == pair.kind]
    # Faster than this pair's factor, and not as fast as the next, which needs fewer minutes.
    burn = min([2 * own, *((own + f) / 2 for f in higher if f > own)])
    share = burn * spec.objective.budget
    if share > 1:
        return
    total, errors = float(share.denominator * floor), float(share.numerator * floor)
    enough = covered(pair)
    for minutes in (enough, enough - 1):
        value = errors / total / float(spec.budget) if minutes == enough else None
        yield BudgetCase(
            f"{minutes} minutes of {pair.long} can{'' if minutes == enough else 'not'} tell",
            look,
            {look: (total, errors, float(minutes))},
            fired=(Fired(look, ALERTS[pair.kind], value),),
        )


def _samples(
    window: Duration, look: int, sums: tuple[float, ...] | None, summed: bool
) -> tuple[Sample, ...]:
    """summed: the window has its sums told, and not only its ratio."""
    told = [None] * len(KINDS) if sums is None else sums
    ratio = sums[1] / sums[0] if sums and sums[0] else None
    counts = zip(KINDS if summed else (), told, strict=False)
    return (
        *(Sample(look, window_sum(k, window), v) for k, v in counts),
        Sample(look, window_ratio(window), ratio),
    )
