"""On a running stack with the shop every panel has data, within its limits, nothing is NaN, and
the console shows what Prometheus says.

Twice: as soon as targets are scraped, and (which takes minutes) with the first error budgets.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from opsloop.catalog.units import Duration
from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.panels import MOST_SERIES, Dashboard, Panel, Query
from opsloop.compile.panelvars import ALL, Values, substituted, timing
from opsloop.settings import Ports
from opsloop.stack.ready import Http
from opsloop.stack.secrets import scrape_password
from opsloop.web.panels import CHARTS
from tests.compile import catalogs, promql_tree
from tests.compile.console_values import Console, Samples
from tests.drills.whole import PROGRAMS, Stack, whole_stack
from tests.support.servers import require
from tests.support.wait import wait_until

SOON, LATER = "as soon as it is scraped", "with the first budgets"
STEP_S, RANGE_S = 5.0, 900.0
VARIABLES = {"service": "api", "slo": "availability", "job": ALL, "instance": ALL}
SETTLED_S = 6.0  # after so long a scrape has ended, and every rule has recorded its value
# Series that a healthy demo has not, and why.
ABSENT = {
    "node_pressure_cpu_waiting_seconds_total": "the kernel may tell no pressure",
    "node_pressure_memory_waiting_seconds_total": "the kernel may tell no pressure",
    "opsloop_episodes": "no episode is open",
    "opsloop_decisions_total": "nothing was decided yet",
    "opsloop_errors_total": "the engine had no failure",
    "opsloop_store_errors_total": "the engine had no failure",
    "opsloop_post_errors_total": "the engine had no failure",
    "opsloop_reconcile_errors_total": "the engine had no failure",
    "opsloop_run_seconds_bucket": "the loop has not acted yet",
    "opsloop_intake_to_action_seconds_bucket": "the loop has not acted yet",
    "opsloop_runs_kept": "the loop has not acted yet",
    "opsloop_last_run_timestamp_seconds": "the loop has not acted yet",
    "opsloop_annotation_timestamp_seconds": "nobody marked anything",
    "slo:exhaustion:seconds": "no budget will be spent at the present burn",
}
# Queries without a value on a healthy demo: (dashboard, panel, query) -> why.
EMPTY = {
    ("opsloop-overview", 8, "B"): "the machine may have no swap",
    ("opsloop-overview", 9, "C"): "no disk fills up",
    ("opsloop-slo", 4, "F"): "no budget will be spent at the present burn",
    ("opsloop-signals", 5, "B"): "the shop redirects nobody",
    ("opsloop-signals", 5, "C"): "no client of the shop is at fault",
    ("opsloop-signals", 11, "C"): "this service is no database",
    ("opsloop-remediation", 9, "B"): "the loop has not acted yet",
}


class Prometheus:
    """Questions to the stack's own. late: whether it has error budgets by now."""

    def __init__(self, stack: Stack, late: bool) -> None:
        self.http = Http(scrape_password(stack.state / "secrets"), timeout_s=20)
        self.ports = Ports(stack.port_base)
        self._base = f"http://127.0.0.1:{self.ports.prometheus}/api/v1"
        self.late = late

    def ask(self, path: str, **values: Any) -> Any:
        answer = self.http.json(f"{self._base}/{path}?{urlencode(values)}", protected=True)
        assert answer["status"] == "success"
        return answer["data"]

    def close(self) -> None:
        self.http.close()


class Asked(NamedTuple):
    dashboard: Dashboard
    panel: Panel
    query: Query
    values: Values

    @property
    def where(self) -> tuple[str, int, str]:
        return self.dashboard.uid, self.panel.id, self.query.ref


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SOON, marks=pytest.mark.full),
        pytest.param(LATER, marks=pytest.mark.long),
    ],
)
def prometheus(request: pytest.FixtureRequest) -> Iterator[Prometheus]:
    for program in PROGRAMS:
        require(*program)
    with whole_stack() as stack:
        found = Prometheus(stack, request.param == LATER)
        try:
            if found.late:
                # A budget needs closed minutes, and its rules run every two minutes.
                wait_until(
                    lambda: found.ask("query", query="slo:budget_left:ratio")["result"],
                    "the first budgets",
                    deadline=420,
                    interval=2,
                )
            yield found
        finally:
            found.close()


def asked() -> list[Asked]:
    catalog = catalogs.shop()
    scrape = Duration(5_000)
    return [
        Asked(d, p, q, {**VARIABLES, **timing(STEP_S, RANGE_S, scrape)})
        for d in dashboards_of(catalog)
        for p in d.panels
        for q in p.queries
    ]


def series(prometheus: Prometheus, one: Asked) -> list[tuple[dict[str, str], list[float]]]:
    """(labels, values) of each series that it gives now."""
    text, now = one.query.text(one.values), time.time()
    if one.query.instant:
        data = prometheus.ask("query", query=text, time=now)
        return [(s["metric"], [float(s["value"][1])]) for s in data["result"]]
    spread = {"start": now - RANGE_S, "end": now, "step": STEP_S}
    data = prometheus.ask("query_range", query=text, **spread)
    return [(s["metric"], [float(v) for _, v in s["values"]]) for s in data["result"]]


