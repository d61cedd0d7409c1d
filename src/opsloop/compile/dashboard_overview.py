"""The dashboard System Overview: everything at a glance, the worst first."""

from __future__ import annotations

from typing import Final

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile import dashboard_containers, dashboard_hosts, dashboard_stack
from opsloop.compile.dashboard_parts import (
    ABOUT,
    BUDGET_LEFT,
    DATASOURCE,
    INSTANCE,
    JOB,
    NONE_IS_GOOD,
    OVERVIEW,
    SMALL,
    TARGETS,
    TO_ALERTS,
    TO_OBJECTIVES,
    TO_REMEDIATION,
    TO_RUNS,
    TO_TARGETS,
    UP_STATES,
    WIDE,
    marks,
    target_count,
    to_service,
    within,
)
from opsloop.compile.panels import Column, Dashboard, Panel, Query, Row, State, Threshold
from opsloop.compile.selectors import metrics_of
from opsloop.compile.slo_names import LEFT_RATIO, SLO

STATES: Final = (
    State(0, "fine", "good"),
    State(1, "P2", "info"),
    State(2, "P1", "warn"),
    State(3, "P0", "bad"),
)
SHOWN_RUNS: Final = 5


def system_overview(catalog: Catalog, docker: bool) -> Dashboard:
    """At most 16 panels. docker: there are containers to tell of."""
    rows = [
        Row("", (_targets(), _firing(), *_worst_budget(catalog), _last_runs())),
        Row("Services", (*_services(catalog), _timeline(catalog))),
    ]
    machines = dashboard_hosts.panels(catalog) if catalog.hosts else ()
    if docker:
        machines = (*machines, dashboard_containers.summary(12))
    if machines:
        rows.append(Row("Machines", machines))
    rows.append(Row("The stack itself", dashboard_stack.panels(catalog)))
    return Dashboard(
        uid=OVERVIEW,
        title="System Overview",
        description="What is up, what fires, how services, machines and the stack itself do.",
        rows=tuple(rows),
        variables=(DATASOURCE, JOB, INSTANCE),
        links=(TO_OBJECTIVES, TO_REMEDIATION),
        annotations=marks(),
    )


def _targets() -> Panel:
    return Panel(
        id=1,
        title="Targets up",
        description="The share of all that Prometheus scrapes that answers, and how many of how"
        " many that is.",
        kind="stat",
        queries=(
            Query("A", f"avg(up{{{TARGETS}}})", "up"),
            Query("B", f"sum(up{{{TARGETS}}})", "answer", role="beside", unit="short"),
            Query("C", f"count(up{{{TARGETS}}})", "in all", role="beside", unit="short"),
        ),
        unit="percentunit",
        links=(TO_TARGETS,),
        place=SMALL,
        decimals=0,
        thresholds=(Threshold(None, "bad"), Threshold(0.9, "warn"), Threshold(1, "good")),
        low=0,
        high=1,
    )


def _firing() -> Panel:
    return Panel(
        id=2,
        title="Firing alerts",
        description="Alerts that fire now, by severity: P0 wakes people, P1 is for today, P2 for"
        " this week.",
        kind="stat",
        queries=tuple(
            Query(
                ref,
                f'count(ALERTS{{alertstate="firing",{names.SEVERITY}="{severity}"}}) or vector(0)',
                severity,
            )
            for ref, severity in zip("ABC", names.SEVERITIES, strict=True)
        ),
        unit="short",
        links=(TO_ALERTS,),
        place=SMALL,
        decimals=0,
        thresholds=NONE_IS_GOOD,
    )


def _worst_budget(catalog: Catalog) -> tuple[Panel, ...]:
    if not any(s.slos for s in catalog.services.values()):
        return ()
    by = f"{names.SERVICE}, {SLO}"
    return (
        Panel(
            id=3,
            title="Worst error budget",
            description="The objective that has least of its budget left; below zero the promise"
            " is broken.",
            kind="stat",
            queries=(
                Query("A", f"bottomk(1, max by ({by}) ({LEFT_RATIO}))", "{{service}} {{slo}}",
                      instant=True),
            ),
            unit="percentunit",
            links=(TO_OBJECTIVES,),
            place=SMALL,
            decimals=1,
            thresholds=BUDGET_LEFT,
            may_be_empty="a budget is known some minutes after the first events",
        ),
    )  # fmt: skip


