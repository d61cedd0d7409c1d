"""The tiles of the shipped rules, and pages of them, as promtool can evaluate them over a past."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opsloop.compile.slo_names import (
    ERRORS_TILE,
    GROUP_WINDOWS,
    KINDS,
    MONTH,
    PAGE,
    TILE,
    TOTAL_TILE,
    Kind,
    closed_page,
    half_open,
    month_page,
)
from opsloop.compile.slo_spec import SLOSpec, indicators
from opsloop.compile.slo_tiles import tile_rules
from opsloop.compile.slo_windows import few_services


def backfill_passes(specs: Iterable[SLOSpec]) -> list[dict[str, Any]]:
    """One group for each pass of `promtool tsdb create-blocks-from rules`, in their order.

    A pass reads what the passes before it wrote, so the server has to see those blocks first. The
    ledger adds to itself, which a pass cannot read; over a past without missed evaluations a page
    is the sum of its hour's tiles, closed in the hour's first minute as the ledger does it.
    promtool gives each group a phase of its own within its interval, so none is an hour.
    """
    ordered = sorted(specs, key=lambda s: (s.service, s.slo))
    found = indicators(ordered)
    pairs = [tile_rules(i) for i in found]
    passes = [
        _group("total", [total for total, _ in pairs]),
        _group("errors", [errors for _, errors in pairs]),
        _group("pages", [_page(k) for k in KINDS]),
    ]
    calendar = [s for s in ordered if s.period.calendar]
    if calendar:
        only = few_services(calendar)
        passes.append(_group("months", [_month(k, only) for k in KINDS]))
    return passes


def _group(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": f"{GROUP_WINDOWS}-{name}", "interval": str(TILE), "rules": rules}


def _page(kind: Kind) -> dict[str, Any]:
    function = "count_over_time" if kind == "minutes" else "sum_over_time"
    tile = ERRORS_TILE if kind == "errors" else TOTAL_TILE
    first = f"vector(time()) % {int(PAGE) // 1000} < {int(TILE) // 1000}"
    expr = f"{function}({tile}[{half_open(PAGE)}])\nand on () ({first})"
    return {"record": closed_page(kind), "expr": expr}


def _month(kind: Kind, only: str) -> dict[str, Any]:
    page = f"{closed_page(kind)}{{{only}}}" if only else closed_page(kind)
    month = f'count_values("{MONTH}", month(vector(time() - {int(TILE) // 1000})))'
    return {
        "record": month_page(kind),
        "expr": f"last_over_time({page}[{half_open(TILE)}])\n* on () group_left ({MONTH})\n  {month}",
    }
