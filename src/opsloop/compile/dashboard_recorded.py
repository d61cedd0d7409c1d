"""Which series the rules of a catalog record: dashboards ask for no others of these names."""

from __future__ import annotations

import re
from typing import Final

from opsloop.catalog.model import Catalog
from opsloop.compile.options import Options
from opsloop.compile.rules import record_groups
from opsloop.compile.slo_resolve import slo_specs
from opsloop.compile.slo_rules import slo_groups

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_RECORDED: Final = re.compile(r"[a-zA-Z_]\w*:[\w:]+")


def recorded(catalog: Catalog) -> frozenset[str]:
    """The names of all series that this catalog's rules record."""
    groups = [*record_groups(catalog), *slo_groups(slo_specs(catalog, Options()))]
    return frozenset(r["record"] for g in groups for r in g["rules"] if "record" in r)


def recorded_in(expr: str) -> set[str]:
    """The recorded series that an expression names."""
    return set(_RECORDED.findall(_STRING.sub("", expr)))
