"""Panels in Grafana's own types; what its defaults would hide or leave open is set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from grafana_foundation_sdk.models import bargauge, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import prometheus as p

from opsloop.compile.panels import Column, Kind, Link, Panel, Query, State, Threshold, Tone

COLOURS: Final[Mapping[Tone, str]] = {
    "neutral": "text",
    "good": "green",
    "warn": "orange",
    "bad": "red",
    "info": "blue",
    "muted": "gray",
}
TYPES: Final[Mapping[Kind, str]] = {
    "stat": "stat",
    "timeseries": "timeseries",
    "table": "table",
    "state-timeline": "state-timeline",
    "heatmap": "heatmap",
    "bar-gauge": "bargauge",
}
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def datasource() -> c.DataSourceRef:
    """What the variable `datasource` chooses."""
    return c.DataSourceRef(type_val="prometheus", uid="${datasource}")


def panel(shown: Panel, console: str) -> d.Panel:
    """One panel. console: the console's address, for links to its pages."""
    by_series = [x for x in shown.links if _names_labels(x)]
    return d.Panel(
        type_val=TYPES[shown.kind],
        id_val=shown.id,
        title=shown.title,
        description=shown.description,
        datasource=datasource(),
        grid_pos=d.GridPos(h=shown.place.h, w=shown.place.w, x=shown.place.x, y=shown.place.y),
        targets=[_target(shown, q) for q in shown.queries],
        links=[
            d.DashboardLink(
                title=x.title, type_val=d.DashboardLinkType.LINK, url=_url(x, console, "field")
            )
            for x in shown.links
            if x not in by_series
        ],
        transformations=_transformations(shown) if shown.kind == "table" else None,
        options=_options(shown),
        field_config=d.FieldConfigSource(
            defaults=_defaults(shown, by_series, console), overrides=_overrides(shown, console)
        ),
    )


def _target(shown: Panel, query: Query) -> p.Dataquery:
    form = {"table": p.PromQueryFormat.TABLE, "heatmap": p.PromQueryFormat.HEATMAP}
    return p.Dataquery(
        datasource=datasource(),
        editor_mode=p.QueryEditorMode.CODE,
        expr=query.expr,
        format_val=form.get(shown.kind, p.PromQueryFormat.TIME_SERIES),
        instant=query.instant,
        range_val=not query.instant,
        legend_format=query.legend,
        ref_id=query.ref,
    )


def _defaults(shown: Panel, by_series: list[Link], console: str) -> d.FieldConfig:
    lines = shown.kind == "timeseries"
    mode = d.FieldColorModeId.PALETTE_CLASSIC if lines else d.FieldColorModeId.THRESHOLDS
    return d.FieldConfig(
        unit=shown.unit,
        decimals=shown.decimals,
        min_val=shown.low,
        max_val=shown.high,
        mappings=_mappings(shown.states),
        thresholds=_thresholds(shown.thresholds),
        color=d.FieldColor(mode=mode),
        links=[d.DashboardLink(title=x.title, url=_url(x, console, "field")) for x in by_series],
        no_value="no data",
        custom=_custom(shown),
    )


def _custom(shown: Panel) -> object:
    if shown.kind == "timeseries":
        lined = c.GraphThresholdsStyleMode.DASHED
        stacked = c.StackingMode.NORMAL if shown.stacked else c.StackingMode.NONE
        return c.GraphFieldConfig(
            draw_style=c.GraphDrawStyle.LINE,
            line_width=1,
            fill_opacity=25 if shown.stacked else 0,
            show_points=c.VisibilityMode.NEVER,
            stacking=c.StackingConfig(mode=stacked, group="A"),
            span_nulls=False,
            thresholds_style=c.GraphThresholdsStyleConfig(
                lined if shown.threshold_lines else c.GraphThresholdsStyleMode.OFF
            ),
        )
    if shown.kind == "state-timeline":
        return statetimeline.FieldConfig(line_width=0, fill_opacity=80)
    if shown.kind == "heatmap":
        return heatmap.FieldConfig()
    if shown.kind == "table":
        return c.TableFieldOptions(filterable=False, align=c.FieldTextAlignment.AUTO)
    return None


def _thresholds(steps: tuple[Threshold, ...]) -> d.ThresholdsConfig:
    made = [d.Threshold(value=t.value, color=COLOURS[t.tone]) for t in steps]
    return d.ThresholdsConfig(
        mode=d.ThresholdsMode.ABSOLUTE, steps=made or [d.Threshold(value=None, color="text")]
    )


def _mappings(states: tuple[State, ...]) -> list[Any]:
    if not states:
        return []
    shown = {
        f"{s.value:g}": d.ValueMappingResult(text=s.text, color=COLOURS[s.tone], index=n)
        for n, s in enumerate(states)
    }
    return [d.ValueMap(options=shown)]


def _legend(*, table_of: bool) -> c.VizLegendOptions:
    """What the lines are, with their last value; the default shows no legend."""
    return c.VizLegendOptions(
        display_mode=c.LegendDisplayMode.TABLE if table_of else c.LegendDisplayMode.LIST,
        placement=c.LegendPlacement.BOTTOM,
        show_legend=True,
        calcs=["lastNotNull"] if table_of else [],
    )


