"""Cases of one SLI, told in the series that are scraped: what each minute's tiles must hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile import samples
from opsloop.compile.selectors import Selector
from opsloop.compile.slo_expected import Count, Timeline
from opsloop.compile.slo_names import TILE
from opsloop.compile.slo_promtool import STALE
from opsloop.compile.slo_spec import Age, Counters, Indicator, Runs
from opsloop.compile.slo_tiles import KNOWN_WITHIN, LOOK_BACK, delay_of

_Series: TypeAlias = tuple[str, dict[str, str]]  # metric, labels
_INSTANCES = ("10.0.0.1:8000", "10.0.0.2:8000")
_GROWTH, _FAILING = 10.0, 2.0  # a minute
_STORM = 10_000.0  # failures a minute, so many that a good event too many is not hidden at 0
_RUNS = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0] * 2
_STEP = Duration(15_000)  # between runs of a probe in its case


@dataclass(frozen=True, slots=True)
class Scraped:
    """One series and its samples: None is no sample, STALE a failed scrape."""

    metric: str
    labels: Mapping[str, str]
    samples: Sequence[Count]


@dataclass(frozen=True, slots=True)
class SLICase:
    """One unit test: series in, tiles out. `interval`: between samples; tiles are minutes."""

    name: str
    interval: Duration
    series: Sequence[Scraped]
    tiles: Timeline


def sli_cases(indicator: Indicator) -> list[SLICase]:
    """None for free PromQL, whose series nobody but its author knows."""
    source = indicator.source
    if isinstance(source, Counters):
        return [*_counters(indicator, source)]
    if isinstance(source, Runs):
        return [
            _runs(indicator, source, "each run counts once", _RUNS),
            _runs(indicator, source, "a run that is more than a success is one", [1.0, 2.0] * 8),
        ]
    if isinstance(source, Age):
        return [*_age(indicator, source)]
    return []


@dataclass(frozen=True, slots=True)
class Target:
    """What one target counted, at each minute; `failed` None: it has no such series yet."""

    good: Sequence[Count]
    failed: Sequence[Count]


def _counters(indicator: Indicator, source: Counters) -> Iterator[SLICase]:
    kinds = _kinds(source)
    if kinds is None:
        return
    n = None
    yield _case(
        indicator, source, "an error series that appears late counts from its first event",
        [_one(_grown(100, 12), [n] * 5 + [3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0])],
        [n] + [10.0] * 4 + [13.0] + [12.0] * 6, [n] + [0.0] * 4 + [3.0] + [2.0] * 6,
    )  # fmt: skip
    yield _case(
        indicator, source, "a restart counts from 0, and loses nothing before it",
        [_one(
            [100.0, 110.0, 120.0, STALE, n, n, 119.0, 129.0],
            [4.0, 6.0, 8.0, STALE, n, n, 7.0, 7.0],
        )],
        [n, 12.0, 12.0, n, n, n, 126.0, 10.0], [n, 2.0, 2.0, n, n, n, 7.0, 0.0],
    )  # fmt: skip
    yield _restart_within(indicator, source)
    yield from _away(indicator, source)
    yield _case(
        indicator, source, "a second target is added with all its past: that does not count",
        [
            _one(_grown(100, 8), _grown(7, 8, _STORM)),
            _one([n] * 4 + _grown(5000, 4), [n] * 4 + [70.0] * 4),
        ],
        [n] + [_STORM + 10] * 4 + [_STORM + 20] * 3,
        [n] + [_STORM] * 7,
    )  # fmt: skip
    yield _case(
        indicator, source, "idle: 0 events are data",
        [_one([100.0] * 5, [3.0] * 5)], [n] + [0.0] * 4, [n] + [0.0] * 4,
    )  # fmt: skip
    yield _case(
        indicator, source, "nothing is good any more: an outage",
        [_one([100.0] * 4, [3.0, 5.0, 7.0, 9.0])], [n] + [2.0] * 3, [n] + [2.0] * 3,
    )  # fmt: skip
    if kinds[0][0] == kinds[1][0]:  # else the total holds the good events too
        yield _case(
            indicator, source, "good events are gone, and failed ones go on",
            [_one([100.0, 110.0, n, n], [3.0, 5.0, 7.0, 9.0])], [n, 12.0, 2.0, 2.0], [n] + [2.0] * 3,
        )  # fmt: skip
    yield _case(
        indicator, source, "idle, and nothing was ever good",
        [_one([n] * 4, [3.0] * 4)], [n] + [0.0] * 3, [n] + [0.0] * 3,
    )  # fmt: skip
    yield _case(
        indicator, source, "nothing was ever good",
        [_one([n] * 4, [3.0, 5.0, 7.0, 9.0])], [n] + [2.0] * 3, [n] + [2.0] * 3,
    )  # fmt: skip
    yield _case(
        indicator, source, "idle, and never failed: 0 errors, not no number",
        [_one([100.0] * 5, [n] * 5)], [n] + [0.0] * 4, [n] + [0.0] * 4,
    )  # fmt: skip


def _away(indicator: Indicator, source: Counters) -> Iterator[SLICase]:
    """One target is away, alone and beside one that stays: it is continued, or not guessed."""
    n = None
    back, known = (int(d) // int(TILE) for d in (LOOK_BACK, KNOWN_WITHIN))
    gaps = [(away, away == back - 1, False) for away in (back - 1, back)]
    for away, continued, renewed in [*gaps, (known - 1, True, True), (known, False, True)]:
        if renewed:
            gone = _one([100.0, 110.0, *[n] * away, 9.0, 19.0], [5.0, 7.0, *[n] * away, 2.0, 4.0])
            total, errors = (11.0, 2.0) if continued else (n, n)
            name = f"new counters after {away} minutes away " + (
                "count from 0" if continued else "may be old, and do not count"
            )
        else:
            gone = _one(_gap(100, _GROWTH, away), _gap(50, _FAILING, away))
            total, errors = (12.0 * (away + 1), 2.0 * (away + 1)) if continued else (n, n)
            name = f"a scrape gap of {away} minutes " + (
                "loses nothing" if continued else "is not guessed"
            )
        told: list[Count] = [n, 12.0, *[n] * away, total, 12.0]
        failed: list[Count] = [n, 2.0, *[n] * away, errors, 2.0]
        yield _case(indicator, source, name, [gone], told, failed)
        stays = _one(_grown(100, away + 4), _grown(1, away + 4, _STORM))
        beside = [n, *((v or 0.0) + _GROWTH + _STORM for v in told[1:])]
        others = [n, *((v or 0.0) + _STORM for v in failed[1:])]
        yield _case(indicator, source, f"{name}, beside another", [gone, stays], beside, others)


def _restart_within(indicator: Indicator, source: Counters) -> SLICase:
    """A process is restarted right after a scrape, several scrapes before the minute ends."""
    good, failed = [7.0, 9.0, 8.0, 6.0] * 6, [1.0, 0.0, 5.0, 2.0] * 6
    restart = 10

    def counted(steps: list[float], start: float) -> list[Count]:
        before = [start + sum(steps[: at + 1]) for at in range(restart)]
        return [*before, *(sum(steps[restart : at + 1]) for at in range(restart, len(steps)))]

    kinds = [_one(counted(good, 1000.0), counted(failed, 500.0))]
    told = [s for target in kinds for s in _series(indicator, source, target, _INSTANCES[0])]
    total: list[Count] = []
    errors: list[Count] = []
    for tile in range(len(good) * int(_STEP) // int(TILE) + 1):
        end = tile * int(TILE) - int(delay_of(indicator))
        inside = [at for at in range(len(good)) if end - int(TILE) < at * int(_STEP) <= end]
        whole = inside and inside[0] > 0  # the first sample has no past
        total.append(sum(good[at] + failed[at] for at in inside) if whole else None)
        errors.append(sum(failed[at] for at in inside) if whole else None)
    name = "a restart within a minute loses nothing that was scraped"
    return SLICase(name, _STEP, told, Timeline(TILE, total, errors))


def _one(good: Sequence[Count], failed: Sequence[Count]) -> Target:
    return Target(good, failed)


def _grown(start: float, length: int, growth: float = _GROWTH) -> list[Count]:
    return [start + growth * at for at in range(length)]


def _gap(start: float, growth: float, away: int) -> list[Count]:
    after = start + growth * (away + 2)
    return [start, start + growth, *[None] * away, after, after + growth]


def _case(
    indicator: Indicator,
    source: Counters,
    name: str,
    targets: Sequence[Target],
    total: Sequence[Count],
    errors: Sequence[Count],
) -> SLICase:
    """total, errors: by the minute of the sample; the tile that holds it is later by the delay."""
    late = max(1, -(-int(delay_of(indicator)) // int(TILE)))
    first: list[Count] = [None] * late
    series = [
        s
        for target, instance in zip(targets, _INSTANCES, strict=False)
        for s in _series(indicator, source, target, instance)
    ]
    return SLICase(name, TILE, series, Timeline(TILE, [*first, *total], [*first, *errors]))


def _kinds(source: Counters) -> tuple[_Series, _Series] | None:
    """The series that hold what the part selector counts, and the rest or all of it.

    None where no labels can be made up that meet one selector and not the other.
    """
    whole, part = Selector.parse(source.total), Selector.parse(source.errors or source.good or "")
    same = whole.metric == part.metric
    inside = samples.meeting((*whole.matchers, *part.matchers) if same else part.matchers)
    rest = samples.meeting(whole.matchers, part.matchers if same else ())
    if inside is None or rest is None:
        return None
    return (part.metric, inside), (whole.metric, rest)


def _series(
    indicator: Indicator, source: Counters, target: Target, instance: str
) -> Iterator[Scraped]:
    kinds = _kinds(source)
    if kinds is None:
        return
    own = {names.SERVICE: indicator.services[0]} if source.own else {}
    base = {"job": indicator.services[0], "instance": instance}
    counted, others = target.good, target.failed
    if source.errors is not None:
        counted, others = others, counted
    (part, inside), (whole, rest) = kinds
    if part != whole:
        others = [_plus(g, f) for g, f in zip(target.good, target.failed, strict=True)]
    yield Scraped(part, base | inside | own, counted)
    yield Scraped(whole, base | rest | own, others)


def _plus(good: Count, failed: Count) -> Count:
    if STALE in (good, failed) or (good is None and failed is None):
        return STALE if STALE in (good, failed) else None
    return (good or 0.0) + (failed or 0.0)


def _runs(indicator: Indicator, source: Runs, name: str, runs: list[float]) -> SLICase:
    """Each sample is a run, and counts in the one tile that its time falls in."""
    made = samples.meeting(Selector.parse(source.success).matchers) or {}
    own = {names.SERVICE: indicator.services[0]} if source.own else {}
    labels = {"job": "probe", "instance": "http://a.example/"} | made | own
    total: list[Count] = []
    errors: list[Count] = []
    for tile in range(len(runs) * int(_STEP) // int(TILE) + 1):
        end = tile * int(TILE) - int(delay_of(indicator))
        found = [v for at, v in enumerate(runs) if end - int(TILE) < at * int(_STEP) <= end]
        total.append(float(len(found)) if found else None)
        errors.append(float(found.count(0.0)) if found else None)
    series = [Scraped(Selector.parse(source.success).metric, labels, runs)]
    return SLICase(name, _STEP, series, Timeline(TILE, total, errors))


def _age(indicator: Indicator, source: Age) -> Iterator[SLICase]:
    """Good as long as the newest is no older than allowed: old from the fourth minute on."""
    selector = Selector.parse(source.metric)
    made = samples.meeting(selector.matchers) or {}
    own = {names.SERVICE: indicator.services[0]} if source.own else {}
    newest = 3 * (int(TILE) // 1000) - source.max_age
    series = [
        Scraped(
            selector.metric,
            {"job": indicator.services[0], "instance": instance} | made | own,
            [newest - older] * 7,
        )
        for instance, older in zip(_INSTANCES, (0.0, 1000.0), strict=True)
    ]
    errors = [0.0] * 4 + [1.0] * 3
    yield SLICase(
        "old from the minute on that it is older", TILE, series, Timeline(TILE, [1.0] * 7, errors)
    )
