"""docs/reference/dashboards.md: every panel of the shop's dashboards, with its queries and units."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opsloop.catalog.load import load
from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.panels import FAMILIES, Dashboard, Panel

ROOT: Final = Path(__file__).parents[1]
CATALOG: Final = ROOT / "examples/shop/opsloop.yaml"
_HEAD: Final = """\
# Dashboards: every panel, its queries and units

Made of the code by `make docs`, for the shop's catalog; another catalog has the same panels over its own
services. How they are read, changed and run: [the guide](../guides/dashboards.md).

`$service`, `$slo`, `$job` and `$instance` are chosen at the top of a dashboard; `$__rate_interval` and `$__range` follow
from what is shown. A number at the head of a panel is its id, which links may name (`viewPanel=8`).
"""
_ROLES: Final = {
    "value": "",
    "before": ", as it was",
    "limit": ", dashed",
    "beside": ", beside it",
}


def page() -> str:
    """The whole page."""
    found = dashboards_of(load(CATALOG, {}).catalog)
    lines = [_HEAD, "| dashboard | panels | uid | shows |", "|---|---|---|---|"]
    lines += [
        f"| [{d.title}](#{_anchor(d)}) | {len(list(d.panels))} | `{d.uid}` | {d.description} |"
        for d in found
    ]
    for dashboard in found:
        lines += _dashboard(dashboard)
    return "\n".join(lines) + "\n"


def _anchor(dashboard: Dashboard) -> str:
    return dashboard.title.lower().replace(" ", "-")


def _dashboard(dashboard: Dashboard) -> list[str]:
    chosen = ", ".join(f"`${v.name}`" for v in dashboard.variables)
    lines = [
        "",
        f"## {dashboard.title}",
        "",
        f"{dashboard.description} Chosen at its top: {chosen}.",
    ]
    for row in dashboard.rows:
        for panel in row.panels:
            lines += _panel(panel)
    return lines


def _panel(panel: Panel) -> list[str]:
    lines = ["", f"### {panel.id}. {panel.title}", "", panel.description]
    facts = [f"{panel.kind}, in `{panel.unit}` ({' or '.join(FAMILIES[panel.unit])})"]
    steps = [f"{t.tone} from {t.value:g}" for t in panel.thresholds if t.value is not None]
    if steps:
        facts.append(f"{panel.thresholds[0].tone}, {', '.join(steps)}")
    if panel.columns:
        facts.append("columns: " + ", ".join(c.title for c in panel.columns))
    if panel.may_be_empty:
        facts.append(f"may be empty: {panel.may_be_empty}")
    lines += ["", "; ".join(facts) + "."]
    for query in panel.queries:
        unit = f", in `{query.unit}`" if query.unit else ""
        lines += ["", f"`{query.legend}`{_ROLES[query.role]}{unit}:", "```promql"]
        lines += [*query.expr.splitlines(), "```"]
    return lines
