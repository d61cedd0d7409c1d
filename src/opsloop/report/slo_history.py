"""One objective over its period: the burn-down, and the incidents that spent the budget."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from opsloop import names
from opsloop.catalog.slo import Period
from opsloop.catalog.units import Duration
from opsloop.compile import slo_names as series
from opsloop.compile.selectors import quote
from opsloop.compile.slo_names import half_open
from opsloop.remediation.episode import Episode
from opsloop.remediation.ports import History, Series
from opsloop.report.slo import Budget
from opsloop.report.times import stamp

SPARK_POINTS: Final = 60
STEPS: Final = 5000  # a range query answers 11,000 points; a step is a whole number of minutes
CALM_STEPS: Final = 3  # so many steps within the budget's pace end an incident
REFINED: Final = 20  # incidents whose first and last minute are looked up
_SPARKS: Final = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Incident:
    """A time in which the budget burnt faster than evenly. Times are unix seconds.

    errors: failed events in it; share: of the period's whole budget as it is now, None while
    there is no budget in events; peak: the highest burn of a step; episodes: what fired in it.
    """

    began: float
    ended: float
    errors: float
    share: float | None
    peak: float
    episodes: tuple[int, ...] = ()


def burn_down(history: History, row: Budget, now: float) -> list[tuple[float, float]]:
    """(unix seconds, budget left 0..1): from all of it down to what is left, no rise between.

    In each step the failed events of the period so far, against the budget of the whole period
    as it is now; so each fall is as deep as its incident's share, and a period whose first
    minutes were bad is not shown as spent. About SPARK_POINTS points; none without events.
    Counted on the tiles, which a back-fill has too, and not from what was recorded at the time.
    """
    end = now - now % 60
    begin = _began(row.period, end)
    minutes = max(1, -int(-(end - begin) // (60 * SPARK_POINTS)))
    errors, total = _tiles(history, row, begin, end, Duration(minutes * int(series.TILE)))
    whole = row.budget * sum(total.values())
    if not whole:
        return []
    spent = itertools.accumulate(errors.get(at, 0.0) for at in sorted(total))
    return [(at, 1 - failed / whole) for at, failed in zip(sorted(total), spent, strict=True)]


def incidents(
    history: History, row: Budget, episodes: Sequence[Episode], now: float
) -> list[Incident]:
    """What spent the budget of the period, the costliest first.

    Counted on the tiles, to the step: a minute, or more where the period is longer than
    STEPS minutes. Raises PrometheusError when Prometheus does not answer.
    """
    end = now - now % 60
    begin = _began(row.period, end)
    step = Duration(max(1, int(-(-(end - begin) // 60 // STEPS))) * int(series.TILE))
    errors, total = _tiles(history, row, begin, end, step)
    whole = row.budget * sum(total.values())
    found = [
        _incident(group, errors, total, row, whole, begin, step.seconds)
        for group in _groups(errors, total, row.budget, step.seconds)
    ]
    found.sort(key=lambda i: -i.errors)
    if int(step) > int(series.TILE):
        found[:REFINED] = [_to_the_minute(history, row, i, whole) for i in found[:REFINED]]
    named = [_with_episodes(i, row.service, episodes) for i in found]
    return sorted(named, key=lambda i: -i.errors)


def _to_the_minute(history: History, row: Budget, found: Incident, whole: float) -> Incident:
    """The same, without the good minutes at its ends."""
    errors, total = _tiles(history, row, found.began, found.ended, series.TILE)
    bad = [at for at in sorted(errors) if errors[at] > row.budget * total.get(at, 0.0)]
    if not bad:
        return found
    group = [at for at in sorted(errors) if bad[0] <= at <= bad[-1]]
    return _incident(group, errors, total, row, whole, found.began, series.TILE.seconds)


def _tiles(
    history: History, row: Budget, begin: float, end: float, step: Duration
) -> tuple[dict[float, float], dict[float, float]]:
    """Failed events and all events by the end of each step after `begin`.

    Where the steps do not divide the time, the first is the shorter one.
    """
    rest = Duration(round(end - begin) * 1000 % int(step))

    def counted(tile: str) -> dict[float, float]:
        found: list[Series] = []
        first = begin + rest.seconds
        spans = [(rest, first, first), (step, first + step.seconds, end)]
        for window, since, until in spans:
            if window and since <= until:
                expr = f"sum_over_time({tile}{{{_indicator(row)}}}[{half_open(window)}])"
                found += history.query_range(expr, since, until, window.seconds)
        return _points(found)

    return counted(series.ERRORS_TILE), counted(series.TOTAL_TILE)


def _points(found: Sequence[Series]) -> dict[float, float]:
    values: dict[float, float] = {}
    for line in found:
        for at, value in line.points:
            values[at] = values.get(at, 0.0) + value
    return values


def _groups(
    errors: dict[float, float], total: dict[float, float], budget: float, step: float
) -> list[list[float]]:
    """The steps that burn faster than evenly, those close to each other together."""
    groups: list[list[float]] = []
    for at in sorted(errors):
        if errors[at] <= budget * total.get(at, 0.0) or errors[at] <= 0:
            continue
        if groups and at - groups[-1][-1] <= (CALM_STEPS + 1) * step:
            groups[-1].append(at)
        else:
            groups.append([at])
    return groups


def _incident(
    group: list[float],
    errors: dict[float, float],
    total: dict[float, float],
    row: Budget,
    whole: float,
    begin: float,
    step: float,
) -> Incident:
    failed = sum(errors[at] for at in group)
    ratios = (errors[at] / total[at] for at in group if total.get(at))
    return Incident(
        began=max(begin, group[0] - step),
        ended=group[-1],
        errors=failed,
        share=failed / whole if whole > 0 else None,
        peak=max(ratios, default=0.0) / row.budget,
    )


def _with_episodes(found: Incident, service: str, episodes: Sequence[Episode]) -> Incident:
    ids = tuple(
        sorted(
            e.id
            for e in episodes
            if e.service == service
            and e.starts_at <= found.ended
            and (e.ended_at is None or e.ended_at >= found.began)
        )
    )
    return Incident(found.began, found.ended, found.errors, found.share, found.peak, ids)


def sparkline(points: Sequence[tuple[float, float]], width: int = SPARK_POINTS) -> str:
    """The burn-down in one line: the full block is the whole budget, a cross is none left.

    Where there are more points than `width`, each mark is the worst of its share.
    """
    values = [v for _, v in points]
    if len(values) > width:
        cuts = [n * len(values) // width for n in range(width + 1)]
        values = [min(values[a:b]) for a, b in itertools.pairwise(cuts)]
    return "".join("✗" if v <= 0 else _SPARKS[min(7, int(v * 8))] for v in values)


def incident_json(found: Incident) -> dict[str, Any]:
    """The stable form of an incident in `opsloop slo SERVICE --json`."""
    return {
        "began_at": stamp(found.began),
        "ended_at": stamp(found.ended),
        "errors": found.errors,
        "budget_spent": found.share,
        "peak_burn": found.peak,
        "episodes": list(found.episodes),
    }


def _indicator(row: Budget) -> str:
    """A matcher for the SLI behind the objective."""
    return f"{series.SLI}={quote(row.indicator)},{names.SERVICE}={quote(row.service)}"


def _seconds(period: str) -> float:
    return Period.parse(period).length.seconds


def _began(period: str, now: float) -> float:
    """When the period began that ends now; a calendar month with its first minute (UTC)."""
    parsed = Period.parse(period)
    if not parsed.calendar:
        return now - parsed.length.seconds
    # The tile of the first moment of a month belongs to the month before.
    moment = datetime.fromtimestamp(now - 60, UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
