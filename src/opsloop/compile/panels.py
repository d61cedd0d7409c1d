"""Panels and dashboards as values: what is asked, in which unit, and how it is read.

One model for two readers. `compile.grafana` makes Grafana's JSON of it; the console draws the same
objects itself, so that the two never disagree:

    for dashboard in dashboards_of(catalog):          # compile.dashboards
        for panel in dashboard.panels:                # each with a place on a grid of 24 columns
            for query in panel.queries:
                values = {"service": "api", "instance": ALL, **timing(15, 3600, scrape_interval)}
                promql = query.text(values)           # ready for /api/v1/query(_range)
                name = query.name(labels_of_series)   # its legend

`dashboard.variables` says which values there are to choose from (`Variable.selector`,
`Variable.label`, after `substituted`); `Link` gives addresses below the dashboards of one server.
Nothing here imports Grafana's SDK.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote as escape

from opsloop.compile.panelvars import Values, Variable, substituted

MOST_SERIES: Final = 50  # of one panel
COLUMNS: Final = 24  # of the grid; a unit of height is about 30 px

Kind = Literal["stat", "timeseries", "table", "state-timeline", "heatmap", "bar-gauge"]
Tone = Literal["neutral", "good", "warn", "bad", "info", "muted"]
Family = Literal["share", "time", "data", "data rate", "event rate", "count", "times", "state"]
Role = Literal["value", "before", "limit", "beside"]
Unit = Literal[
    "percentunit", "s", "m", "bytes", "bps", "reqps", "cps", "short", "none", "bool"
]  # Grafana's words
FAMILIES: Final[Mapping[Unit, tuple[Family, ...]]] = {
    "percentunit": ("share",),  # 0.05 is 5%
    "s": ("time",),
    "m": ("time",),  # minutes
    "bytes": ("data",),
    "bps": ("data rate",),  # bits a second
    "reqps": ("event rate",),
    "cps": ("event rate",),  # of what is no request: drops, runs
    "short": ("count",),
    "none": ("times",),  # multiples of something, as burn rates
    "bool": ("state",),
}
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus.

    legend: name of each series, with {{label}} for what tells them apart. instant: only its
    value at the end of the range. role: `before` is the same some time ago, `limit` a constant
    that the others are held against (drawn dashed), `beside` a number that stands beside the
    main ones; only `value` is coloured by thresholds. unit: where it is not the panel's.
    ref: unique in its panel, A, B, ...
    """

    ref: str
    expr: str
    legend: str
    instant: bool = False
    role: Role = "value"
    unit: Unit | None = None

    def text(self, values: Values) -> str:
        """The PromQL for these values of its variables; InputError where one does not fit."""
        return substituted(self.expr, values)

    def name(self, labels: Mapping[str, str]) -> str:
        """The legend of a series with these labels."""
        return _PLACE.sub(lambda m: labels.get(m.group(1), ""), self.legend)

    @property
    def legend_labels(self) -> frozenset[str]:
        return frozenset(_PLACE.findall(self.legend))


@dataclass(frozen=True, slots=True)
class Threshold:
    """From `value` on, in the panel's unit, a value has this tone; None: from the beginning."""

    value: float | None
    tone: Tone


@dataclass(frozen=True, slots=True)
class State:
    """A value that is shown as a word."""

    value: float
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Link:
    """Where one reads on: another dashboard by its uid, or a page of the console by its path.

    passes: variables of the dashboard there, each as `$variable` of this one or `{{label}}` of
    the series; `page` may hold {{label}} and $variable too.
    """

    title: str
    uid: str = ""
    page: str = ""
    passes: tuple[tuple[str, str], ...] = ()

    def url(self, base: str, values: Values, labels: Mapping[str, str]) -> str:
        """The address below `base`, which is where dashboards (or pages) are, without a / at its
        end: BASE/UID?var-service=api."""

        def value(source: str, safe: str = "") -> str:
            filled = _PLACE.sub(lambda m: escape(labels.get(m.group(1), ""), safe=safe), source)
            return re.sub(
                r"\$(\w+)", lambda m: escape(str(values.get(m.group(1), "")), safe=safe), filled
            )

        if self.page:
            return base + value(self.page)
        query = "&".join(f"var-{name}={value(source)}" for name, source in self.passes)
        return f"{base}/{self.uid}" + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the value of the query `ref`, or the label `label`."""

    title: str
    ref: str = ""
    label: str = ""
    unit: Unit = "none"
    decimals: int | None = None
    thresholds: tuple[Threshold, ...] = ()
    states: tuple[State, ...] = ()
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel stands: left edge, top, width, height."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    id: unique in its dashboard, and kept when others come and go. decimals: None leaves them to
    who draws. stacked: the series add up to a whole. threshold_lines: thresholds are drawn as
    lines. low, high: ends of the axis where they are known. columns, sort: of a table (title of
    a column, descending); its queries have equal labels, so that their values make one row.
    may_be_empty: why it may have no data on a healthy stack.
    """

    id: int
    title: str
    description: str
    kind: Kind
    queries: tuple[Query, ...]
    unit: Unit
    links: tuple[Link, ...]
    place: Place = Place(0, 0, 6, 4)
    decimals: int | None = None
    thresholds: tuple[Threshold, ...] = ()
    threshold_lines: bool = False
    states: tuple[State, ...] = ()
    stacked: bool = False
    low: float | None = None
    high: float | None = None
    columns: tuple[Column, ...] = ()
    sort: tuple[str, bool] | None = None
    may_be_empty: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Annotation:
    """Moments that are marked on every chart: while `expr` has a series, or, with `at_value`,
    at the unix time in milliseconds that its value is."""

    name: str
    expr: str
    title: str
    text: str
    tone: Tone
    labels: tuple[str, ...] = ()
    at_value: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page of panels. `refresh_s`, `range_s`: how it is shown at first, in seconds."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    links: tuple[Link, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    tags: tuple[str, ...] = ("opsloop",)
    range_s: int = 3600
    refresh_s: int = 10

    @property
    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels

    def panel(self, number: int) -> Panel:
        """The panel with this id. Raises KeyError."""
        for panel in self.panels:
            if panel.id == number:
                return panel
        raise KeyError(number)