def _options(shown: Panel) -> object:
    last = c.ReduceDataOptions(calcs=["lastNotNull"], values=False, fields="")
    tooltip = c.VizTooltipOptions(mode=c.TooltipDisplayMode.MULTI, sort=c.SortOrder.DESCENDING)
    if shown.kind == "stat":
        return stat.Options(
            graph_mode=c.BigValueGraphMode.NONE,
            color_mode=c.BigValueColorMode.VALUE,
            text_mode=c.BigValueTextMode.VALUE_AND_NAME,
            reduce_options=last,
            orientation=c.VizOrientation.VERTICAL,
        )
    if shown.kind == "timeseries":
        return timeseries.Options(legend=_legend(table_of=False), tooltip=tooltip)
    if shown.kind == "state-timeline":
        return statetimeline.Options(
            show_value=c.VisibilityMode.NEVER,
            row_height=0.8,
            legend=_legend(table_of=False),
            tooltip=tooltip,
        )
    if shown.kind == "heatmap":
        return _heatmap(shown)
    if shown.kind == "bar-gauge":
        return bargauge.Options(
            display_mode=c.BarGaugeDisplayMode.BASIC,
            orientation=c.VizOrientation.HORIZONTAL,
            reduce_options=last,
            legend=_legend(table_of=False),
        )
    sort = shown.sort
    return table.Options(
        sort_by=[c.TableSortByFieldState(display_name=sort[0], desc=sort[1])] if sort else [],
    )


def _heatmap(shown: Panel) -> heatmap.Options:
    return heatmap.Options(
        calculate=False,
        color=heatmap.HeatmapColorOptions(
            mode=heatmap.HeatmapColorMode.SCHEME,
            scheme="Oranges",
            scale=heatmap.HeatmapColorScale.EXPONENTIAL,
            exponent=0.5,
            steps=64,
        ),
        y_axis=heatmap.YAxisConfig(unit=shown.unit),
        cell_values=heatmap.CellValues(unit="short"),
        filter_values=heatmap.FilterValueRange(le=1e-9),
        legend=heatmap.HeatmapLegend(show=True),
        tooltip=heatmap.HeatmapTooltip(mode=c.TooltipDisplayMode.SINGLE, y_histogram=True),
    )


def _override(kind: str, which: str, **properties: Any) -> d.DashboardFieldConfigSourceOverrides:
    made = [
        d.DynamicConfigValue(id_val=name.replace("__", "."), value=value)
        for name, value in properties.items()
        if value is not None
    ]
    return d.DashboardFieldConfigSourceOverrides(
        matcher=d.MatcherConfig(id_val=kind, options=which), properties=made
    )


def _overrides(shown: Panel, console: str) -> list[d.DashboardFieldConfigSourceOverrides]:
    found = []
    for query in shown.queries:
        if shown.kind == "table" or (query.role == "value" and query.unit is None):
            continue
        lines = shown.kind == "timeseries" and query.role == "limit"
        plain = d.FieldColor(mode=d.FieldColorModeId.FIXED, fixed_color="text")
        found.append(
            _override(
                "byFrameRefID",
                query.ref,
                unit=query.unit,
                color=plain if query.role != "value" else None,
                custom__lineStyle=c.LineStyle(fill="dash", dash=[6, 6]) if lines else None,
                custom__fillOpacity=0 if lines else None,
                custom__stacking=c.StackingConfig(mode=c.StackingMode.NONE) if lines else None,
            )
        )
    return found + [_column(x, console) for x in shown.columns]


def _column(column: Column, console: str) -> d.DashboardFieldConfigSourceOverrides:
    coloured = bool(column.thresholds or column.states)
    return _override(
        "byName",
        column.title,
        unit=column.unit if column.ref else None,
        decimals=column.decimals,
        thresholds=_thresholds(column.thresholds) if column.thresholds else None,
        mappings=_mappings(column.states) if column.states else None,
        custom__cellOptions={"type": "color-text"} if coloured else None,
        links=[_data_link(column.link, console, "data")] if column.link else None,
    )


def _transformations(shown: Panel) -> list[d.DataTransformerConfig]:
    """One row for equal labels, the columns in their order and with their titles."""
    several = len(shown.queries) > 1
    source = {
        x.title: x.label or (f"Value #{x.ref}" if several else "Value") for x in shown.columns
    }
    organize = d.DataTransformerConfig(
        id_val="organize",
        options={
            "excludeByName": {"Time": True},
            "indexByName": {name: n for n, name in enumerate(source.values())},
            "renameByName": {name: title for title, name in source.items()},
        },
    )
    merge = d.DataTransformerConfig(id_val="merge", options={})
    return [merge, organize] if several else [organize]


def _names_labels(link: Link) -> bool:
    return bool(_LABEL.search(link.page) or any(_LABEL.search(s) for _, s in link.passes))


def _data_link(link: Link, console: str, of: str) -> dict[str, Any]:
    return {"title": link.title, "url": _url(link, console, of), "targetBlank": False}


def _url(link: Link, console: str, of: str) -> str:
    """of: `field` for labels of a series, `data` for columns of a row."""
    place = "${__data.fields.%s}" if of == "data" else "${__field.labels.%s}"

    def filled(text: str) -> str:
        text = re.sub(r"\$(\w+)", r"${\1}", text)
        return _LABEL.sub(lambda m: place % m.group(1), text)

    if link.page:
        return console + filled(link.page)
    variables = "".join(f"&var-{name}={filled(source)}" for name, source in link.passes)
    return f"/d/{link.uid}?${{__url_time_range}}{variables}"
