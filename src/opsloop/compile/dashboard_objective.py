"""Panels of one objective: promise, budget, burn, errors, alerts, incidents and runs."""

from __future__ import annotations

from typing import Final

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import pairs_of
from opsloop.compile.dashboard_limits import burn_limits, distinct
from opsloop.compile.dashboard_parts import (
    ABOUT,
    BUDGET_LEFT,
    HALF,
    SMALL,
    TO_ALERTS,
    TO_RUNS,
    to_service,
)
from opsloop.compile.dashboard_raw import causes
from opsloop.compile.panels import Column, Panel, Query, State
from opsloop.compile.slo_names import (
    BUDGET,
    COVERAGE_PERIOD,
    ERRORS_TILE,
    LEFT_EVENTS,
    LEFT_MINUTES,
    LEFT_RATIO,
    PAGE,
    PERIOD,
    half_open,
    period_sum,
)
from opsloop.compile.slo_windows import EACH

TO_THIS_SERVICE: Final = to_service("$service")
NEW: Final = "a budget is known some minutes after the first events"


def one_objective(catalog: Catalog, mine: str) -> tuple[Panel, ...]:
    """mine: the matchers of the objective."""
    return (
        _promise(mine),
        _left(mine),
        _burn_down(catalog, mine),
        _burn(catalog, mine),
        _causes(catalog),
        _alerts(mine),
        _spent(mine),
        _runs(),
    )


def _promise(mine: str) -> Panel:
    return Panel(
        id=5,
        title="Objective and SLI",
        description="The share of events that was promised to be good, and the share that is.",
        kind="stat",
        queries=(
            Query("A", f"max(1 - (1 - {LEFT_RATIO}{{{mine}}}) * {BUDGET}{{{mine}}})", "SLI"),
            Query("B", f"max(1 - {BUDGET}{{{mine}}})", "promised", role="beside"),
        ),
        unit="percentunit",
        links=(TO_THIS_SERVICE,),
        place=SMALL,
        decimals=3,
        may_be_empty=NEW,
    )


def _left(mine: str) -> Panel:
    return Panel(
        id=6,
        title="Budget left",
        description="Of the error budget: the share, how many more events may fail, and how many"
        " minutes of a complete outage that is at the mean traffic.",
        kind="stat",
        queries=(
            Query("A", f"max({LEFT_RATIO}{{{mine}}})", "left"),
            Query("B", f"max({LEFT_EVENTS}{{{mine}}})", "events", role="beside", unit="short"),
            Query("C", f"max({LEFT_MINUTES}{{{mine}}})", "outage", role="beside", unit="m"),
        ),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=SMALL,
        decimals=1,
        thresholds=BUDGET_LEFT,
        may_be_empty=NEW,
    )


def _burn_down(catalog: Catalog, mine: str) -> Panel:
    chosen = f"{BUDGET}{{{mine}}}"
    calendar = any(s.window.calendar for x in catalog.services.values() for s in x.slos.values())
    on = f"on ({EACH}, {PERIOD})"
    # Spent evenly, as much is left as the period has without data yet.
    ideal = f"1 - max({COVERAGE_PERIOD} * {on} group_right () ({chosen} / {chosen}))"
    if calendar:
        month = f'{BUDGET}{{{mine},{PERIOD}="calendar-month"}}'
        passed = "(day_of_month() - 1 + hour() / 24 + minute() / 1440) / days_in_month()"
        ideal = f"(1 - {passed}) and on () {month}\nor on ()\n{ideal}"
    return Panel(
        id=7,
        title="Burn-down",
        description="The budget that is left, and, dashed, what would be left if it were spent"
        " evenly over the period.",
        kind="timeseries",
        queries=(
            Query("A", f"max({LEFT_RATIO}{{{mine}}})", "left"),
            Query("B", ideal, "spent evenly", role="limit"),
        ),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=HALF,
        high=1,
        may_be_empty=NEW,
    )


