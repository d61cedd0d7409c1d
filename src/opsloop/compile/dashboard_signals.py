"""The dashboard Golden Signals: traffic, errors, latency and saturation of one service."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.dashboard_limits import error_objective, latency_objective, latency_slis
from opsloop.compile.dashboard_parts import (
    DATASOURCE,
    LOW_IS_GOOD,
    OVERVIEW,
    SIGNALS,
    SMALL,
    THIRD,
    TO_ALERTS,
    TO_OBJECTIVES,
    TO_TARGETS,
    marks,
)
from opsloop.compile.dashboard_raw import by_class, histogram, top_errors
from opsloop.compile.dashboard_usage import usage
from opsloop.compile.panels import Dashboard, Link, Panel, Query, Row, Threshold, Unit
from opsloop.compile.panelvars import Variable
from opsloop.compile.slo_names import ERRORS_TILE, TOTAL_TILE, half_open

MINE: Final = f'{names.SERVICE}="$service"'
SERVICE: Final = Variable("service", "Service", selector=names.UP_RATIO, label=names.SERVICE)
JOB: Final = Variable("job", "Job", selector=f"up{{{MINE}}}", label="job", multi=True)
INSTANCE: Final = Variable(
    "instance", "Instance", selector=f'up{{{MINE},job=~"$job"}}', label="instance", multi=True
)
RAW: Final = f'{MINE},job=~"$job",instance=~"$instance"'
BEFORE: Final = "1h] offset 1w"
TO_SLO: Final = Link("Objectives", TO_OBJECTIVES.uid, passes=(("service", "$service"),))
WINDOW: Final = Duration(300_000)


def golden_signals(catalog: Catalog) -> Dashboard | None:
    """At most 14 panels; none without services."""
    if not catalog.services:
        return None
    return Dashboard(
        uid=SIGNALS,
        title="Golden Signals",
        description="Traffic, errors, latency and saturation of one service, against its"
        " objectives and against last week.",
        rows=(
            Row("", _stats(catalog)),
            Row("Traffic and errors", (_classes(catalog), _errors(catalog), _routes(catalog))),
            Row("Latency", (_quantiles(catalog), _heatmap(catalog), _share(catalog))),
            Row("Saturation", usage(catalog, MINE, RAW)),
        ),
        variables=(DATASOURCE, SERVICE, JOB, INSTANCE),
        links=(Link("System overview", OVERVIEW), TO_SLO),
        annotations=marks("$service"),
    )


def _stat(number: int, title: str, text: str, recorded: str, unit: Unit, link: Link) -> Panel:
    """A signal now, and what it was in the same hour last week."""
    series = f"{recorded}{{{MINE}}}"
    return Panel(
        id=number,
        title=title,
        description=f"{text} Beside it: the mean of the same hour last week.",
        kind="stat",
        queries=(
            Query("A", f"max({series})", "now"),
            Query("B", f"max(avg_over_time({series}[{BEFORE}))", "last week", role="before"),
        ),
        unit=unit,
        links=(link,),
        place=SMALL,
        low=0,
    )


def _stats(catalog: Catalog) -> tuple[Panel, ...]:
    rate = _stat(1, "Requests", "Requests a second.", names.REQUEST_RATE, "reqps", TO_TARGETS)
    errors = _stat(
        2, "Errors", "Share of requests that fail.", names.ERROR_RATIO, "percentunit", TO_SLO
    )
    p95 = _stat(3, "Latency p95", "95% of requests are faster.", names.LATENCY_P95, "s", TO_SLO)
    full = _stat(
        4,
        "Saturation",
        "How full the fullest declared signal of the service is.",
        names.SATURATION,
        "percentunit",
        TO_ALERTS,
    )
    limit = latency_objective(catalog, MINE)
    if limit:
        p95 = replace(
            p95, queries=(*p95.queries, Query("C", f"min({limit})", "objective", role="limit"))
        )
    return (
        replace(rate, decimals=1),
        replace(errors, decimals=2),
        p95,
        replace(full, decimals=0, thresholds=LOW_IS_GOOD,
                may_be_empty="the service declares no `saturation`"),
    )  # fmt: skip


def _classes(catalog: Catalog) -> Panel:
    return Panel(
        id=5,
        title="Requests by class of answer",
        description="Requests a second by class of status code, or by success where the service"
        " has selectors of its own.",
        kind="timeseries",
        queries=by_class(catalog, RAW, MINE),
        unit="reqps",
        links=(TO_TARGETS,),
        place=THIRD,
        stacked=True,
        low=0,
    )


def _errors(catalog: Catalog) -> Panel:
    queries = [Query("A", f"max({names.ERROR_RATIO}{{{MINE}}})", "failed")]
    limit = error_objective(catalog, MINE)
    if limit:
        queries.append(Query("B", limit, "objective {{slo}}", role="limit"))
    return Panel(
        id=6,
        title="Error ratio",
        description="Share of requests that fail, and, dashed, the share that each objective of"
        " availability allows.",
        kind="timeseries",
        queries=tuple(queries),
        unit="percentunit",
        links=(TO_SLO, TO_ALERTS),
        place=THIRD,
        low=0,
    )


def _routes(catalog: Catalog) -> Panel:
    return Panel(
        id=7,
        title="Top routes by errors",
        description="The ten routes with most failures a second.",
        kind="bar-gauge",
        queries=top_errors(catalog, RAW),
        unit="reqps",
        links=(TO_TARGETS,),
        place=THIRD,
        low=0,
        may_be_empty="a client may count failures only from the first one on",
    )


def _quantiles(catalog: Catalog) -> Panel:
    recorded = (
        ("A", names.LATENCY_P50, "p50"),
        ("B", names.LATENCY_P90, "p90"),
        ("C", names.LATENCY_P95, "p95"),
        ("D", names.LATENCY_P99, "p99"),
    )
    queries = [Query(ref, f"max({series}{{{MINE}}})", name) for ref, series, name in recorded]
    limit = latency_objective(catalog, MINE)
    if limit:
        queries.append(Query("E", limit, "objective {{slo}}", role="limit"))
    return Panel(
        id=8,
        title="Latency",
        description="Quantiles of the time that requests take, and, dashed, the threshold of each"
        " objective of latency.",
        kind="timeseries",
        queries=tuple(queries),
        unit="s",
        links=(TO_SLO,),
        place=THIRD,
        low=0,
    )


def _heatmap(catalog: Catalog) -> Panel:
    return Panel(
        id=9,
        title="Latency, all requests",
        description="How many requests took how long: each cell counts those of one bucket.",
        kind="heatmap",
        queries=histogram(catalog, RAW),
        unit="s",
        links=(TO_SLO,),
        place=THIRD,
    )


def _share(catalog: Catalog) -> Panel:
    slis = latency_slis(catalog)
    mine = f"{MINE},{slis}" if slis else MINE
    window = half_open(WINDOW)
    failed = f"sum by (sli) (sum_over_time({ERRORS_TILE}{{{mine}}}[{window}]))"
    every = f"sum by (sli) (sum_over_time({TOTAL_TILE}{{{mine}}}[{window}]))"
    return Panel(
        id=10,
        title="Share fast enough",
        description=f"Share of requests of the last {WINDOW} that were faster than the threshold"
        " of an objective of latency; dashed, the share that was promised.",
        kind="timeseries",
        queries=(
            Query("A", f"1 - {failed} / ({every} > 0)", "{{sli}}"),
            Query("B", f"max by (slo) (1 - slo:budget:ratio{{{mine}}})", "promised {{slo}}",
                  role="limit"),
        ),
        unit="percentunit",
        links=(TO_SLO,),
        place=THIRD,
        thresholds=(Threshold(None, "neutral"),),
        high=1,
        may_be_empty="the service has no objective of latency",
    )  # fmt: skip
