"""Rules that every dashboard keeps; where grafana/dashboard-linter has one, it has its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from opsloop.compile.panels import (
    COLUMNS,
    FAMILIES,
    MOST_SERIES,
    Dashboard,
    Link,
    Panel,
    Query,
    Unit,
)
from opsloop.compile.panelvars import SPECIAL, uses
from tests.compile import promql_tree as tree
from tests.compile.promql_units import Mixed, dimension, fits


@dataclass(frozen=True)
class World:
    """recorded: series that the bundle's rules make. sizes: most values of a label, in a chart."""

    recorded: frozenset[str]
    sizes: Mapping[str, float]


@dataclass(frozen=True)
class Fault:
    rule: str
    where: str
    what: str


Found = Iterator[tuple[str, str]]
"""(rule, what is wrong)"""
_KINDS = ("_total", "_bucket", "_count", "_sum")


def faults(dashboards: Sequence[Dashboard], world: World) -> list[Fault]:
    """Every fault of these dashboards, which link to one another."""
    found = list(_unreadable(dashboards))
    if found:
        return found  # the other rules read the tree
    uids = [d.uid for d in dashboards]
    for uid, count in Counter(uids).items():
        if count > 1:
            found.append(Fault("uid-unique", uid, f"{count} dashboards have it"))
    for dashboard in dashboards:
        for check in (_whole, _variables, _places):
            found += [Fault(r, dashboard.uid, w) for r, w in check(dashboard)]
        for panel in dashboard.panels:
            where = f"{dashboard.uid} {panel.id} {panel.title!r}"
            for of_panel in PANEL_RULES:
                found += [Fault(r, where, w) for r, w in of_panel(panel, world)]
            links = [*panel.links, *(c.link for c in panel.columns if c.link)]
            found += [Fault(r, where, w) for r, w in _links(links, dashboard, dashboards)]
        links = list(dashboard.links)
        found += [Fault(r, dashboard.uid, w) for r, w in _links(links, dashboard, dashboards)]
    return found


def _unreadable(dashboards: Sequence[Dashboard]) -> Iterator[Fault]:
    for dashboard in dashboards:
        for panel in dashboard.panels:
            for query in panel.queries:
                try:
                    tree.parsed(query.expr)
                except ValueError as error:
                    where = f"{dashboard.uid} {panel.id} {query.ref}"
                    yield Fault("target-promql-rule", where, str(error))


def _whole(dashboard: Dashboard) -> Found:
    numbers = [p.id for p in dashboard.panels]
    for number, count in Counter(numbers).items():
        if count > 1 or not 0 < number < 1000:
            yield "panel-id-unique", f"{count} panels have the id {number}"
    if not (dashboard.title and dashboard.description and dashboard.uid):
        yield "dashboard-title-description", "has no title, description or uid"
    if len(numbers) > 16:
        yield "dashboard-size", f"{len(numbers)} panels"


def _variables(dashboard: Dashboard) -> Found:
    declared = {v.name for v in dashboard.variables}
    if "datasource" not in declared:
        yield "template-datasource-rule", "has no variable `datasource`"
    texts = [q.expr for p in dashboard.panels for q in p.queries]
    texts += [v.selector for v in dashboard.variables if v.selector]
    texts += [a.expr for a in dashboard.annotations]
    used = set().union(*(uses(t) for t in texts))
    for name in sorted(used - declared - set(SPECIAL)):
        yield "variable-declared", f"${name} is used and not declared"
    for name in sorted(declared - used - {"datasource"}):
        yield "variable-used", f"${name} is declared and not used"
    known = {"datasource"}
    for variable in dashboard.variables:
        if uses(variable.selector) - known:
            yield "variable-order", f"${variable.name} needs one that comes after it"
        if variable.kind == "values" and not (variable.selector and variable.label):
            yield "template-label-promql-rule", f"${variable.name} asks for nothing"
        known.add(variable.name)
    raw = [u for t in texts for u in tree.uses(tree.parsed(t)) if "instance" in u.matchers]
    for name in ("job", "instance"):
        if raw and name not in declared:
            yield f"template-{name}-rule", f"has no variable `{name}`"


def _places(dashboard: Dashboard) -> Found:
    for panel in dashboard.panels:
        at = panel.place
        if at.x < 0 or at.y < 0 or at.w < 1 or at.h < 1 or at.x + at.w > COLUMNS:
            yield "grid", f"panel {panel.id} stands outside"
    for one, other in combinations(dashboard.panels, 2):
        a, b = one.place, other.place
        if a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h:
            yield "grid", f"panels {one.id} and {other.id} overlap"


