"""A dashboard's panels answered: each query asked once for all viewers, within limits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opsloop.compile.panels import MOST_SERIES, Panel, Query, State, Threshold
from opsloop.compile.panelvars import Values, timing
from opsloop.errors import InputError
from opsloop.remediation.ports import Sample, Series
from opsloop.report.figures import NONE, figure
from opsloop.web.shared import Held
from opsloop.web.timerange import TimeRange
from opsloop.web.world import World

CHARTS: Final = ("timeseries", "heatmap")  # drawn by the browser; the rest is HTML
MOST_ROWS: Final = 500  # of a table


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one query. at: unix seconds of the value, error: why it is not newer."""

    query: Query
    promql: str
    samples: Sequence[Sample] = ()
    series: Sequence[Series] = ()
    at: float = 0.0
    error: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class PanelAnswer:
    """A panel with its answers; age_s: of the oldest of them that is not fresh, else None."""

    panel: Panel
    answers: Sequence[Answer]
    values: Values
    age_s: float | None = None

    @property
    def error(self) -> str:
        return next((a.error for a in self.answers if a.error), "")

    @property
    def left_out(self) -> int:
        return sum(a.left_out for a in self.answers)

    @property
    def promql(self) -> list[str]:
        return [a.promql for a in self.answers]


@dataclass(frozen=True, slots=True)
class Figure:
    """One value with its tone, ready to be read."""

    name: str
    text: str
    tone: str = "neutral"
    value: float | None = None
    before: str = ""
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    tone: str = "neutral"
    url: str = ""
    number: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its heads, its rows, and how many rows are not shown."""

    heads: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]] = field(default_factory=list)
    left_out: int = 0


async def answer(world: World, panel: Panel, values: Values, span: TimeRange) -> PanelAnswer:
    """Ask what the panel asks. Raises InputError for a value that fits no query."""
    scrape = world.engine.catalog.stack.scrape_interval
    full = {**values, **timing(span.step, span.length_s, scrape)}
    texts = [q.text(full) for q in panel.queries]
    ranged = panel.kind in (*CHARTS, "state-timeline")
    found = await asyncio.gather(
        *(_one(world, q, t, span, ranged) for q, t in zip(panel.queries, texts, strict=True))
    )
    stale = [world.clock() - a.at for a in found if a.error and a.at]
    return PanelAnswer(panel, found, full, max(stale) if stale else None)


async def _one(world: World, query: Query, promql: str, span: TimeRange, ranged: bool) -> Answer:
    if ranged and not query.instant:
        held = await world.query_range(promql, span.start, span.end, span.step)
        kept, more = _limited(held)
        return Answer(query, promql, series=kept, at=held.at, error=held.error, left_out=more)
    now = await world.query(promql, at=span.moment)
    samples = list(now.value or ())
    return Answer(
        query,
        promql,
        samples=samples[:MOST_ROWS],
        at=now.at,
        error=now.error,
        left_out=max(0, len(samples) - MOST_ROWS),
    )


def _limited(held: Held[list[Series]]) -> tuple[list[Series], int]:
    series = held.value or []
    return series[:MOST_SERIES], max(0, len(series) - MOST_SERIES)


def chart(found: PanelAnswer, span: TimeRange) -> dict[str, Any]:
    """What the browser draws: times, and one row of values a series; what is not finite is null,
    and a series of nothing else is left out.

    Names and texts are for people and come from anywhere: the browser sets them as text.
    """
    panel = found.panel
    steps = round((span.end - span.start) / span.step) + 1
    series = [
        {
            "name": a.query.name(s.labels) or a.query.ref,
            "role": a.query.role,
            "unit": a.query.unit or panel.unit,
            "le": s.labels.get("le"),
            "v": values,
        }
        for a in found.answers
        for s in a.series
        if (values := _on_steps(s, span, steps))
    ]
    return {
        "title": panel.title,
        "kind": panel.kind,
        "unit": panel.unit,
        "stacked": panel.stacked,
        "low": panel.low,
        "high": panel.high,
        "start": span.start,
        "step": span.step,
        "count": steps,
        "series": series,
        "lines": [
            {"value": t.value, "tone": t.tone}
            for t in panel.thresholds
            if panel.threshold_lines and t.value is not None
        ],
        "age_s": found.age_s,
        "error": found.error,
        "left_out": found.left_out,
    }


def _on_steps(series: Series, span: TimeRange, steps: int) -> list[float | None]:
    """A value or None for each step; empty when it has no finite value at all."""
    values: list[float | None] = [None] * steps
    for at, value in series.points:
        index = round((at - span.start) / span.step)
        if 0 <= index < steps and math.isfinite(value):
            values[index] = float(f"{value:.6g}")
    return [] if values.count(None) == steps else values


def figures(found: PanelAnswer) -> list[Figure]:
    """Of a stat or a bar gauge: one a series of its values, each with what it was before."""
    panel = found.panel
    before = {
        _key(s.labels): s.value
        for a in found.answers
        if a.query.role == "before"
        for s in a.samples
    }
    return [
        _figure(panel, a.query, s, before.get(_key(s.labels)))
        for a in found.answers
        if a.query.role in ("value", "beside")
        for s in a.samples
    ]


def _figure(panel: Panel, query: Query, sample: Sample, before: float | None) -> Figure:
    unit, value, name = query.unit or panel.unit, sample.value, query.name(sample.labels)
    if query.role == "beside":
        return Figure(name, figure(value, unit), value=value, beside=True)
    text, tone = _shown(value, unit, panel.decimals, panel.thresholds, panel.states)
    past = "" if before is None else figure(before, unit, panel.decimals)
    return Figure(name, text, tone, value if math.isfinite(value) else None, past)


def _shown(
    value: float | None,
    unit: str,
    decimals: int | None,
    thresholds: Sequence[Threshold],
    states: Sequence[State],
) -> tuple[str, str]:
    if value is None or math.isnan(value):
        return NONE, "muted"
    for state in states:
        if state.value == value:
            return state.text, state.tone
    tone = "neutral"
    for threshold in thresholds:
        if threshold.value is None or value >= threshold.value:
            tone = threshold.tone
    return figure(value, unit, decimals), tone


def table(found: PanelAnswer) -> Grid:
    """A row for each set of labels, sorted as the panel says."""
    panel = found.panel
    rows: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for a in found.answers:
        for s in a.samples:
            rows.setdefault(_key(s.labels), {})[a.query.ref] = s.value
    order = sorted(rows)
    if panel.sort is not None:
        column = next((c for c in panel.columns if c.title == panel.sort[0]), None)
        if column is not None and column.ref:
            down = -1 if panel.sort[1] else 1
            order.sort(key=lambda k: down * rows[k].get(column.ref, math.inf * down))
        elif column is not None:
            order.sort(key=lambda k: dict(k).get(column.label, ""), reverse=panel.sort[1])
    heads = [(c.title, bool(c.ref)) for c in panel.columns]
    cells = [[_cell(found, i, dict(key), rows[key]) for i in range(len(heads))] for key in order]
    return Grid(heads, cells[:MOST_ROWS], max(0, len(cells) - MOST_ROWS) + found.left_out)


def _cell(
    found: PanelAnswer, index: int, labels: Mapping[str, str], row: Mapping[str, float]
) -> Cell:
    column = found.panel.columns[index]
    url = address(column.link, found.values, labels) if column.link else ""
    if column.label:
        return Cell(labels.get(column.label, ""), url=url)
    text, tone = _shown(
        row.get(column.ref), column.unit, column.decimals, column.thresholds, column.states
    )
    return Cell(text, tone, url, number=True)


def address(link: Any, values: Values, labels: Mapping[str, str]) -> str:
    """Where a link of a panel leads here."""
    found: str = link.url("" if link.page else "/dashboards", values, labels)
    return found


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in labels.items() if k != "__name__"))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a state timeline, in thousandths of its width."""

    x: float
    width: float
    tone: str
    text: str


