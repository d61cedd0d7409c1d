"""The budget of each period: counts, ratio, coverage, what is left, and when it will be spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opsloop.catalog.slo import Period
from opsloop.catalog.units import Duration
from opsloop.compile.selectors import quote
from opsloop.compile.slo_names import (
    BUDGET,
    COVERAGE_PERIOD,
    EXHAUSTION,
    KINDS,
    LEFT_EVENTS,
    LEFT_MINUTES,
    LEFT_RATIO,
    MONTH,
    PERIOD,
    RATIO_PERIOD,
    TILE,
    Kind,
    burn_rate,
    half_open,
    month_page,
    open_page,
    period_sum,
)
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_windows import EACH, OPEN_WITHIN, counted, few_services

SETTLED = Duration(30_000)  # what another group wrote this long ago is stored, all of it
LONGEST_MONTH = Duration(31 * 86_400_000)
_EACH_PERIOD = f"{EACH}, {PERIOD}"
_ON = f"on ({_EACH_PERIOD})"


def budget_rules(specs: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """The rules of the budget group, for every period in use."""
    periods = sorted({s.period for s in specs}, key=str)
    rules = []
    for period in periods:
        labels = {PERIOD: str(period)}
        rules += [
            {"record": period_sum(kind), "expr": _counted(kind, period, specs), "labels": labels}
            for kind in KINDS
        ]
        rules.append({"record": COVERAGE_PERIOD, "expr": _coverage(period), "labels": labels})
    rules += _left_rules()
    return rules + [
        {"record": EXHAUSTION, "expr": expr, "labels": {PERIOD: str(p)}}
        for p in periods
        if (expr := _exhaustion(p, specs))
    ]


def _counted(kind: Kind, period: Period, specs: Sequence[SLOSpec]) -> str:
    members = [s for s in specs if s.period == period]
    only = "" if len(members) == len(specs) else few_services(members)
    if not period.calendar:
        return counted(kind, period.length, only, SETTLED)
    closed = f"{month_page(kind)}[{half_open(LONGEST_MONTH)}] offset {SETTLED}"
    opened = f"{open_page(kind)}{{{only}}}" if only else open_page(kind)
    return (
        f"sum by ({EACH}) (\n"
        f"  (\n    sum_over_time({closed})\n    and on ({MONTH})\n    {_this_month()}\n  )\n"
        f"  or\n"
        f"  last_over_time({opened}[{half_open(OPEN_WITHIN)}] offset {SETTLED})\n)"
    )


def _settled_time() -> str:
    """The time that the newest settled tile belongs to for certain."""
    return f"vector(time() - {(int(TILE) + int(SETTLED)) // 1000})"


def _this_month() -> str:
    return f'count_values("{MONTH}", month({_settled_time()}))'


def elapsed_minutes(period: Period) -> str:
    """PromQL of the period's length in minutes; of a month, what has passed of it."""
    if not period.calendar:
        return str(int(period.length) // int(TILE))
    now = _settled_time()
    return f"((day_of_month({now}) - 1) * 1440 + hour({now}) * 60 + minute({now}) + 1)"


def _coverage(period: Period) -> str:
    minutes = f"{period_sum('minutes')}{{{PERIOD}={quote(str(period))}}}"
    if not period.calendar:
        return f"clamp_max({minutes} / {elapsed_minutes(period)}, 1)"
    return f"clamp_max({minutes} / on () group_left ()\n{elapsed_minutes(period)}, 1)"


def _left_rules() -> list[dict[str, Any]]:
    errors, total, minutes = (period_sum(k) for k in ("errors", "total", "minutes"))
    return [
        {"record": RATIO_PERIOD, "expr": f"{errors} / ({total} > 0)"},
        {
            "record": LEFT_RATIO,
            "expr": f"1 - {RATIO_PERIOD} / {_ON} group_right () {BUDGET}",
        },
        {
            "record": LEFT_EVENTS,
            "expr": f"{BUDGET} * {_ON} group_left () {total}\n- {_ON} group_left ()\n{errors}",
        },
        {
            # Of a complete outage, at the mean traffic of the minutes that have data.
            "record": LEFT_MINUTES,
            "expr": f"{LEFT_EVENTS} * {_ON} group_left ()\n({minutes} / ({total} > 0))",
        },
    ]


def forecast_window(period: Period, specs: Iterable[SLOSpec]) -> Duration | None:
    """Whose burn the forecast goes on with: the longest of a page, else of a ticket."""
    pairs = [p for s in specs if s.period == period for p in s.pairs]
    pages = [p.long for p in pairs if p.kind == "page"]
    return max(pages or [p.long for p in pairs], default=None)


def _exhaustion(period: Period, specs: Iterable[SLOSpec]) -> str | None:
    """Seconds until nothing is left at the present burn; nothing where it will last.

    Errors that leave a rolling period do so at the period's mean pace. With L left and burn b,
    spent is 1 - L, and L is gone after period * L / (b - 1 + L) when b > 1. As long as only a
    part of the period has data nothing leaves it, so L there counts by coverage. In a calendar
    month nothing leaves: elapsed * L / (b - 1).
    """
    window = forecast_window(period, specs)
    if window is None:
        return None
    mine = f"{{{PERIOD}={quote(str(period))}}}"
    left = f"({LEFT_RATIO}{mine} > 0)"
    burn = f"({burn_rate(window)}{mine} > 1)"
    if period.calendar:
        return f"60 * {left}\n/ ({burn} - 1)\n* on () group_left ()\n{elapsed_minutes(period)}"
    seconds = int(period.length) // 1000
    covered = f"({left} * {_ON} group_left () {COVERAGE_PERIOD})"
    return f"{seconds} * {covered}\n/\n({burn} - 1 + {covered})"
