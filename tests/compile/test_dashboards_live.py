"""On a running stack with the shop every panel has data, within its limits, and nothing is NaN."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
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
from tests.compile import catalogs, promql_tree
from tests.drills.whole import PROGRAMS, Stack, whole_stack
from tests.support.servers import require
from tests.support.wait import wait_until

pytestmark = pytest.mark.long
STEP_S, RANGE_S = 15.0, 900.0
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
    """Questions to the stack's own."""

    def __init__(self, stack: Stack) -> None:
        self._http = Http(scrape_password(stack.state / "secrets"), timeout_s=20)
        self._base = f"http://127.0.0.1:{Ports(stack.port_base).prometheus}/api/v1"

    def ask(self, path: str, **values: Any) -> Any:
        answer = self._http.json(f"{self._base}/{path}?{urlencode(values)}", protected=True)
        assert answer["status"] == "success"
        return answer["data"]

    def close(self) -> None:
        self._http.close()


class Asked(NamedTuple):
    dashboard: Dashboard
    panel: Panel
    query: Query
    values: Values

    @property
    def where(self) -> tuple[str, int, str]:
        return self.dashboard.uid, self.panel.id, self.query.ref


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    for program in PROGRAMS:
        require(*program)
    with whole_stack() as stack:
        found = Prometheus(stack)
        try:
            # The slowest: a budget needs closed minutes, and its rules run every two minutes.
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
    values = {"service": "api", "slo": "availability", "job": ALL, "instance": ALL}
    return [
        Asked(d, p, q, {**values, **timing(STEP_S, RANGE_S, scrape)})
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
    wrong: list[str] = []
    for one in asked():
        found = series(prometheus, one)
        place = " ".join(map(str, one.where))
        expected = one.query.role in ("value", "limit") and not one.panel.may_be_empty
        if expected and not found and one.where not in EMPTY and not _absent(one):
            wrong.append(f"{place}: no data: {one.query.text(one.values)}")
        if len(found) > MOST_SERIES:
            wrong.append(f"{place}: {len(found)} series")
        for labels, values in found:
            if not all(map(math.isfinite, values)):
                wrong.append(f"{place}: {labels} is not finite")
            if not one.query.name(labels).strip():
                wrong.append(f"{place}: {labels} has no name")
    assert wrong == []


def _absent(one: Asked) -> bool:
    return any(u.metric in ABSENT for u in promql_tree.uses(promql_tree.parsed(one.query.expr)))


def test_every_metric_exists(prometheus: Prometheus) -> None:
    known = set(prometheus.ask("label/__name__/values"))
    named = {
        use.metric
        for one in asked()
        for use in promql_tree.uses(promql_tree.parsed(one.query.expr))
        if use.metric and not one.panel.may_be_empty
    }
    assert named - known - set(ABSENT) == set()


def test_every_variable_has_values(prometheus: Prometheus) -> None:
    for dashboard in dashboards_of(catalogs.shop()):
        chosen: dict[str, str | list[str]] = {}
        for variable in dashboard.variables:
            if variable.kind != "values":
                continue
            match = substituted(variable.selector, chosen)
            path = f"label/{variable.label}/values"
            values = prometheus.ask(path, **{"match[]": match})
            assert values, f"{dashboard.uid} ${variable.name}: {match}"
            chosen[variable.name] = ALL if variable.multi else values[0]


def test_an_idle_service_shows_no_nan(prometheus: Prometheus) -> None:
    """The database has no requests, and a service that is not there has nothing at all."""
    for one in asked():
        for service in ("database", "nobody"):
            quiet = one._replace(values={**one.values, "service": service})
            for labels, values in series(prometheus, quiet):
                assert all(map(math.isfinite, values)), (one.where, service, labels)
