"""The dashboards of a catalog, each panel in its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from opsloop.catalog.model import Catalog
from opsloop.compile.dashboard_loop import remediation
from opsloop.compile.dashboard_overview import system_overview
from opsloop.compile.dashboard_signals import golden_signals
from opsloop.compile.dashboard_slo import objectives
from opsloop.compile.panels import COLUMNS, Dashboard, Panel, Place, Row


def dashboards_of(catalog: Catalog) -> tuple[Dashboard, ...]:
    """From general to special: what a catalog has nothing of is left out."""
    found = [system_overview(catalog), golden_signals(catalog), objectives(catalog)]
    found.append(remediation())
    return tuple(laid_out(d) for d in found if d is not None)


def laid_out(dashboard: Dashboard) -> Dashboard:
    """The same with each panel in its place: from left to right, as many beside each other as
    fit. A row with a title begins with a heading, one unit high."""
    rows, top = [], 0
    for row in dashboard.rows:
        placed, top = _placed(row.panels, top + bool(row.title))
        rows.append(Row(row.title, placed))
    return replace(dashboard, rows=tuple(rows))


def _placed(panels: Iterable[Panel], top: int) -> tuple[tuple[Panel, ...], int]:
    """(panels, where the next row begins)."""
    placed: list[Panel] = []
    left, height = 0, 0
    for panel in panels:
        place = panel.place
        if left + place.w > COLUMNS:
            left, top, height = 0, top + height, 0
        placed.append(replace(panel, place=Place(left, top, place.w, place.h)))
        left, height = left + place.w, max(height, place.h)
    return tuple(placed), top + height
