"""What Grafana gets: JSON of its own types, with nothing hidden, and provisioning that fits it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard as Model

from opsloop.compile.bundle import compile_catalog
from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.options import Options
from opsloop.compile.panels import FAMILIES
from opsloop.settings import Ports
from tests.compile import catalogs

Json = dict[str, Any]


@pytest.fixture(scope="module")
def files() -> Mapping[str, str]:
    return catalogs.compiled_shop()


@pytest.fixture(scope="module")
def made(files: Mapping[str, str]) -> list[Json]:
    return [json.loads(t) for p, t in files.items() if p.endswith(".json") and "/dashboards/" in p]


def everything(value: Any) -> Iterator[Json]:
    """Every object below, itself among them."""
    if isinstance(value, dict):
        yield value
        for below in value.values():
            yield from everything(below)
    elif isinstance(value, list):
        for below in value:
            yield from everything(below)


def without_placement(value: Any) -> Any:
    """Links and annotations read back are hidden in a menu again, whatever the text said."""
    if isinstance(value, dict):
        return {
            k: without_placement(v)
            for k, v in value.items()
            if (k, v) != ("placement", "inControlsMenu")
        }
    return [without_placement(v) for v in value] if isinstance(value, list) else value


def test_grafanas_own_types_read_them_back(made: list[Json]) -> None:
    register_default_plugins()
    assert len(made) == 4
    for one in made:
        again = json.loads(json.dumps(Model.from_json(one), cls=JSONEncoder))
        assert without_placement(again) == one


def test_they_are_those_of_the_model(made: list[Json]) -> None:
    """Each query, as it is and in its place."""
    for one in made:
        (dashboard,) = (d for d in dashboards_of(catalogs.shop()) if d.uid == one["uid"])
        panels = {p["id"]: p for p in one["panels"] if p["type"] != "row"}
        assert list(panels) == [p.id for p in dashboard.panels]
        for panel in dashboard.panels:
            shown = panels[panel.id]
            assert [t["expr"] for t in shown["targets"]] == [q.expr for q in panel.queries]
            at = panel.place
            assert shown["gridPos"] == {"x": at.x, "y": at.y, "w": at.w, "h": at.h}
            assert shown["fieldConfig"]["defaults"]["unit"] == panel.unit


def test_nothing_is_left_to_a_bad_default(made: list[Json]) -> None:
    for one in made:
        assert one["editable"] is False  # uneditable-dashboard
        assert one["schemaVersion"] == 42
        assert "inControlsMenu" not in json.dumps(one)
        numbers = Counter(p["id"] for p in one["panels"])
        assert set(numbers.values()) == {1}
        for panel in one["panels"]:
            if panel["type"] == "row":
                continue
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            for target in panel["targets"]:  # panel-datasource-rule
                assert target["datasource"] == panel["datasource"]
                assert target["refId"]
                assert target["range"] is not target["instant"]
            legend = panel["options"].get("legend", {})
            assert legend.get("showLegend", legend.get("show", True))
        for variable in one["templating"]["list"]:
            if variable["type"] == "query":  # template-on-time-change-reload-rule
                assert variable["refresh"] == 2
                assert variable["query"]["query"].startswith("label_values(")


def test_units_are_grafanas() -> None:
    known = {v for v in vars(units).values() if isinstance(v, str)}
    assert set(FAMILIES) <= known


def test_links_lead_to_dashboards_or_the_console(made: list[Json]) -> None:
    uids = {one["uid"] for one in made}
    found = [x["url"] for one in made for x in everything(one) if "url" in x and "title" in x]
    assert len(found) > 60
    for url in found:
        if url.startswith("/d/"):
            assert url[3:].partition("?")[0] in uids
        else:
            assert url.startswith("http://127.0.0.1:8080/")
        assert "{{" not in url


def test_alerts_runs_and_deploys_are_marked(made: list[Json]) -> None:
    for one in made:
        marks = one["annotations"]["list"]
        assert [m["name"] for m in marks] == ["Alerts", "Runs", "Deploys"]
        assert all(m["enable"] and m["expr"] for m in marks)


def test_provisioning_is_read_only_and_has_no_secret(files: Mapping[str, str]) -> None:
    sources = yaml.safe_load(files["grafana/provisioning/datasources/opsloop.yml"])
    assert sources["prune"]
    for source in sources["datasources"]:
        assert source["editable"] is False
        secret = source["secureJsonData"]["basicAuthPassword"]
        assert secret == "$__file{../../secrets/scrape_password}"
    (provider,) = yaml.safe_load(files["grafana/provisioning/dashboards/opsloop.yml"])["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["folderUid"] == "opsloop"
    lint = yaml.safe_load(files["grafana/dashboards/.lint"])["exclusions"]
    assert all(len(rule["reason"]) > 20 for rule in lint.values())


def test_ports_are_moved_with_the_stack(tmp_path: Path) -> None:
    files = compile_catalog(catalogs.shop(), Options(Ports(300))).files
    assert "http://127.0.0.1:9390" in files["grafana/provisioning/datasources/opsloop.yml"]
    assert "http_port = 3300" in files["grafana/grafana.ini"]
    assert "http://127.0.0.1:8380/alerts" in files["grafana/dashboards/opsloop-overview.json"]
