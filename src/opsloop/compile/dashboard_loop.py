"""The dashboard Remediation: what the loop does, how well, and whether it can."""

from __future__ import annotations

from opsloop import names
from opsloop.compile import conditions_stack as stack
from opsloop.compile.dashboard_parts import (
    ABOUT,
    DATASOURCE,
    HALF,
    OVERVIEW,
    REMEDIATION,
    SMALL,
    TO_RUNS,
    TO_TARGETS,
    marks,
    to_service,
)
from opsloop.compile.panels import Column, Dashboard, Link, Panel, Query, Row, State, Threshold

ENGINE = f'{{job="{stack.ENGINE}"}}'
NOT_YET = "the loop has not acted yet"


def remediation() -> Dashboard:
    """At most 14 panels."""
    return Dashboard(
        uid=REMEDIATION,
        title="Remediation",
        description="What the loop decided and did, whether that helped, and whether it can act.",
        rows=(
            Row("", (_state(), _open(), _verified(), _heard())),
            Row("Runs", (_runs(), _decisions(), _last(), _duration())),
            Row("The engine", (_latency(), _intake(), _failures(), _memory())),
        ),
        variables=(DATASOURCE,),
        links=(Link("System overview", OVERVIEW),),
        annotations=marks(),
    )


def _state() -> Panel:
    return Panel(
        id=1,
        title="The loop",
        description="Whether the engine acts: paused is the kill switch, off means that no engine"
        " holds the lease or none answers.",
        kind="stat",
        queries=(
            Query(
                "A",
                f"max(opsloop_active{ENGINE} * (1 + opsloop_paused{ENGINE})) or vector(0)",
                "loop",
            ),
        ),
        unit="bool",
        links=(TO_RUNS,),
        place=SMALL,
        states=(State(0, "off", "bad"), State(1, "acts", "good"), State(2, "paused", "warn")),
    )


def _open() -> Panel:
    return Panel(
        id=2,
        title="Open episodes",
        description="Alerts that the loop is at work on, waits with, or has handed to people.",
        kind="stat",
        queries=(
            Query("A", f"sum(opsloop_episodes{ENGINE}) or vector(0)", "episodes"),
            Query("B", f"sum(opsloop_actions_under_way{ENGINE})", "actions now", role="beside"),
        ),
        unit="short",
        links=(TO_RUNS,),
        place=SMALL,
        decimals=0,
        thresholds=(Threshold(None, "good"), Threshold(1, "warn")),
    )


def _verified() -> Panel:
    kept = names.RUNS_KEPT
    return Panel(
        id=3,
        title="Runs that helped",
        description="Share of all ended runs that were verified on fresh data.",
        kind="stat",
        queries=(
            Query(
                "A",
                f'sum({kept}{{state="verified"}} or 0 * {kept})'
                f' / (sum({kept}{{state=~"verified|failed"}}) > 0)',
                "verified",
            ),
            Query("B", f'sum({kept}{{state=~"verified|failed"}})', "runs", role="beside",
                  unit="short"),
        ),
        unit="percentunit",
        links=(TO_RUNS,),
        place=SMALL,
        decimals=0,
        thresholds=(Threshold(None, "bad"), Threshold(0.5, "warn"), Threshold(0.9, "good")),
        low=0,
        high=1,
        may_be_empty=NOT_YET,
    )  # fmt: skip


def _heard() -> Panel:
    heard = f"time() - max({stack.WATCHDOG_HEARD}{ENGINE} > 0)"
    return Panel(
        id=4,
        title="Since Watchdog",
        description="Seconds since the alert that always fires was last heard: the way from"
        " Prometheus over Alertmanager to the engine works.",
        kind="stat",
        queries=(Query("A", heard, "since"),),
        unit="s",
        links=(TO_TARGETS,),
        place=SMALL,
        decimals=0,
        thresholds=(Threshold(None, "good"), Threshold(60, "warn"),
                    Threshold(stack.UNHEARD.seconds, "bad")),
        low=0,
    )  # fmt: skip


def _runs() -> Panel:
    return Panel(
        id=5,
        title="Runs by verdict",
        description="Runs that the store has, by how they ended: each step up is one run.",
        kind="timeseries",
        queries=(Query("A", f"sum by (state) ({names.RUNS_KEPT})", "{{state}}"),),
        unit="short",
        links=(TO_RUNS,),
        place=HALF,
        decimals=0,
        low=0,
        may_be_empty=NOT_YET,
    )


