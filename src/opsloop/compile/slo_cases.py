"""Cases of one objective's windows and burn-rate alerts, told in tiles or in open pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from opsloop.catalog.slo import BurnPair
from opsloop.catalog.units import Duration
from opsloop.compile.slo_alerts import covered, factor_text
from opsloop.compile.slo_expected import HALF_PAGE, Count, Timeline, turns
from opsloop.compile.slo_names import (
    BURN_CRITICAL,
    BURN_HIGH,
    KINDS,
    PAGE,
    TILE,
    burn_rate,
    window_ratio,
    window_sum,
)
from opsloop.compile.slo_spec import SLOSpec

HEAVY = 100_000.0  # times the traffic, once: it keeps longer windows from firing first
_FEW_STEPS = 30
ALERTS = {"page": BURN_CRITICAL, "ticket": BURN_HIGH}


@dataclass(frozen=True, slots=True)
class Sample:
    """A series with this name must have this value at a tick; None: it must not be there."""

    at: int
    name: str
    value: float | None
    of: Literal["sli", "period", "whole"] = "sli"  # whose labels: SLI, with period, objective


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert at a tick with this value, or not (None)."""

    at: int
    alert: str
    value: float | None


@dataclass(frozen=True, slots=True)
class WindowCase:
    """One unit test: events in, samples and alerts out."""

    name: str
    timeline: Timeline
    samples: Sequence[Sample] = ()
    fired: Sequence[Fired] = ()


def window_cases(spec: SLOSpec) -> list[WindowCase]:
    """Every window's counts; each alert pair alone: rising, falling, few errors, little data."""
    cases = [*_windows(spec), *_half_an_event(spec)]
    for at, pair in enumerate(spec.pairs):
        cases += [_rise_and_fall(spec, pair), _few_errors(spec, at), _young(spec, pair)]
        cases += filter(None, [_exactly(spec, pair)])
    if spec.pairs:
        cases.append(_idle(spec))
    return cases


