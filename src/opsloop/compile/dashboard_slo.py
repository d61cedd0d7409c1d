"""The dashboard SLO: every objective at a glance, and one objective in full."""

from __future__ import annotations

from typing import Final

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import Period, windows_for
from opsloop.catalog.units import Duration
from opsloop.compile.dashboard_objective import one_objective
from opsloop.compile.dashboard_parts import (
    BUDGET_LEFT,
    DATASOURCE,
    OBJECTIVES,
    OVERVIEW,
    THIRD,
    TO_ALERTS,
    WIDE,
    marks,
    to_service,
    within,
)
from opsloop.compile.panels import Column, Dashboard, Link, Panel, Query, Row, Threshold
from opsloop.compile.panelvars import Variable
from opsloop.compile.slo_names import (
    BUDGET,
    COVERAGE_PERIOD,
    EXHAUSTION,
    LEFT_RATIO,
    OBJECTIVE,
    PERIOD,
    SLO,
    burn_rate,
)
from opsloop.compile.slo_windows import EACH

SERVICE: Final = Variable("service", "Service", selector=BUDGET, label=names.SERVICE)
CHOSEN: Final = Variable(
    "slo", "Objective", selector=f'{BUDGET}{{{names.SERVICE}="$service"}}', label=SLO
)
MINE: Final = f'{names.SERVICE}="$service",{SLO}="$slo"'
BY: Final = f"{names.SERVICE}, {SLO}, {OBJECTIVE}, {PERIOD}"
STEP: Final = Duration(600_000)  # at which the past is looked at; budgets change slowly
DAY_S: Final = 86_400


def objectives(catalog: Catalog) -> Dashboard | None:
    """At most 14 panels; none without objectives."""
    if not any(s.slos for s in catalog.services.values()):
        return None
    return Dashboard(
        uid=OBJECTIVES,
        title="SLO",
        description="Error budgets: all objectives, the worst first, and one of them in full.",
        rows=(
            Row("All objectives", (_met(), _met_over_time(), _worst(), _all(catalog))),
            Row("One objective", one_objective(catalog, MINE)),
        ),
        variables=(DATASOURCE, SERVICE, CHOSEN),
        links=(Link("System overview", OVERVIEW), to_service("$service")),
        annotations=marks("$service"),
        range_s=DAY_S,
        refresh_s=60,
    )


def _met() -> Panel:
    return Panel(
        id=1,
        title="Objectives met",
        description="Share of all objectives that are kept now: some of their budget is left.",
        kind="stat",
        queries=(
            Query("A", f"avg({LEFT_RATIO} >= bool 0)", "met"),
            Query("B", f"sum({LEFT_RATIO} >= bool 0)", "kept", role="beside", unit="short"),
            Query("C", f"count({LEFT_RATIO})", "in all", role="beside", unit="short"),
        ),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=THIRD,
        decimals=0,
        thresholds=(Threshold(None, "bad"), Threshold(0.9, "warn"), Threshold(1, "good")),
        low=0,
        high=1,
        may_be_empty="a budget is known some minutes after the first events",
    )


def _met_over_time() -> Panel:
    return Panel(
        id=2,
        title="Share of objectives met",
        description="The share of all objectives that were kept, over time.",
        kind="timeseries",
        queries=(Query("A", f"avg({LEFT_RATIO} >= bool 0)", "met"),),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=THIRD,
        low=0,
        high=1,
        may_be_empty="a budget is known some minutes after the first events",
    )


def _worst() -> Panel:
    return Panel(
        id=3,
        title="Least budget left",
        description="The ten objectives with least of their budget left.",
        kind="bar-gauge",
        queries=(
            Query("A", f"bottomk(10, max by ({names.SERVICE}, {SLO}) ({LEFT_RATIO}))",
                  "{{service}} {{slo}}", instant=True),
        ),
        unit="percentunit",
        links=(_chosen(),),
        place=THIRD,
        decimals=1,
        thresholds=BUDGET_LEFT,
        may_be_empty="a budget is known some minutes after the first events",
    )  # fmt: skip