def _burn(catalog: Catalog, mine: str) -> Panel:
    longs = {p.long for s in distinct(catalog) for p in pairs_of(s)}
    windows = "|".join(str(w) for w in sorted(longs))
    series = f'{{__name__=~"slo:burn_rate:({windows})",{mine}}}'
    shown = f'label_replace({series}, "window", "$1", "__name__", "slo:burn_rate:(.*)")'
    limits = [*burn_limits(catalog, mine, "page"), *burn_limits(catalog, mine, "ticket")]
    return Panel(
        id=8,
        title="Burn rates",
        description="How many times faster than evenly the budget burns, over each long window,"
        " and, dashed, where the alerts of page and ticket fire.",
        kind="timeseries",
        queries=(
            Query("A", f"max by (window) ({shown})", "{{window}}"),
            *(Query("BCDEFGHIJ"[n], expr, name, role="limit")
              for n, (name, expr) in enumerate(limits)),
        ),
        unit="none",
        links=(TO_ALERTS,),
        place=HALF,
        low=0,
        may_be_empty=NEW,
    )  # fmt: skip


def _causes(catalog: Catalog) -> Panel:
    return Panel(
        id=9,
        title="Errors by cause",
        description="Failed requests of the service by what its counters tell apart: code, route.",
        kind="timeseries",
        queries=(causes(catalog, f'{names.SERVICE}="$service"'),),
        unit="short",
        links=(TO_THIS_SERVICE,),
        place=HALF,
        stacked=True,
        low=0,
        may_be_empty="a client may count failures only from the first one on",
    )


def _alerts(mine: str) -> Panel:
    def firing(alert: str) -> str:
        seen = f'max(ALERTS{{alertname="{alert}",alertstate="firing",{mine}}})'
        return f"{seen} or 0 * max({BUDGET}{{{mine}}})"

    shown = (
        ("A", names.SLO_BURN_CRITICAL, "page"),
        ("B", names.SLO_BURN_HIGH, "ticket"),
        ("C", names.SLO_BUDGET_EXHAUSTED, "spent"),
        ("D", names.SLO_DATA_MISSING, "no data"),
    )
    return Panel(
        id=10,
        title="Pages and tickets",
        description="When the alerts of this objective fired.",
        kind="state-timeline",
        queries=tuple(Query(ref, firing(alert), word) for ref, alert, word in shown),
        unit="bool",
        links=(TO_ALERTS,),
        place=HALF,
        states=(State(0, "quiet", "good"), State(1, "fires", "bad")),
        low=0,
        high=1,
    )


def _spent(mine: str) -> Panel:
    chosen = f"{BUDGET}{{{mine}}}"
    failed = f"sum_over_time({ERRORS_TILE}[{half_open(PAGE)}])"
    on = f"on ({EACH})"
    allowed = f"{chosen} * on ({EACH}, {PERIOD}) group_left () ({period_sum('total')} > 0)"
    return Panel(
        id=11,
        title="Budget spent by incident",
        description="What the hour before each moment took of the whole budget: an incident is a"
        " hump, and its height times its hours what it cost.",
        kind="timeseries",
        queries=(Query("A", f"max({failed} * {on} group_right () (1 / ({allowed})))", "spent"),),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=HALF,
        low=0,
        may_be_empty=NEW,
    )


def _runs() -> Panel:
    by = "policy, state"
    kept = f'sum by ({by}) ({names.RUNS_KEPT}{{{ABOUT}="$service"}})'
    before = f'sum by ({by}) ({names.RUNS_KEPT}{{{ABOUT}="$service"}} offset $__range)'
    return Panel(
        id=12,
        title="Runs in the window",
        description="What the loop did for the service in the time shown, by policy and verdict.",
        kind="table",
        queries=(Query("A", f"{kept} - ({before} or 0 * {kept})", "{{policy}} {{state}}",
                       instant=True),),
        unit="short",
        links=(TO_RUNS,),
        place=HALF,
        columns=(
            Column("Policy", label="policy"),
            Column("Verdict", label="state"),
            Column("Runs", ref="A", unit="short", decimals=0),
        ),
        sort=("Runs", True),
        may_be_empty="the loop has not acted for the service",
    )  # fmt: skip
