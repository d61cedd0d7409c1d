"""A dashboard that Prometheus cannot read is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsloop.stack import checkers
from opsloop.stack.panel_rules import rules_of
from tests.compile import catalogs
from tests.support.servers import require


@pytest.fixture
def build(tmp_path: Path) -> Path:
    require("promtool")
    return catalogs.built(catalogs.shop(), tmp_path)


def only_dashboards(build: Path) -> checkers.CheckResult:
    (found,) = checkers._check_dashboards(build, None)
    return found


def test_promtool_reads_every_query(build: Path) -> None:
    assert only_dashboards(build).status == "ok"
    rules = rules_of(build) or ""
    assert rules.count("record:") > 100
    assert "$" not in rules.replace('"$1"', "").replace('\\"$1\\"', "")


def test_a_query_that_is_no_promql_is_named(build: Path) -> None:
    path = build / "grafana/dashboards/opsloop-signals.json"
    dashboard = json.loads(path.read_text())
    panel = next(p for p in dashboard["panels"] if p["id"] == 6)
    panel["targets"][0]["expr"] += " / on service x"
    path.write_text(json.dumps(dashboard))
    result = only_dashboards(build)
    assert result.status == "failed"
    assert "opsloop_signals:panel_6:A" in result.detail
    assert "parse error" in result.detail


def test_without_dashboards_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert rules_of(tmp_path) is None
    assert checkers._check_dashboards(tmp_path, None) == []
