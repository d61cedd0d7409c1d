"""Grafana's JSON of the dashboards, made with Grafana's own types."""

from __future__ import annotations

import json
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import prometheus as p

from opsloop.compile.grafana_panels import COLOURS, datasource, panel
from opsloop.compile.panels import Annotation, Dashboard, Link, Place
from opsloop.compile.panelvars import ALL, Variable

PROMETHEUS_UID: Final = "opsloop-prometheus"
FIRST_HEADING: Final = 1000  # ids of headings, which are panels too
REFRESH: Final = ("5s", "10s", "30s", "1m", "5m", "15m", "1h")


def dashboard_json(dashboard: Dashboard, console: str) -> str:
    """The text of one dashboard file; equal dashboards give equal bytes.

    console: the console's address, for links to its pages.
    """
    made = d.Dashboard(
        uid=dashboard.uid,
        title=dashboard.title,
        description=dashboard.description,
        tags=list(dashboard.tags),
        timezone="browser",
        editable=False,
        graph_tooltip=d.DashboardCursorSync.CROSSHAIR,
        time=d.DashboardDashboardTime(from_val=f"now-{dashboard.range_s}s", to="now"),
        timepicker=d.TimePickerConfig(refresh_intervals=list(REFRESH)),
        refresh=f"{dashboard.refresh_s}s",
        panels=_panels(dashboard, console),
        templating=d.DashboardDashboardTemplating([_variable(v) for v in dashboard.variables]),
        annotations=d.AnnotationContainer([_annotation(a) for a in dashboard.annotations]),
        links=[_link(x) for x in dashboard.links],
    )
    plain = json.loads(json.dumps(made, cls=JSONEncoder))
    return json.dumps(_shown(plain), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _shown(value: Any) -> Any:
    """The same without what the types cannot leave out: links and annotations would be hidden
    in a menu."""
    if isinstance(value, dict):
        return {k: _shown(v) for k, v in value.items() if k != "placement" or _is_place(v)}
    return [_shown(v) for v in value] if isinstance(value, list) else value


def _is_place(value: Any) -> bool:
    """Legends have a placement too, which stays."""
    return bool(value != d.DashboardLinkPlacement.IN_CONTROLS_MENU)


def _panels(dashboard: Dashboard, console: str) -> list[d.Panel | d.RowPanel]:
    found: list[d.Panel | d.RowPanel] = []
    for number, row in enumerate(dashboard.rows):
        if row.title:
            top = min(x.place.y for x in row.panels) - 1
            heading = Place(0, top, 24, 1)
            found.append(
                d.RowPanel(title=row.title, id_val=FIRST_HEADING + number, grid_pos=grid(heading))
            )
        found += [panel(x, console) for x in row.panels]
    return found


def grid(place: Place) -> d.GridPos:
    return d.GridPos(h=place.h, w=place.w, x=place.x, y=place.y)


def _variable(variable: Variable) -> d.VariableModel:
    if variable.kind == "datasource":
        return d.VariableModel(
            type_val=d.VariableType.DATASOURCE,
            name=variable.name,
            label=variable.title,
            query="prometheus",
            current=d.VariableOption(text="Prometheus", value=PROMETHEUS_UID),
            allow_custom_value=False,
        )
    wanted = f"label_values({variable.selector}, {variable.label})"
    every = d.VariableOption(selected=True, text=["All"], value=[ALL]) if variable.multi else None
    return d.VariableModel(
        type_val=d.VariableType.QUERY,
        name=variable.name,
        label=variable.title,
        datasource=datasource(),
        definition=wanted,
        query={"query": wanted, "refId": f"variable-{variable.name}"},
        refresh=d.VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=d.VariableSort.ALPHABETICAL_ASC,
        multi=variable.multi,
        include_all=variable.multi,
        all_value=".*" if variable.multi else None,
        current=every,
        allow_custom_value=False,
    )


def _annotation(annotation: Annotation) -> d.AnnotationQuery:
    return d.AnnotationQuery(
        name=annotation.name,
        datasource=datasource(),
        enable=True,
        icon_color=COLOURS[annotation.tone],
        expr=annotation.expr,
        title_format=annotation.title,
        text_format=annotation.text,
        tag_keys=",".join(annotation.labels),
        step="15s",
        use_value_for_time=annotation.at_value,
        target=p.Dataquery(expr=annotation.expr, ref_id="Anno", range_val=True, instant=False),
    )


def _link(link: Link) -> d.DashboardLink:
    """Of the whole dashboard: variables with the names of those there come along."""
    return d.DashboardLink(
        title=link.title,
        type_val=d.DashboardLinkType.LINK,
        icon="dashboard",
        tooltip="",
        url=f"/d/{link.uid}",
        include_vars=bool(link.passes),
        keep_time=True,
    )