def stretches(found: PanelAnswer, span: TimeRange) -> list[tuple[str, list[Stretch]]]:
    """Of a state timeline: for each series its name, and what it was when."""
    panel, whole = found.panel, max(span.length_s, 1.0)
    rows = []
    for a in found.answers:
        for s in a.series:
            parts: list[Stretch] = []
            for at, value in s.points:
                text, tone = _shown(
                    value, panel.unit, panel.decimals, panel.thresholds, panel.states
                )
                x = (at - span.start) / whole * 1000
                width = span.step / whole * 1000
                last = parts[-1] if parts else None
                if last and last.text == text and x - (last.x + last.width) < width / 2:
                    parts[-1] = Stretch(last.x, x + width - last.x, tone, text)
                else:
                    parts.append(Stretch(x, width, tone, text))
            rows.append((a.query.name(s.labels), parts))
    return sorted(rows, key=lambda r: r[0])


async def choices(world: World, variables: Sequence[Any], values: Values) -> dict[str, list[str]]:
    """What each variable of a dashboard may be, of the series that there are now."""
    found: dict[str, list[str]] = {}
    chosen = dict(values)
    for variable in variables:
        if variable.kind != "values":
            continue
        try:
            selector = Query("A", variable.selector, "").text(chosen)
        except InputError:
            found[variable.name] = []
            continue
        held = await world.query(f"group by ({variable.label}) ({selector})", 30.0)
        names = {s.labels.get(variable.label, "") for s in held.value or ()} - {""}
        found[variable.name] = sorted(names)[:MOST_ROWS]
        if variable.name not in chosen and names:
            chosen[variable.name] = min(names)
    return found
