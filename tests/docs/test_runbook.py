"""RUNBOOK.md has a section for every shipped alert, and alerts point to sections that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opsloop.catalog.check_policies import SHIPPED_ALERTS
from opsloop.compile import firststeps
from opsloop.compile.alertrule import SEVERITY
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from tests.compile import catalogs

RUNBOOK = (Path(__file__).parents[2] / "RUNBOOK.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("alert", SHIPPED_ALERTS)
def test_every_alert_has_its_section(alert: str) -> None:
    section = SECTIONS[alert]
    words = ("**Meaning.**", "**Impact.**", "**First steps.**", "**The loop**")
    places = [section.find(word) for word in words]
    assert -1 not in places, f"{alert} lacks {words[places.index(-1)]}"
    assert places == sorted(places)
    steps = section[places[2] : places[3]]
    assert re.findall(r"^(\d)\. ", steps, re.MULTILINE)[:2] == ["1", "2"]


def test_severities_are_those_of_the_rules() -> None:
    for alert, severity in SEVERITY.items():
        assert re.findall(r"Severity (P\d)", SECTIONS[alert]) == [severity], alert


def test_every_shipped_alert_has_first_steps() -> None:
    assert set(firststeps.STEPS) == set(SHIPPED_ALERTS)


def test_what_alerts_point_to_is_there() -> None:
    anchors = {name.lower() for name in SECTIONS}
    linked = set()
    for path, text in catalogs.compiled_shop().items():
        if path.startswith("prometheus/rules/"):
            linked |= set(re.findall(r"RUNBOOK\.md#([\w-]+)", text))
    assert len(linked) > 20
    assert linked <= anchors


def test_the_catalogs_own_runbook_has_each_alert_of_each_service(tmp_path: Path) -> None:
    catalog = catalogs.catalog_of(catalogs.EVERYTHING, tmp_path)
    text = compile_catalog(catalog, Options()).files["RUNBOOK.md"]
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for name in ("front", "queue", "errors-elsewhere"):
        assert f"HighErrorRate: {name}" in sections
    for title in ("ServiceDown: store", "DiskFull: other", "BackupStale: nightly", "EngineDown: engine",
                  "CertificateExpiring: probe mail", "CertificateExpiring: inner",
                  "QueueStuck: queue", "ExporterDown: node-exporter", "Watchdog"):  # fmt: skip
        assert title in sections, title
    front = sections["HighErrorRate: front"]
    assert "limit 1%" in front
    assert "<value> of requests to front failed" in front
    assert "Team web." in front
    assert "https://runbooks.example.com/front" in front
    assert "3. " in front
    assert "https://runbooks.example.com/alerts#servicedown" in sections["ServiceDown: store"]
    assert "Severity P2. Team data." in sections["BackupFailed: nightly"]


OTHER_NAMES = """\
apiVersion: opsloop/v1
processes:
  uvicorn: {command: [a], port: 8000}
services:
  checkout: {team: shop, process: uvicorn, metrics: http}
  away: {team: shop, targets: {static: ["a:1"]}, metrics: http}
alerts:
  QueueLong: {expr: "queue > 1", severity: P1, service: checkout, summary: Long}
  Elsewhere: {expr: "queue > 2", severity: P1, service: away, summary: Long}
"""


@pytest.mark.parametrize("name", ["shop", "other names"])
def test_logs_that_first_steps_name_are_there(name: str, tmp_path: Path) -> None:
    catalog = catalogs.shop() if name == "shop" else catalogs.catalog_of(OTHER_NAMES, tmp_path)
    text = compile_catalog(catalog, Options()).files["RUNBOOK.md"]
    named = set(re.findall(r"`opsloop logs ([\w-]+)`", text))
    parts = {"prometheus", "alertmanager", "engine"}
    assert named == parts | (set(catalog.processes) - {"load"})
    steps = dict(
        re.findall(r"^## (.*?)\n.*?First steps\.\*\*\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    )
    if name != "shop":
        assert "`opsloop logs uvicorn`" in steps["ServiceDown: checkout"]
        assert "`opsloop logs uvicorn`" in steps["QueueLong: checkout"]
        assert "journal" in steps["ServiceDown: away"]
        assert "`opsloop logs`" in steps["Elsewhere: away"]