def _links(links: Sequence[Link], here: Dashboard, every: Sequence[Dashboard]) -> Found:
    by_uid = {d.uid: {v.name for v in d.variables} for d in every}
    for link in links:
        if bool(link.uid) == bool(link.page):
            yield "link-resolves", f"{link.title!r} leads to no one place"
        elif link.uid and link.uid not in by_uid:
            yield "link-resolves", f"{link.title!r} leads to {link.uid}, which is not there"
        elif link.uid:
            for name, source in link.passes:
                if name not in by_uid[link.uid]:
                    yield "link-resolves", f"{link.uid} has no variable {name}"
                if source.startswith("$") and source[1:] not in by_uid[here.uid]:
                    yield "link-resolves", f"{source} is no variable here"
        elif not link.page.startswith("/"):
            yield "link-resolves", f"{link.page} is no page"


def _words(panel: Panel, _: World) -> Found:
    if not panel.title.strip() or len(panel.description) < 20:
        yield "panel-title-description-rule", "has no title or no description"
    if not panel.links:
        yield "panel-link", "leads nowhere"
    if not panel.queries:
        yield "panel-no-targets-rule", "asks nothing"
    refs = Counter(q.ref for q in panel.queries)
    if any(count > 1 or not ref for ref, count in refs.items()):
        yield "ref-id-unique", f"{dict(refs)}"
    if panel.kind == "table":
        titles = [c.title for c in panel.columns]
        if panel.sort is None or panel.sort[0] not in titles:
            yield "table-columns", "is sorted by no column"
        if {c.ref for c in panel.columns if c.ref} != set(refs):
            yield "table-columns", "shows other queries than it asks"


def _steps(panel: Panel, _: World) -> Found:
    for steps in (panel.thresholds, *(c.thresholds for c in panel.columns)):
        if steps and (steps[0].value is not None or any(t.value is None for t in steps[1:])):
            yield "thresholds-ascending", "do not begin at the bottom"
        values = [t.value for t in steps if t.value is not None]
        if any(a >= b for a, b in pairwise(values)):
            yield "thresholds-ascending", f"{values}"


def _unit_of(panel: Panel, query: Query) -> Unit:
    column = next((c.unit for c in panel.columns if c.ref == query.ref), None)
    return query.unit or column or panel.unit


def _units(panel: Panel, _: World) -> Found:
    for query in panel.queries:
        unit = _unit_of(panel, query)
        if unit not in FAMILIES:
            yield "panel-units-rule", f"{unit!r} is no unit"
            continue
        families = ("count",) if panel.kind == "heatmap" else FAMILIES[unit]
        try:
            computed = dimension(tree.parsed(query.expr))
        except Mixed as mixed:
            yield "unit-family", f"{query.ref}: {mixed}"
            continue
        if not fits(computed, families):
            yield "unit-family", f"{query.ref} is shown in {unit} and computes {computed}"


def _promql(panel: Panel, world: World) -> Found:
    for query in panel.queries:
        node = tree.parsed(query.expr)
        for use in tree.uses(node):
            yield from _use(query, use, panel, world)
        if not tree.without_nan(node):
            yield "no-nan", f"{query.ref} is NaN when nothing happens"


def _use(query: Query, use: tree.Use, panel: Panel, world: World) -> Found:
    metric = use.metric
    own = metric if ":" in metric else ""
    if own and own not in world.recorded and not panel.may_be_empty:
        yield "metric-known", f"{query.ref}: {metric} is not recorded"
    counter = metric.endswith(_KINDS) and not own
    if counter and not set(use.around) & set(tree.COUNTED):
        yield "target-counter-agg-rule", f"{query.ref}: {metric} is a counter"
    rated = use.around[:1] in (("rate",), ("increase",), ("irate",))
    if rated and not own and use.range_s != tree.RATE_INTERVAL_S:
        yield "target-rate-interval-rule", f"{query.ref}: {metric} over {use.range_s} s"
    bucket = metric.endswith("_bucket") and "le" not in use.matchers
    if bucket and use.by and use.by[-1] is not None and "le" not in use.by[-1]:
        yield "le-kept", f"{query.ref}: {metric} is summed over le"
    if "instance" in use.matchers and "job" not in use.matchers and not own:
        yield "target-job-rule", f"{query.ref}: {metric}"


def _legends(panel: Panel, _: World) -> Found:
    for query in panel.queries:
        if not query.legend.strip():
            yield "legend-labels", f"{query.ref} has no legend"
        known = tree.labels(tree.parsed(query.expr))
        if query.legend_labels and (known is None or not query.legend_labels <= known):
            yield "legend-labels", f"{query.ref}: {query.legend} of {known}"
        if panel.kind == "table":
            asked = {c.label for c in panel.columns if c.label}
            if known is None or not asked <= known:
                yield "legend-labels", f"{query.ref}: columns {asked} of {known}"


def _series(panel: Panel, world: World) -> Found:
    """Rows of a table, lines of a chart."""
    each = [tree.most_series(tree.parsed(q.expr), world.sizes) for q in panel.queries]
    most = max(each) if panel.kind == "table" else sum(each)
    if most > MOST_SERIES:
        yield "most-series", f"{most:g} series"


PANEL_RULES: tuple[Callable[[Panel, World], Found], ...] = (
    _words, _promql, _units, _steps, _legends, _series,
)  # fmt: skip
