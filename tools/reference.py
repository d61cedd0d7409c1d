"""Write the pages under docs/reference that are made of the code: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import (
    alert_reference,
    architecture_picture,
    reference_catalog,
    reference_commands,
    reference_dashboards,
    reference_engine,
    reference_errors,
    reference_settings,
)

DOCS = Path(__file__).parents[1] / "docs"
# Path below docs/ -> what makes its text.
PAGES: Mapping[str, Callable[[], str]] = {
    "reference/alerts.md": alert_reference.text,
    "reference/api.md": reference_engine.api,
    "reference/catalog.md": reference_catalog.page,
    "reference/commands.md": reference_commands.page,
    "reference/dashboards.md": reference_dashboards.page,
    "reference/errors.md": reference_errors.page,
    "reference/metrics.md": reference_engine.metrics,
    "reference/settings.md": reference_settings.page,
    "images/architecture.svg": architecture_picture.picture,
}


def main() -> int:
    for name, make in PAGES.items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