def test_every_panel_has_data_within_its_limits(prometheus: Prometheus) -> None:
    # A rate needs two scrapes, and what is recorded an evaluation after them.
    wait_until(lambda: not _lacking(prometheus), "every panel has data", deadline=120, interval=2)
    wrong: list[str] = []
    for one in asked():
        found = series(prometheus, one)
        place = " ".join(map(str, one.where))
        if len(found) > MOST_SERIES:
            wrong.append(f"{place}: {len(found)} series")
        for labels, values in found:
            if not all(map(math.isfinite, values)):
                wrong.append(f"{place}: {labels} is not finite")
            if not one.query.name(labels).strip():
                wrong.append(f"{place}: {labels} has no name")
    assert wrong == []


def _lacking(prometheus: Prometheus) -> list[str]:
    """Queries that should have a value and have none."""
    return [
        f"{one.where}: no data: {one.query.text(one.values)}"
        for one in asked()
        if one.query.role in ("value", "limit")
        and not one.panel.may_be_empty
        and one.where not in EMPTY
        and not _absent(one, prometheus)
        and not series(prometheus, one)
    ]


def _absent(one: Asked, prometheus: Prometheus) -> bool:
    """Whether it asks for what a healthy demo has not, or not yet."""
    return any(
        u.metric in ABSENT or (not prometheus.late and u.metric.startswith("slo:"))
        for u in promql_tree.uses(promql_tree.parsed(one.query.expr))
    )


def test_the_console_shows_what_prometheus_says(prometheus: Prometheus) -> None:
    """Of each panel every raw value and every point, both evaluated at the same times."""
    end = time.time() // STEP_S * STEP_S
    wait_until(lambda: time.time() > end + SETTLED_S, "all that is of that moment is stored")
    url = f"http://127.0.0.1:{prometheus.ports.console}"
    console = Console(prometheus.http, url, end - RANGE_S, end)
    compared = Counter[str]()
    for dashboard in dashboards_of(catalogs.shop()):
        chosen = {v.name: VARIABLES[v.name] for v in dashboard.variables if v.kind == "values"}
        for panel in dashboard.panels:
            where = f"{dashboard.uid} {panel.id} {panel.title}"
            ours = [a for a in asked() if a.where[:2] == (dashboard.uid, panel.id)]
            told = console.raw(dashboard.uid, panel.id, chosen)
            assert [text for text, _ in told] == [a.query.text(a.values) for a in ours], where
            for one, (text, shown) in zip(ours, told, strict=True):
                direct = prometheus.ask("query", query=text, time=end)
                assert shown == _samples(direct), (where, one.query.ref)
                compared["values"] += len(shown)
            if panel.kind in CHARTS:
                drawn = console.chart(dashboard.uid, panel.id, chosen)
                points = [p for a in ours for p in _points(prometheus, a, end)]
                assert [(s["name"], s["v"]) for s in drawn["series"]] == points, where
                compared["points"] += sum(v is not None for _, vs in points for v in vs)
    assert compared["values"] > 50
    assert compared["points"] > 50


def _samples(data: Any) -> Samples:
    if data["resultType"] == "scalar":
        return {(): repr(float(data["result"][1]))}
    return {
        tuple(sorted(s["metric"].items())): repr(float(s["value"][1]))
        for s in data["result"]
        if not math.isnan(float(s["value"][1]))
    }


def _points(prometheus: Prometheus, one: Asked, end: float) -> list[tuple[str, list[float | None]]]:
    """(name, value at each step) of each series, to the six digits that a picture can show."""
    if one.query.instant:
        return []
    spread = {"start": end - RANGE_S, "end": end, "step": STEP_S}
    data = prometheus.ask("query_range", query=one.query.text(one.values), **spread)
    rows = []
    for s in data["result"]:
        at = {float(moment): float(value) for moment, value in s["values"]}
        values = [at.get(end - RANGE_S + i * STEP_S) for i in range(round(RANGE_S / STEP_S) + 1)]
        kept = [float(f"{v:.6g}") if v is not None and math.isfinite(v) else None for v in values]
        if any(v is not None for v in kept):
            rows.append((one.query.name(s["metric"]) or one.query.ref, kept))
    return rows


def test_every_metric_exists(prometheus: Prometheus) -> None:
    known = set(prometheus.ask("label/__name__/values"))
    named = {
        use.metric
        for one in asked()
        for use in promql_tree.uses(promql_tree.parsed(one.query.expr))
        if use.metric and not one.panel.may_be_empty
    }
    if not prometheus.late:
        named = {n for n in named if not n.startswith("slo:")}
    assert named - known - set(ABSENT) == set()


def test_every_variable_has_values(prometheus: Prometheus) -> None:
    for dashboard in dashboards_of(catalogs.shop()):
        chosen: dict[str, str | list[str]] = {}
        for variable in dashboard.variables:
            if variable.kind != "values":
                continue
            match = substituted(variable.selector, chosen)
            path = f"label/{variable.label}/values"
            # What is recorded is there after the first evaluation.
            values = wait_until(
                partial(prometheus.ask, path, **{"match[]": match}),
                f"{dashboard.uid} ${variable.name}: {match}",
            )
            chosen[variable.name] = ALL if variable.multi else values[0]


def test_an_idle_service_shows_no_nan(prometheus: Prometheus) -> None:
    """The database has no requests, and a service that is not there has nothing at all."""
    for one in asked():
        for service in ("database", "nobody"):
            quiet = one._replace(values={**one.values, "service": service})
            for labels, values in series(prometheus, quiet):
                assert all(map(math.isfinite, values)), (one.where, service, labels)
