"""Which series the rules of a catalog record: dashboards ask for no others of these names."""

from __future__ import annotations

import re
from typing import Final

from opsloop.catalog.model import Catalog, Service
from opsloop.catalog.slo import Period
from opsloop.compile.options import Options
from opsloop.compile.rules import record_groups
from opsloop.compile.slo_resolve import alerting_text, slo_specs
from opsloop.compile.slo_rules import slo_groups

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_RECORDED: Final = re.compile(r"[a-zA-Z_]\w*:[\w:]+")


def recorded(catalog: Catalog) -> frozenset[str]:
    """The names of all series that this catalog's rules record."""
    groups = [*record_groups(catalog), *slo_groups(slo_specs(_of_each_shape(catalog), Options()))]
    return frozenset(r["record"] for g in groups for r in g["rules"] if "record" in r)


def _of_each_shape(catalog: Catalog) -> Catalog:
    """The same with few services: what objectives record follows from their periods and windows,
    not from what is promised or measured."""
    seen: set[tuple[Period, str]] = set()
    kept: dict[str, Service] = {}
    for name, service in catalog.services.items():
        shapes = {(s.window, alerting_text(s.alerting)) for s in service.slos.values()}
        if not shapes <= seen:
            kept[name] = service
            seen |= shapes
    return catalog.model_copy(update={"services": kept})


def recorded_in(expr: str) -> set[str]:
    """The recorded series that an expression names."""
    return set(_RECORDED.findall(_STRING.sub("", expr)))
