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
from opsloop.compile.slo_budget import LONGEST_MONTH, SETTLED
from opsloop.compile.slo_names import Kind, half_open
from opsloop.compile.slo_past import month_of
from opsloop.compile.slo_windows import counted
from opsloop.remediation.episode import Episode
from opsloop.remediation.ports import History, Series
from opsloop.report.slo import Budget
from opsloop.report.times import stamp

SPARK_POINTS: Final = 60
STEPS: Final = 5000  # a range query answers 11,000 points; a step is a whole number of minutes
CALM_STEPS: Final = 3  # so many steps within the budget's pace end an incident
REFINED: Final = 20  # incidents whose first and last minute are looked up
MONTH_STEP: Final = Duration(43_200_000)
_KINDS: Final[tuple[Kind, ...]] = ("errors", "total")
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
    """(unix seconds, budget left 0..1) over the period, about SPARK_POINTS of them.

    From the ledger, which a back-fill has too, and not from what was recorded at the time.
    """
    period = Period.parse(row.period)
    if period.calendar:
        return _of_months(history, row, now)
    seconds = period.length.seconds
    step = max(60.0, seconds / SPARK_POINTS)
    errors, total = (
        _points(
            history.query_range(
                counted(kind, period.length, _indicator(row), SETTLED), now - seconds, now, step
            )
        )
        for kind in _KINDS
    )
    return [
        (at, 1 - errors.get(at, 0.0) / total[at] / row.budget) for at in sorted(total) if total[at]
    ]


def _of_months(history: History, row: Budget, now: float) -> list[tuple[float, float]]:
    """The budget of a calendar month begins anew with each month."""
    step = MONTH_STEP.seconds
    begin = now - now % step - 2 * LONGEST_MONTH.seconds
    closed = half_open(MONTH_STEP)
    errors, total = (
        history.query_range(
            f"sum by ({series.MONTH}) ("
            f"sum_over_time({series.month_page(kind)}{{{_indicator(row)}}}[{closed}]))",
            *(begin, now, step),
        )
        for kind in _KINDS
    )
    spent, events = _by_month(errors), _by_month(total)
    sums: dict[str, tuple[float, float]] = {}
    found = []
    for at in sorted({at for at, _ in events}):
        current = month_of(round(at * 1000))
        for month in {m for t, m in events if t == at}:
            failed, all_ = sums.get(month, (0.0, 0.0))
            key = (at, month)
            sums[month] = (failed + spent.get(key, 0.0), all_ + events[key])
        failed, all_ = sums.get(current, (0.0, 0.0))
        if all_ and at > now - _seconds(row.period):
            found.append((at, 1 - failed / all_ / row.budget))
    return found


def _by_month(found: Sequence[Series]) -> dict[tuple[float, str], float]:
    return {
        (at, line.labels.get(series.MONTH, "")): value
        for line in found
        for at, value in line.points
    }


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
        _incident(group, errors, total, row, whole, step.seconds)
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
    return _incident(group, errors, total, row, whole, series.TILE.seconds)


def _tiles(
    history: History, row: Budget, begin: float, end: float, step: Duration
) -> tuple[dict[float, float], dict[float, float]]:
    """Failed events and all events by the end of each step after `begin`."""
    errors, total = (
        _points(
            history.query_range(
                f"sum_over_time({tile}{{{_indicator(row)}}}[{half_open(step)}])",
                *(begin + step.seconds, end, step.seconds),
            )
        )
        for tile in (series.ERRORS_TILE, series.TOTAL_TILE)
    )
    return errors, total


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
    step: float,
) -> Incident:
    failed = sum(errors[at] for at in group)
    ratios = (errors[at] / total[at] for at in group if total.get(at))
    return Incident(
        began=group[0] - step,
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
