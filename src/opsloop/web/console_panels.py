"""Dashboards as pages show them: choices, time, and each panel as HTML or as an address of a chart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.panels import Dashboard, Panel
from opsloop.compile.panelvars import ALL
from opsloop.web import panels
from opsloop.web.panels import Figure, Grid, PanelAnswer, Stretch
from opsloop.web.timerange import TimeRange, time_range
from opsloop.web.world import World

PREFIX: Final = "var-"


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable with what it may be and what it is."""

    name: str
    title: str
    chosen: str
    options: Sequence[tuple[str, str]]  # value, what people read


@dataclass(frozen=True, slots=True)
class Seen:
    """One panel. chart: where its data come from, empty for what is HTML already."""

    panel: Panel
    explain: str
    chart: str = ""
    figures: Sequence[Figure] = ()
    grid: Grid | None = None
    stretches: Sequence[tuple[str, Sequence[Stretch]]] = ()
    links: Sequence[tuple[str, str]] = ()
    error: str = ""
    age_s: float | None = None
    left_out: int = 0

    @property
    def empty(self) -> bool:
        shown = self.figures or self.stretches or (self.grid and self.grid.rows)
        return not self.chart and not shown


@dataclass(frozen=True, slots=True)
class Drawn:
    """A dashboard for one choice of variables and one time."""

    dashboard: Dashboard
    span: TimeRange
    values: Mapping[str, str]
    choices: Sequence[Choice] = ()
    rows: Sequence[tuple[str, Sequence[Seen]]] = field(default_factory=list)

    @property
    def query(self) -> str:
        """Variables and time as they stand in an address."""
        return f"{variables_query(self.values)}{self.span.query}"

    def seen(self, number: int) -> Seen | None:
        return next((s for _, row in self.rows for s in row if s.panel.id == number), None)


class Panels:
    """The dashboards of the catalog that runs now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: tuple[Any, tuple[Dashboard, ...]] | None = None

    def all(self) -> tuple[Dashboard, ...]:
        engine = self._world.engine
        if self._made is None or self._made[0] is not engine:
            self._made = engine, tuple(dashboards_of(engine.catalog))
        return self._made[1]

    def dashboard(self, uid: str) -> Dashboard:
        """Raises HTTPException 404."""
        for found in self.all():
            if found.uid == uid:
                return found
        raise HTTPException(404, f"there is no dashboard {uid[:50]!r}")

    def panel(self, uid: str, number: int) -> tuple[Dashboard, Panel]:
        """Raises HTTPException 404."""
        dashboard = self.dashboard(uid)
        try:
            return dashboard, dashboard.panel(number)
        except KeyError:
            raise HTTPException(404, f"{dashboard.title} has no panel {number}") from None

    def span(self, asked: QueryParams, dashboard: Dashboard | None = None) -> TimeRange:
        """The time of a page. Raises ArgumentError for what is no time."""
        preset = "1h"
        if dashboard is not None:
            preset = {3600: "1h", 21600: "6h", 86400: "24h", 604800: "7d", 2592000: "30d"}.get(
                dashboard.range_s, "1h"
            )
        least = self._world.engine.catalog.stack.scrape_interval.seconds
        return time_range(dict(asked), self._world.clock(), preset=preset, least_step=least)

    async def values(
        self, dashboard: Dashboard, asked: QueryParams
    ) -> tuple[dict[str, str], list[Choice]]:
        """What each variable is, and may be: as the address says, else all, else the first."""
        given = {
            name.removeprefix(PREFIX): value[:200]
            for name, value in asked.items()
            if name.startswith(PREFIX) and value
        }
        declared = [v for v in dashboard.variables if v.kind == "values"]
        start = {v.name: given.get(v.name, ALL if v.multi else "") for v in declared}
        start = {name: value for name, value in start.items() if value}
        found = await panels.choices(self._world, declared, start)
        values, choices = {}, []
        for variable in declared:
            options = found.get(variable.name, [])
            value = start.get(variable.name) or (options[0] if options else "-")
            values[variable.name] = value
            shown = [(o, o) for o in options]
            if variable.multi:
                shown.insert(0, (ALL, "all"))
            if value not in {o for o, _ in shown}:
                shown.insert(0, (value, value))
            choices.append(Choice(variable.name, variable.title, value, shown))
        return values, choices

    async def draw(
        self,
        dashboard: Dashboard,
        asked: QueryParams,
        *,
        fixed: Mapping[str, str] | None = None,
        only: Sequence[int] | None = None,
    ) -> Drawn:
        """Everything that is HTML is asked now; what the browser draws it asks itself.

        fixed: values that the page itself gives; only: ids of the panels that it shows.
        """
        span = self.span(asked, dashboard)
        values, choices = await self.values(dashboard, asked)
        values |= fixed or {}
        rows = []
        for row in dashboard.rows:
            wanted = [p for p in row.panels if only is None or p.id in only]
            if wanted:
                shown = await asyncio.gather(
                    *(self.see(dashboard, p, values, span) for p in wanted)
                )
                rows.append((row.title, shown))
        kept = [c for c in choices if c.name not in (fixed or {})]
        return Drawn(dashboard, span, values, kept, rows)

    async def see(
        self, dashboard: Dashboard, panel: Panel, values: Mapping[str, str], span: TimeRange
    ) -> Seen:
        query = f"{variables_query(values)}{span.query}"
        place = f"{quote(dashboard.uid)}/{panel.id}?{query}"
        explain = f"/explain/{place}"
        links = [(link.title, panels.address(link, values, {})) for link in panel.links]
        if panel.kind in panels.CHARTS:
            return Seen(panel, explain, chart=f"/api/panels/{place}", links=links)
        found = await panels.answer(self._world, panel, values, span)
        return _html(found, explain, links, span)


def _html(
    found: PanelAnswer, explain: str, links: Sequence[tuple[str, str]], span: TimeRange
) -> Seen:
    kind = found.panel.kind
    return Seen(
        found.panel,
        explain,
        figures=panels.figures(found) if kind in ("stat", "bar-gauge") else (),
        grid=panels.table(found) if kind == "table" else None,
        stretches=panels.stretches(found, span) if kind == "state-timeline" else (),
        links=links,
        error=found.error,
        age_s=found.age_s,
        left_out=found.left_out,
    )


def variables_query(values: Mapping[str, str]) -> str:
    """`var-service=api&`, empty without variables."""
    text = urlencode({f"{PREFIX}{name}": value for name, value in values.items()})
    return f"{text}&" if text else ""