def _decisions() -> Panel:
    counted = f"sum by (kind, guard) (increase(opsloop_decisions_total{ENGINE}[$__rate_interval]))"
    return Panel(
        id=6,
        title="Decisions",
        description="What was decided about episodes, and which guard stopped what was not done.",
        kind="timeseries",
        queries=(Query("A", counted, "{{kind}} {{guard}}"),),
        unit="short",
        links=(TO_RUNS,),
        place=HALF,
        stacked=True,
        low=0,
        may_be_empty=NOT_YET,
    )


def _last() -> Panel:
    newest = f"topk(20, max by ({ABOUT}, policy, state) ({names.LAST_RUN}))"
    return Panel(
        id=7,
        title="Last runs",
        description="When each policy last ended so for a service.",
        kind="table",
        queries=(Query("A", f"time() - {newest}", "{{policy}} {{state}}",
                       instant=True),),
        unit="s",
        links=(TO_RUNS,),
        place=HALF,
        columns=(
            Column("Service", label=ABOUT, link=to_service(f"{{{{{ABOUT}}}}}")),
            Column("Policy", label="policy"),
            Column("Verdict", label="state"),
            Column("Ago", ref="A", unit="s", decimals=0),
        ),
        sort=("Ago", False),
        may_be_empty=NOT_YET,
    )  # fmt: skip


def _duration() -> Panel:
    spent = f"sum by (le, outcome) (rate(opsloop_run_seconds_bucket{ENGINE}[$__rate_interval]))"
    return Panel(
        id=8,
        title="Duration of runs, p95",
        description="From decision to verdict, by verdict.",
        kind="timeseries",
        queries=(Query("A", f"histogram_quantile(0.95, {spent}) >= 0", "{{outcome}}"),),
        unit="s",
        links=(TO_RUNS,),
        place=HALF,
        low=0,
        may_be_empty=NOT_YET,
    )


def _latency() -> Panel:
    def quantile(metric: str) -> str:
        inner = f"sum by (le) (rate({metric}_bucket{ENGINE}[$__rate_interval]))"
        return f"histogram_quantile(0.99, {inner}) >= 0"

    return Panel(
        id=9,
        title="Receipt to action, p99",
        description="How long webhooks wait for their durable answer, and episodes for their first"
        " action.",
        kind="timeseries",
        queries=(
            Query("A", quantile("opsloop_intake_seconds"), "webhook answered"),
            Query("B", quantile("opsloop_intake_to_action_seconds"), "action begun"),
        ),
        unit="s",
        links=(TO_TARGETS,),
        place=HALF,
        low=0,
    )


def _intake() -> Panel:
    counted = f"sum by (outcome) (rate(opsloop_intake_requests_total{ENGINE}[$__rate_interval]))"
    return Panel(
        id=10,
        title="Webhooks",
        description="Webhooks a second by what became of them; all but accepted were refused.",
        kind="timeseries",
        queries=(Query("A", counted, "{{outcome}}"),),
        unit="reqps",
        links=(TO_TARGETS,),
        place=HALF,
        stacked=True,
        low=0,
    )


def _failures() -> Panel:
    found = (
        ("A", "opsloop_errors_total", "errors"),
        ("B", "opsloop_store_errors_total", "store"),
        ("C", "opsloop_post_errors_total", "posts to Alertmanager"),
        ("D", "opsloop_reconcile_errors_total", "reconciling"),
    )
    return Panel(
        id=11,
        title="The engine's own failures",
        description="Failures by where they happened; nothing here means none since it started.",
        kind="timeseries",
        queries=tuple(
            Query(ref, f"sum(increase({metric}{ENGINE}[$__rate_interval]))", name)
            for ref, metric, name in found
        ),
        unit="short",
        links=(TO_TARGETS,),
        place=HALF,
        low=0,
        may_be_empty="the engine has had no failure",
    )


def _memory() -> Panel:
    return Panel(
        id=12,
        title="Memory of the engine",
        description="Memory that the engine's process has; it should stay below 100 MB.",
        kind="timeseries",
        queries=(Query("A", f"sum(process_resident_memory_bytes{ENGINE})", "engine"),),
        unit="bytes",
        links=(TO_TARGETS,),
        place=HALF,
        thresholds=(Threshold(None, "good"), Threshold(100_000_000, "warn")),
        threshold_lines=True,
        low=0,
    )
