"""Panels about the monitoring itself: does it see, evaluate, store and tell."""

from __future__ import annotations

from opsloop.catalog.model import Catalog
from opsloop.compile import conditions_stack as stack
from opsloop.compile.dashboard_parts import NONE_IS_GOOD, THIRD, TO_INBOX, TO_TARGETS
from opsloop.compile.panels import Panel, Query, Threshold

SHOWN = 10


def panels(catalog: Catalog) -> tuple[Panel, ...]:
    """Of this stack's own parts; their jobs are fixed."""
    return (_scrapes(catalog), _failures(), _head())


def _scrapes(catalog: Catalog) -> Panel:
    timeout = catalog.stack.effective_scrape_timeout.seconds
    slowest = f'topk({SHOWN}, max by (job) (scrape_duration_seconds{{job=~"$job"}} @ end()))'
    shown = f'max by (job) (scrape_duration_seconds{{job=~"$job"}})\nand on (job)\n{slowest}'
    return Panel(
        id=14,
        title="Scrape duration",
        description=f"The {SHOWN} jobs that take longest to scrape; the line is where ScrapeSlow"
        " fires for the usual time-out.",
        kind="timeseries",
        queries=(Query("A", shown, "{{job}}"),),
        unit="s",
        links=(TO_TARGETS,),
        place=THIRD,
        thresholds=(Threshold(None, "good"), Threshold(round(stack.SLOW * timeout, 6), "bad")),
        threshold_lines=True,
        low=0,
    )


def _failures() -> Panel:
    def count(metric: str, job: str) -> str:
        return f'sum(increase({metric}{{job="{job}"}}[$__rate_interval]))'

    failed = (
        ("A", count(stack.RULE_FAILURES, stack.PROMETHEUS), "rules failed"),
        ("B", count(stack.TURNS_MISSED, stack.PROMETHEUS), "rule turns missed"),
        ("C", count(stack.ALERTS_DROPPED, stack.PROMETHEUS), "alerts not sent"),
        ("D", count(stack.MESSAGES_FAILED, stack.ALERTMANAGER), "notifications failed"),
    )
    return Panel(
        id=15,
        title="Failures",
        description="Rules that failed or fell behind, alerts that Alertmanager did not get, and"
        " notifications that nobody got, since the point before.",
        kind="timeseries",
        queries=tuple(Query(ref, expr, name) for ref, expr, name in failed),
        unit="short",
        links=(TO_INBOX, TO_TARGETS),
        place=THIRD,
        thresholds=NONE_IS_GOOD,
        decimals=0,
        low=0,
    )


def _head() -> Panel:
    heard = f'time() - max({stack.WATCHDOG_HEARD}{{job="{stack.ENGINE}"}} > 0)'
    return Panel(
        id=16,
        title="Watchdog and head",
        description="Seconds since the engine last heard the Watchdog alert, which shows that the"
        " whole way from Prometheus to the engine works; and the series that Prometheus has in"
        " memory.",
        kind="stat",
        queries=(
            Query("A", heard, "since Watchdog"),
            Query("B", f'sum(prometheus_tsdb_head_series{{job="{stack.PROMETHEUS}"}})', "series",
                  role="beside", unit="short"),
        ),
        unit="s",
        links=(TO_TARGETS,),
        place=THIRD,
        decimals=0,
        thresholds=(Threshold(None, "good"), Threshold(60, "warn"),
                    Threshold(stack.UNHEARD.seconds, "bad")),
        low=0,
    )  # fmt: skip