def tick_of(pair: BurnPair) -> Duration:
    """Half pages for windows made of pages; else minutes, as many as still split the short one.

    An open page is told each minute, so a window that ends between half pages needs minutes.
    """
    if min(pair.windows) > PAGE and not any(w % HALF_PAGE for w in pair.windows):
        return HALF_PAGE
    both = math.gcd(*(int(w) // int(TILE) for w in pair.windows))
    short = int(pair.short) // int(TILE)
    fits = [m for m in range(1, 6) if both % m == 0 and short // m >= 5]
    return Duration(int(TILE) * max(fits, default=1))


def _step_of(tick: Duration) -> Duration:
    return PAGE if tick == HALF_PAGE else tick


def told(tick: Duration, total: Sequence[Count], errors: Sequence[Count]) -> Timeline:
    """Steps to ticks: an hour of a page is two ticks, with its events in the second."""
    if tick != HALF_PAGE:
        return Timeline(tick, total, errors)
    return Timeline(
        tick, [v for t in total for v in (None, t)], [v for e in errors for v in (None, e)]
    )


def _windows(spec: SLOSpec) -> Iterator[WindowCase]:
    """Counts of all windows, over uneven traffic, so that one step more or less shows."""
    for tick in sorted({tick_of(p) for p in spec.pairs}):
        windows = sorted({w for p in spec.pairs if tick_of(p) == tick for w in p.windows})
        step = int(_step_of(tick))
        steps = int(windows[-1]) // step + 16
        total: list[Count] = [1000.0 + (at * 37) % 101 for at in range(steps)]
        errors: list[Count] = [1.0 + (at * 7) % 11 for at in range(steps)]
        total[3] = errors[3] = None
        line = told(tick, total, errors)
        samples: list[Sample] = []
        for window in windows:
            ticks = int(window) // int(tick)
            for at in sorted({ticks // 2, ticks - 1, ticks, ticks + 7, len(line) - 1}):
                samples += _samples(spec, line, window, at)
        yield WindowCase(f"windows up to {windows[-1]} count each event once", line, samples)


def _half_an_event(spec: SLOSpec) -> Iterator[WindowCase]:
    """Half an event, as rates tell, is traffic enough for a ratio of windows made of pages."""
    for tick in sorted({tick_of(p) for p in spec.pairs}):
        windows = {w for p in spec.pairs if tick_of(p) == tick for w in p.windows if w > PAGE}
        line = told(tick, [0.5, 0.0], [0.0, 0.0])
        samples = [s for w in sorted(windows) for s in _samples(spec, line, w, len(line) - 1)]
        if samples:
            name = f"half an event is a ratio of windows up to {max(windows)}"
            yield WindowCase(name, line, samples)


def _samples(spec: SLOSpec, line: Timeline, window: Duration, at: int) -> Iterator[Sample]:
    if any(window == p.long for p in spec.pairs):
        for kind in KINDS:
            yield Sample(at, window_sum(kind, window), line.counted(kind, at, window))
    yield Sample(at, window_ratio(window), line.ratio(at, window))
    yield Sample(at, burn_rate(window), line.burn(spec, at, window), "whole")


def _alert_case(spec: SLOSpec, name: str, kind: str, line: Timeline) -> WindowCase:
    fired = [
        Fired(at, ALERTS[kind], value)
        for at, value in turns(len(line), lambda at: line.burning(spec, kind, at))
    ]
    return WindowCase(name, line, fired=fired)


def _threshold(spec: SLOSpec, pair: BurnPair) -> float:
    """The error ratio at which the pair fires."""
    return float(factor_text(pair.factor)) * float(spec.budget)


def _heavy(spec: SLOSpec, pair: BurnPair) -> bool:
    """Whether a longer pair of its kind could fire before it, were there no traffic long ago."""
    return any(p.kind == pair.kind and p.long > pair.long for p in spec.pairs)


def _burns(spec: SLOSpec, pair: BurnPair, burns: Sequence[float], heavy: bool = False) -> Timeline:
    """Steps that burn so many times the pair's factor each, after a step of heavy traffic."""
    threshold = Fraction(factor_text(pair.factor)) * spec.objective.budget
    # Shares of events are told exactly where they are wanted exactly.
    scale = math.ceil(max(1.0, 1 / (float(threshold) * 0.002 * threshold.denominator)))
    total = float(threshold.denominator * scale)
    errors = [float(min(total, round(b * float(threshold) * total))) for b in burns]
    before: list[Count] = [HEAVY * total] if heavy else []
    none: list[Count] = [0.0] if heavy else []
    return told(tick_of(pair), [*before, *[total] * len(burns)], [*none, *errors])


def _rise_and_fall(spec: SLOSpec, pair: BurnPair) -> WindowCase:
    """Somewhat above the factor: fires when the long window has seen enough, and falls when the
    short one has; both cross slowly, so that a factor a little off is seen."""
    step = int(_step_of(tick_of(pair)))
    long, short = int(pair.long) // step, -(-int(pair.short) // step)
    high = min(1.5, 1 + 0.9 * (1 / _threshold(spec, pair) - 1))
    # A window of few steps crosses slowly when it is nearly there before.
    base = 0.9 if long < _FEW_STEPS else 0.0
    rising = [high] * (math.ceil(long * (1 - base) / (high - base)) + 3)
    steps = max(40, 2 * short)
    falling = [high * (1 - (at + 1) / steps) for at in range(steps)]
    burns = [base] * (long + 1) + rising + falling + [0.0] * (short + 3)
    line = _burns(spec, pair, burns, _heavy(spec, pair))
    name = f"{pair.kind} over {pair.long}: fires at {factor_text(pair.factor)}, recovers"
    return _alert_case(spec, name, pair.kind, line)


def _exactly(spec: SLOSpec, pair: BurnPair) -> WindowCase | None:
    """Burning at the factor is not burning faster: of the long window, then of the short one.

    None where no ratio of two counts is the factor, as numbers of a computer go.
    """
    threshold = Fraction(factor_text(pair.factor)) * spec.objective.budget
    step = int(_step_of(tick_of(pair)))
    long, short = int(pair.long) // step, -(-int(pair.short) // step)
    same = float(threshold) / float(spec.budget) == float(factor_text(pair.factor))
    if not same or threshold > Fraction(1, 2) or long % 2:
        return None
    burns = [0.0] * (long + 1) + [2.0] * (long // 2 + 2) + [1.0] * (short + 2)
    line = _burns(spec, pair, burns, _heavy(spec, pair))
    return _alert_case(spec, f"{pair.kind} over {pair.long}: at the factor", pair.kind, line)


def _few_errors(spec: SLOSpec, nth: int) -> WindowCase:
    """Little traffic, where each error burns fast: nothing fires below the floor of errors."""
    pair, floor = spec.pairs[nth], spec.floors[nth]
    tick = tick_of(pair)
    step = int(_step_of(tick))
    long, short = int(pair.long) // step, -(-int(pair.short) // step)
    # One a short window, or almost all at once where a window is few steps.
    gap = max(1, short - 2)
    some = floor - 2
    each = [1] * (floor + 1) if gap > 1 else [some - some // 2, some // 2, 1, 1, 1]
    heavy = _heavy(spec, pair)
    clean = long + 1 if heavy else _covered(pair, tick) + 2
    # So few events that one error less than the floor burns above the factor.
    events = 1.2 * _threshold(spec, pair) * min(long, clean + gap * len(each))
    total = max(1.0, math.floor((floor - 1) / events))
    errors = [0.0] * (clean + gap * len(each) + 2)
    for at, count in enumerate(each):
        errors[clean + at * gap] = float(min(total, count))
    before = [HEAVY * total] if heavy else []
    line = told(tick, [*before, *[total] * len(errors)], [*[0.0 for _ in before], *errors])
    name = f"fewer than {floor} errors in {pair.long} are no {pair.kind}"
    return _alert_case(spec, name, pair.kind, line)


def _covered(pair: BurnPair, tick: Duration) -> int:
    """Steps until the long window has data enough."""
    minutes = covered(pair)
    return -(-minutes // 60) if tick == HALF_PAGE else minutes


def _young(spec: SLOSpec, pair: BurnPair) -> WindowCase:
    """Errors from the first minute: fires when a sixth of the long window has data."""
    most = 1 / _threshold(spec, pair)
    line = _burns(spec, pair, [min(1.3, most)] * (_covered(pair, tick_of(pair)) + 5))
    return _alert_case(spec, f"no {pair.kind} while {pair.long} is nearly empty", pair.kind, line)


def _idle(spec: SLOSpec) -> WindowCase:
    """One event and then no traffic: it leaves each window in its minute, and then there is no
    ratio. Windows that are made of pages have cases of their edges."""
    windows = sorted({w for p in spec.pairs for w in p.windows if w <= PAGE})
    longest = max(windows, default=TILE)
    zeros = [0.0] * (int(longest) // int(TILE) + 3)
    line = Timeline(TILE, [1.0, *zeros], [1.0, *zeros])
    samples = [
        s
        for window in windows
        for at in (0, int(window) // int(TILE) - 1, int(window) // int(TILE), len(line) - 1)
        for s in _samples(spec, line, window, at)
    ]
    case = _alert_case(spec, "idle: no ratio, no alert", "page", line)
    return WindowCase(case.name, line, samples, case.fired)