def _last_runs() -> Panel:
    newest = f"topk({SHOWN_RUNS}, max by ({ABOUT}, policy, state) ({names.LAST_RUN}))"
    return Panel(
        id=4,
        title="Last runs",
        description="What the loop did last, how that ended, and how long ago.",
        kind="table",
        queries=(Query("A", f"time() - {newest}", "{{policy}} {{state}}",
                       instant=True),),
        unit="s",
        links=(TO_RUNS, TO_REMEDIATION),
        place=SMALL,
        columns=(
            Column("Service", label=ABOUT, link=to_service(f"{{{{{ABOUT}}}}}")),
            Column("Policy", label="policy"),
            Column("Verdict", label="state"),
            Column("Ago", ref="A", unit="s", decimals=0),
        ),
        sort=("Ago", False),
        may_be_empty="the loop has not acted yet",
    )  # fmt: skip


def _services(catalog: Catalog) -> tuple[Panel, ...]:
    if not catalog.services:
        return ()
    known, count = "service:up:ratio", len(catalog.services)
    firing = 'ALERTS{alertstate="firing",severity="%s"}'
    state = (
        f"max by (service) (\n  3 * {firing % 'P0'}\n  or 2 * {firing % 'P1'}\n"
        f"  or {firing % 'P2'}\n  or 0 * {known}\n)\nand on (service) {known}"
    )
    failed = f"max by (service) ({names.ERROR_RATIO})"
    rank = f"(\n{state}\n)"
    if any(metrics_of(catalog, s).errors for s in catalog.services):
        rank += f" + on (service) (0.9 * {failed} or 0 * max by (service) ({known}))"

    def shown(expr: str) -> str:
        return within(expr, rank, "service", count)

    queries = (
        ("A", shown(state), "state"),
        ("B", shown(f"sum by (service) ({names.REQUEST_RATE})"), "rate"),
        ("C", shown(failed), "errors"),
        ("D", shown(f"max by (service) ({names.LATENCY_P95})"), "p95"),
        ("E", shown(f"min by (service) ({LEFT_RATIO})"), "budget left"),
    )
    return (
        Panel(
            id=5,
            title="Services, worst first",
            description="Each service with its worst firing alert, requests a second, share of"
            " failures, 95th percentile of latency, and the least budget left of its objectives.",
            kind="table",
            queries=tuple(Query(r, e, f"{{{{service}}}} {n}", instant=True) for r, e, n in queries),
            unit="short",
            links=(TO_OBJECTIVES,),
            place=WIDE,
            columns=(
                Column("Service", label="service", link=to_service("{{service}}")),
                Column("State", ref="A", unit="bool", states=STATES),
                Column("Rate", ref="B", unit="reqps", decimals=1),
                Column("Errors", ref="C", unit="percentunit", decimals=2),
                Column("p95", ref="D", unit="s", decimals=3),
                Column("Budget left", ref="E", unit="percentunit", decimals=1,
                       thresholds=BUDGET_LEFT),
            ),
            sort=("State", True),
        ),
    )  # fmt: skip


def _timeline(catalog: Catalog) -> Panel:
    up = f"up{{{TARGETS}}}"
    expr = f"min by (job, service, instance) ({up})"
    by = "job, service, instance"
    rank = f"1 - min by ({by}) (up{{{TARGETS}}} @ end())"
    return Panel(
        id=6,
        title="Up and down",
        description="When each target answered. Of more than fifty, those that are down now come"
        " first.",
        kind="state-timeline",
        queries=(Query("A", within(expr, rank, by, target_count(catalog)),
                       "{{service}} {{instance}}"),),
        unit="bool",
        links=(TO_TARGETS, to_service("{{service}}")),
        place=WIDE,
        states=UP_STATES,
        low=0,
        high=1,
    )  # fmt: skip
