"""One objective over its period: the burn-down, and the incidents that spent the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from opsloop import names
from opsloop.catalog.slo import Period
from opsloop.catalog.units import Duration
from opsloop.compile import slo_names as series
from opsloop.compile.selectors import quote
from opsloop.remediation.episode import Episode
from opsloop.remediation.ports import History, Series
from opsloop.report.slo import Budget, count, percent
from opsloop.report.times import clock, length, stamp

SPARK_POINTS: Final = 60
STEPS: Final = 5000  # a range query answers 11,000 points; a step is a whole number of minutes
CALM_STEPS: Final = 3  # so many steps within the budget's pace end an incident
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
    """(unix seconds, budget left 0..1) over the period, about SPARK_POINTS of them."""
    seconds = _seconds(row.period)
    step = max(60.0, seconds / SPARK_POINTS)
    found = history.query_range(f"{series.LEFT_RATIO}{_objective(row)}", now - seconds, now, step)
    return [point for line in found for point in line.points]


def incidents(
    history: History, row: Budget, episodes: Sequence[Episode], now: float
) -> list[Incident]:
    """What spent the budget of the period, the costliest first.

    Counted on the tiles, to the step: a minute, or more where the period is longer than
    STEPS minutes. Raises PrometheusError when Prometheus does not answer.
    """
    minutes = _seconds(row.period) / 60
    step = Duration(int(-(-minutes // STEPS)) * int(series.TILE))
    matcher = f"{{{series.SLI}={quote(row.indicator)}, {names.SERVICE}={quote(row.service)}}}"
    end = now - now % 60
    errors, total = (
        _points(
            history.query_range(
                f"sum_over_time({tile}{matcher}[{series.half_open(step)}])",
                end - minutes * 60,
                end,
                step.seconds,
            )
        )
        for tile in (series.ERRORS_TILE, series.TOTAL_TILE)
    )
    whole = row.budget * sum(total.values())
    found = [
        _incident(group, errors, total, row, whole, step.seconds)
        for group in _groups(errors, total, row.budget, step.seconds)
    ]
    named = [_with_episodes(i, row.service, episodes) for i in found]
    return sorted(named, key=lambda i: -i.errors)


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


def sparkline(points: Sequence[tuple[float, float]]) -> str:
    """The burn-down in one line: the full block is the whole budget, a cross is none left."""
    return "".join("✗" if v <= 0 else _SPARKS[min(7, int(v * 8))] for _, v in points)


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


def incident_line(found: Incident) -> str:
    """`11-24 06:31:00, 12 min: 340 errors, 4.1 % of the budget, at most 12x; episode 4`."""
    spent = "" if found.share is None else f", {percent(found.share, 1)} of the budget"
    told = ""
    if found.episodes:
        ids = ", ".join(map(str, found.episodes))
        told = f"; episode{'s' if len(found.episodes) > 1 else ''} {ids}"
    return (
        f"{clock(found.began)}, {length(found.ended - found.began)}: {count(found.errors)} errors"
        f"{spent}, at most {count(found.peak)}x the even pace{told}"
    )


def _objective(row: Budget) -> str:
    return f"{{{names.SERVICE}={quote(row.service)}, {series.SLO}={quote(row.slo)}}}"


def _seconds(period: str) -> float:
    return Period.parse(period).length.seconds
