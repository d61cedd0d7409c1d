"""The dashboards of a catalog, each panel in its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from opsloop.catalog.model import Catalog
from opsloop.compile.dashboard_containers import containers
from opsloop.compile.dashboard_loop import remediation
from opsloop.compile.dashboard_overview import system_overview
from opsloop.compile.dashboard_parts import TO_ALERTS
from opsloop.compile.dashboard_recorded import recorded, recorded_in
from opsloop.compile.dashboard_signals import golden_signals
from opsloop.compile.dashboard_slo import objectives
from opsloop.compile.panels import COLUMNS, Dashboard, Link, Panel, Place, Row


def dashboards_of(catalog: Catalog, *, in_docker: bool | None = None) -> tuple[Dashboard, ...]:
    """From general to special: what a catalog has nothing of is left out.

    in_docker: whether the stack runs in containers; None: as the catalog says.
    """
    docker = catalog.stack.runtime == "docker" if in_docker is None else in_docker
    found = [system_overview(catalog, docker), golden_signals(catalog), objectives(catalog)]
    found += [containers() if docker else None, remediation()]
    there = [d for d in found if d is not None]
    uids = {d.uid for d in there}
    known = recorded(catalog)
    return tuple(laid_out(_asked(_linked(d, uids), known)) for d in there)


def _linked(dashboard: Dashboard, uids: Collection[str]) -> Dashboard:
    """The same without links to dashboards that are not there."""

    def kept(link: Link | None) -> bool:
        return link is not None and (not link.uid or link.uid in uids)

    def whole(panel: Panel) -> Panel:
        columns = (c if kept(c.link) else replace(c, link=None) for c in panel.columns)
        links = tuple(filter(kept, panel.links)) or (TO_ALERTS,)
        return replace(panel, links=links, columns=tuple(columns))

    rows = (Row(r.title, tuple(whole(p) for p in r.panels)) for r in dashboard.rows)
    return replace(dashboard, rows=tuple(rows), links=tuple(filter(kept, dashboard.links)))


def _asked(dashboard: Dashboard, known: Collection[str]) -> Dashboard:
    """The same without questions about series that this catalog's rules do not record; a panel
    that would ask nothing is kept, and says so."""
    rows = (Row(r.title, tuple(_of_panel(p, known) for p in r.panels)) for r in dashboard.rows)
    return replace(dashboard, rows=tuple(rows))


def _of_panel(panel: Panel, known: Collection[str]) -> Panel:
    queries = tuple(q for q in panel.queries if recorded_in(q.expr) <= set(known))
    if len(queries) == len(panel.queries):
        return panel
    if not any(q.role == "value" for q in queries):
        return replace(panel, may_be_empty="the catalog has nothing that this is recorded from")
    refs = {q.ref for q in queries}
    columns = tuple(c for c in panel.columns if not c.ref or c.ref in refs)
    return replace(panel, queries=queries, columns=columns)


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
