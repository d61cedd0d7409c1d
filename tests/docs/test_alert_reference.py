"""docs/reference/alerts.md is what the compiled alerts, their tests and the kept figures say."""

from __future__ import annotations

import importlib.util
import re
import types
import typing
from typing import Any

import pytest
from pydantic import BaseModel

from benchmarks.alert_catalog import build
from opsloop.catalog.model import Catalog
from opsloop.report import alert_tests
from opsloop.report.alert_reference import SET_IN, page
from tests.docs.pages import ROOT

PAGE = ROOT / "docs/reference/alerts.md"
FIGURES = [
    {"name": "ServiceDown (P0): recall", "value": 0.5, "note": "1 of 2; missed: x"},
    {"name": "ServiceDown (P0): precision", "value": 1.0, "note": ""},
    {"name": "ServiceDown (P0): per quiet week", "value": 0.25, "note": ""},
    {
        "name": "ServiceDown (P0): time to detect, p95",
        "value": 45.0,
        "limit": "arithmetic minimum 30 to 30 s",
        "note": "",
    },
    {
        "name": "ServiceDown (P0): beyond its arithmetic minimum, most",
        "value": 45.0,
        "goal": 30.0,
        "met": False,
        "note": "",
    },
    {"name": "P0: recall", "value": 1.0, "note": ""},
]


def _tool() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(
        "alert_reference_tool", ROOT / "tools/alert_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return dict(build().files)


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == _tool().text(), "run: make docs"


def test_every_alert_has_a_section_a_line_and_five_facts(files: dict[str, str]) -> None:
    text = page(files)
    for alert in alert_tests.alerts_of(files):
        assert f"\n## {alert}\n" in text
        assert f"| [{alert}](#{alert.lower()}) |" in text
        section = text.partition(f"\n## {alert}\n")[2].partition("\n## ")[0]
        for fact in ("Fires: ", "Set by: ", "Told: ", "Loop: ", "```promql"):
            assert fact in section, f"{alert} says nothing of {fact}"
        assert "{{" not in section, "what people read, not its template"
        assert "Told: nobody" not in section


def test_figures_stand_beside_their_alert(files: dict[str, str]) -> None:
    text = page(files, FIGURES)
    (line,) = (x for x in text.splitlines() if x.startswith("| [ServiceDown]"))
    assert line.endswith("| 50% | 100% | 45 s (30 s) | 0.25 |")
    assert "at most 45 s beyond the arithmetic minimum (goal 30 s, which misses its goal)" in text
    (line,) = (x for x in text.splitlines() if x.startswith("| [DiskFull]"))
    assert line.endswith("| - | - | - | - |")


def test_links_of_the_page_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    anchors = {f"#{h.lower()}" for h in re.findall(r"^## (\w+)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path = target.partition("#")[0]
        assert target in anchors or (path and (PAGE.parent / path).exists()), target


def test_the_catalog_has_the_fields_that_set_an_alert(files: dict[str, str]) -> None:
    missing = []
    for alert in alert_tests.alerts_of(files):
        for path in SET_IN.get(alert, ()):
            found: Any = Catalog
            for part in path.split("."):
                found = _below(found, part)
            if found is None:
                missing.append(f"{alert}: {path}")
    assert missing == []


def _below(annotation: Any, part: str) -> Any:
    """The type of a field, or of a mapping's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(part)
        return field.annotation if field else None
    return typing.get_args(annotation)[-1] if part == "NAME" else None
