"""Every alert leads to a dashboard that is there, with what it is about chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from opsloop.catalog.model import Catalog
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.options import Options
from tests.compile import catalogs

TEXTS = {
    "minimal": catalogs.MINIMAL,
    "without policies": catalogs.NO_POLICIES,
    "everything": catalogs.EVERYTHING,
}


def catalog_named(name: str, folder: Path) -> Catalog:
    return catalogs.shop() if name == "shop" else catalogs.catalog_of(TEXTS[name], folder)


def alerts(files: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for path, text in files.items():
        if path.startswith("prometheus/rules/"):
            for group in yaml.safe_load(text)["groups"]:
                yield from (r for r in group["rules"] if "alert" in r)


@pytest.mark.parametrize("name", ["shop", *TEXTS])
def test_each_alert_has_a_dashboard(name: str, tmp_path: Path) -> None:
    catalog = catalog_named(name, tmp_path)
    variables = {d.uid: {v.name for v in d.variables} for d in dashboards_of(catalog)}
    files = compile_catalog(catalog, Options()).files
    console = (catalog.stack.console_url or "http://127.0.0.1:8080").rstrip("/")
    seen = set()
    for alert in alerts(files):
        link = alert["annotations"]["dashboard"]
        base, _, uid = link.partition("?")[0].rpartition("/")
        assert base == f"{console}/dashboards", alert["alert"]
        assert uid in variables, alert["alert"]
        chosen = parse_qs(urlsplit(link).query)
        assert {f"var-{v}" for v in variables[uid]} >= set(chosen), alert["alert"]
        seen.add(uid)
    assert {"opsloop-overview", "opsloop-signals", "opsloop-remediation"} <= seen


def test_the_subject_is_chosen() -> None:
    by_name = {a["alert"]: a["annotations"]["dashboard"] for a in alerts(catalogs.compiled_shop())}
    assert by_name["HighLatency"].endswith("/opsloop-signals?var-service={{ $labels.service }}")
    assert by_name["SLOBudgetExhausted"].endswith(
        "/opsloop-slo?var-service={{ $labels.service }}&var-slo={{ $labels.slo }}"
    )
    assert by_name["DiskFull"].endswith("/opsloop-overview?var-instance={{ $labels.instance }}")
    assert by_name["EngineDown"].endswith("/opsloop-remediation")


def test_with_a_grafana_they_lead_there() -> None:
    shop = catalogs.shop()
    stack = shop.stack.model_copy(update={"grafana_url": "https://grafana.example.org/"})
    files = compile_catalog(shop.model_copy(update={"stack": stack}), Options()).files
    for alert in alerts(files):
        link = alert["annotations"]["dashboard"]
        assert link.startswith("https://grafana.example.org/d/opsloop-"), link