def _chosen() -> Link:
    """The same dashboard for the objective of a row."""
    passes = (("service", "{{service}}"), ("slo", "{{slo}}"))
    return Link("This objective", OBJECTIVES, passes=passes)


def burn_columns(catalog: Catalog) -> tuple[str, str, str]:
    """PromQL of the burn over the fast and the slow window of a page and the slowest of a ticket:
    1h, 6h and 3d where the period is 30d, others where it is another."""
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    periods = {s.window for service in catalog.services.values() for s in service.slos.values()}
    for period in sorted(periods, key=str):
        for column, window in zip(found, _windows(period), strict=True):
            if window is not None:
                column.append(f'{burn_rate(window)}{{{PERIOD}="{period}"}}')
    fast, slow, slowest = (" or ".join(parts) for parts in found)
    return fast, slow or fast, slowest or slow or fast


def _windows(period: Period) -> tuple[Duration | None, Duration | None, Duration | None]:
    pages = [p.long for p in windows_for(period) if p.kind == "page"]
    tickets = [p.long for p in windows_for(period) if p.kind == "ticket"]
    return pages[0], pages[1] if len(pages) > 1 else None, tickets[-1] if tickets else None


def _all(catalog: Catalog) -> Panel:
    count = sum(len(s.slos) for s in catalog.services.values())
    rank = f"-max by ({BY}) ({LEFT_RATIO})"

    def shown(expr: str) -> str:
        return within(f"max by ({BY}) ({expr})", rank, BY, count)

    covered = f"{COVERAGE_PERIOD} * on ({EACH}, {PERIOD}) group_right () ({BUDGET} / {BUDGET})"
    met = f"avg_over_time(({LEFT_RATIO} >= bool 0)[$__range:{STEP}])"
    fast, slow, slowest = burn_columns(catalog)
    queries = (
        ("A", shown(f"1 - (1 - {LEFT_RATIO}) * {BUDGET}"), "SLI"),
        ("B", shown(LEFT_RATIO), "left"),
        ("C", shown(fast), "burn 1h"),
        ("D", shown(slow), "burn 6h"),
        ("E", shown(slowest), "burn 3d"),
        ("F", shown(f"{EXHAUSTION} / {DAY_S}"), "days left"),
        ("G", shown(covered), "coverage"),
        ("H", shown(met), "met"),
    )
    burning = (Threshold(None, "good"), Threshold(1, "warn"), Threshold(6, "bad"))
    return Panel(
        id=4,
        title="All objectives, worst first",
        description="What was promised and what was kept; the budget left; how many times faster"
        " than evenly it burns over 1h, 6h and 3d (for a period of 30d; windows scale with it); how"
        " long it lasts at the present burn (no number: it lasts); the share of the period that"
        " has data; and the share of the time shown in which the objective was met.",
        kind="table",
        queries=tuple(
            Query(ref, expr, f"{{{{service}}}} {{{{slo}}}} {name}", instant=True)
            for ref, expr, name in queries
        ),
        unit="percentunit",
        links=(_chosen(),),
        place=WIDE,
        columns=(
            Column("Service", label=names.SERVICE, link=to_service("{{service}}")),
            Column("Objective", label=SLO, link=_chosen()),
            Column("Promise", label=OBJECTIVE),
            Column("Over", label=PERIOD),
            Column("SLI", ref="A", unit="percentunit", decimals=3),
            Column("Left", ref="B", unit="percentunit", decimals=1, thresholds=BUDGET_LEFT),
            Column("Burn 1h", ref="C", unit="none", decimals=1, thresholds=burning),
            Column("Burn 6h", ref="D", unit="none", decimals=1, thresholds=burning),
            Column("Burn 3d", ref="E", unit="none", decimals=1, thresholds=burning),
            Column("Days left", ref="F", unit="short", decimals=1),
            Column("Data", ref="G", unit="percentunit", decimals=0),
            Column("Met", ref="H", unit="percentunit", decimals=1),
        ),
        sort=("Left", False),
        may_be_empty="a budget is known some minutes after the first events",
    )
