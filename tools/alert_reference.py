"""Write docs/reference/alerts.md again: `make docs`, after rules, tests or kept figures changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks.alert_catalog import build  # noqa: E402
from opsloop.report.alert_reference import page  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "alerts.md"
FIGURES = ROOT / "benchmarks" / "results" / "alert_quality.json"


def text() -> str:
    """The page as it should be."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8"))["results"] if FIGURES.exists() else []
    return page(build().files, kept)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text(), encoding="utf-8")
