"""The dashboards of every kind of catalog keep every rule, and a broken one does not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsloop.catalog.model import Catalog
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.dashboard_parts import target_count
from opsloop.compile.dashboard_recorded import recorded
from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.options import Options
from opsloop.compile.panels import Dashboard, Link, Panel, Place, Query, Row, Threshold
from opsloop.compile.panelvars import Variable
from tests.compile import catalogs
from tests.compile.panel_checks import World, faults

TEXTS = {
    "minimal": catalogs.MINIMAL,
    "without policies": catalogs.NO_POLICIES,
    "everything": catalogs.EVERYTHING,
    "500 services": catalogs.many(500),
    "several objectives": catalogs.SEVERAL,
    "containers": catalogs.MINIMAL.replace("stack:\n", "stack:\n  runtime: docker\n"),
}
SIGNALS = "opsloop-signals"
Dashboards = tuple[Dashboard, ...]
Change = Callable[[Sequence[Dashboard]], Dashboards]
# Labels whose values do not grow with what is watched.
FIXED = {"severity": 3, "state": 7, "outcome": 3, "le": 30, "window": 8, "job": 1e9}


def catalog_named(name: str, folder: Path) -> Catalog:
    return catalogs.shop() if name == "shop" else catalogs.catalog_of(TEXTS[name], folder)


def world_of(catalog: Catalog) -> World:
    files = compile_catalog(catalog, Options()).files
    rules = [
        rule
        for path, text in files.items()
        if path.startswith("prometheus/rules/")
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]
    services = catalog.services.values()
    slos = max((len(s.slos) for s in services), default=0)
    hosts = sum(max(1, len(h.targets.static)) for h in catalog.hosts.values())
    listed = all(not h.targets.files for h in catalog.hosts.values())
    targets = target_count(catalog)
    sizes = {
        **FIXED,
        "service": max(1, len(services)),
        "slo": slos,
        "sli": slos,
        "objective": 1,
        "period": 1,
        "policy": max(1, len(catalog.remediation.policies)),
        "kind": 4,
        "guard": 12,
    }
    sizes["host"] = hosts if listed else math.inf
    sizes["instance"] = math.inf if targets is None else targets
    return World(frozenset(r["record"] for r in rules if "record" in r), sizes)


@pytest.mark.parametrize("name", ["shop", *TEXTS])
def test_every_rule_is_kept(name: str, tmp_path: Path) -> None:
    catalog = catalog_named(name, tmp_path)
    world = world_of(catalog)
    assert recorded(catalog) == world.recorded
    assert faults(dashboards_of(catalog), world) == []


def with_panel(dashboards: Sequence[Dashboard], uid: str, number: int, **new: Any) -> Dashboards:
    """The same with another panel in one place; a value that is a function gets the old one."""

    def changed(panel: Panel) -> Panel:
        if panel.id != number:
            return panel
        values = {k: v(getattr(panel, k)) if callable(v) else v for k, v in new.items()}
        return replace(panel, **values)

    return tuple(
        d
        if d.uid != uid
        else replace(
            d, rows=tuple(Row(r.title, tuple(changed(p) for p in r.panels)) for r in d.rows)
        )
        for d in dashboards
    )


def asks(expr: str, legend: str = "x", **more: Any) -> Change:
    """The first panel of the golden signals asks this in the place of its first query."""
    return lambda found: with_panel(found, SIGNALS, 1, queries=(Query("A", expr, legend),), **more)


def of_signals(**new: Any) -> Change:
    return lambda found: with_panel(found, SIGNALS, 1, **new)


def whole(**new: Any) -> Change:
    """The golden signals with something else; a value that is a function gets the old one."""

    def change(found: Sequence[Dashboard]) -> Dashboards:
        return tuple(
            replace(d, **{k: v(getattr(d, k)) if callable(v) else v for k, v in new.items()})
            if d.uid == SIGNALS
            else d
            for d in found
        )

    return change


RAW = 'http_requests_total{service="$service",job=~"$job",instance=~"$instance"}'
BUCKET = RAW.replace("requests_total", "request_duration_seconds_bucket")
CHANGES: dict[str, tuple[str, Change]] = {
    "two dashboards of one uid": ("uid-unique", lambda found: (*found, found[0])),
    "no description": ("dashboard-title-description", whole(description="")),
    "no title of a panel": ("panel-title-description-rule", of_signals(title=" ")),
    "a description of a word": ("panel-title-description-rule", of_signals(description="x")),
    "two panels of one id": ("panel-id-unique", of_signals(id=2)),
    "no query": ("panel-no-targets-rule", of_signals(queries=())),
    "two queries of one letter": ("ref-id-unique", of_signals(queries=lambda q: (q[0], q[0]))),
    "no link": ("panel-link", of_signals(links=())),
    "a link to nowhere": ("link-resolves", of_signals(links=(Link("x", "gone"),))),
    "a link with a variable that is not there": (
        "link-resolves",
        of_signals(links=(Link("x", "opsloop-overview", passes=(("service", "$service"),)),)),
    ),
    "a link without a variable of here": (
        "link-resolves",
        of_signals(links=(Link("x", SIGNALS, passes=(("service", "$slo"),)),)),
    ),
    "panels over each other": ("grid", of_signals(place=Place(3, 0, 6, 4))),
    "a panel beside the grid": ("grid", of_signals(place=Place(20, 0, 6, 4))),
    "no data source to choose": (
        "template-datasource-rule",
        whole(variables=lambda v: v[1:]),
    ),
    "a variable that nobody declared": (
        "variable-declared",
        asks('max(service:requests:rate1m{service="$svc"})'),
    ),
    "a variable that nobody uses": (
        "variable-used",
        whole(variables=lambda v: (*v, Variable("team", "Team", selector="up", label="team"))),
    ),
    "a variable before what it needs": (
        "variable-order",
        whole(variables=lambda v: (v[0], v[2], v[1], v[3])),
    ),
    "a variable without a question": (
        "template-label-promql-rule",
        whole(variables=lambda v: (*v[:-1], replace(v[-1], label=""))),
    ),
    "no job to choose": ("template-job-rule", whole(variables=lambda v: (v[0], v[1], v[3]))),
    "no instance to choose": ("template-instance-rule", whole(variables=lambda v: v[:3])),
    "an instance without its job": (
        "target-job-rule",
        asks('max(process_open_fds{instance=~"$instance"})', unit="short"),
    ),
    "no PromQL": ("target-promql-rule", asks("max(up")),
    "a series that nobody records": ("metric-known", asks("max(service:request:rate1m)")),
    "a unit that there is not": ("panel-units-rule", of_signals(unit="furlongs")),
    "seconds as a rate": ("unit-family", asks("max(service:latency_seconds:p95_rate1m)")),
    "a rate of bytes as one of requests": (
        "unit-family",
        asks(f"sum(rate({RAW.replace('http_requests', 'sent_bytes')}[$__rate_interval]))"),
    ),
    "seconds added to bytes": (
        "unit-family",
        asks("max(process_resident_memory_bytes) + max(node_time_seconds)"),
    ),
    "a counter as it is": ("target-counter-agg-rule", asks(f"sum({RAW})", unit="short")),
    "a rate over a fixed time": ("target-rate-interval-rule", asks(f"sum(rate({RAW}[5m]))")),
    "buckets summed to one": (
        "le-kept",
        asks(f"sum by (service) (rate({BUCKET}[$__rate_interval]))"),
    ),
    "a quantile of nothing": (
        "no-nan",
        asks(f"histogram_quantile(0.9, sum by (le) (rate({BUCKET}[$__rate_interval])))", unit="s"),
    ),
    "a share of nothing": (
        "no-nan",
        asks("max(service:errors:rate1m / service:requests:rate1m)", unit="percentunit"),
    ),
    "thresholds that fall": (
        "thresholds-ascending",
        of_signals(thresholds=(Threshold(None, "good"), Threshold(2, "bad"), Threshold(1, "warn"))),
    ),
    "thresholds without a beginning": (
        "thresholds-ascending",
        of_signals(thresholds=(Threshold(0, "good"),)),
    ),
    "a legend of a label that is gone": (
        "legend-labels",
        asks("max(service:requests:rate1m)", "{{service}}"),
    ),
    "a legend of raw series": ("legend-labels", asks("node_load1", "{{host}}", unit="short")),
    "no legend": ("legend-labels", asks("max(service:requests:rate1m)", "")),
    "a line for each instance and route": (
        "most-series",
        asks("sum by (instance, route) (service:requests:rate1m)", "{{route}}"),
    ),
    "a table sorted by nothing": (
        "table-columns",
        lambda found: with_panel(found, "opsloop-overview", 5, sort=("Nothing", True)),
    ),
    "a table without one of its columns": (
        "table-columns",
        lambda found: with_panel(found, "opsloop-overview", 5, columns=lambda c: c[:-1]),
    ),
    "seventeen panels": (
        "dashboard-size",
        whole(rows=lambda rows: (*rows, Row("more", rows[0].panels))),
    ),
}


@pytest.fixture(scope="module")
def shop() -> tuple[Dashboards, World]:
    catalog = catalogs.shop()
    return dashboards_of(catalog), world_of(catalog)


@pytest.mark.parametrize("change", CHANGES)
def test_a_broken_dashboard_is_noticed(change: str, shop: tuple[Dashboards, World]) -> None:
    dashboards, world = shop
    rule, make = CHANGES[change]
    found = faults(make(dashboards), world)
    assert rule in {f.rule for f in found}, found


def test_every_rule_has_a_broken_dashboard() -> None:
    """A rule that no change breaks may hold nothing."""
    source = (Path(__file__).with_name("panel_checks.py")).read_text()
    named = set(re.findall(r'yield "([a-z-]+)"', source)) | {"uid-unique", "target-promql-rule"}
    named |= {"template-job-rule", "template-instance-rule"}
    assert named == {rule for rule, _ in CHANGES.values()}
