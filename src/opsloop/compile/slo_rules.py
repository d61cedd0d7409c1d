"""The rule groups of all objectives: constants, tiles and windows, budgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opsloop.catalog.units import Duration
from opsloop.compile.slo_alerts import slo_alerts
from opsloop.compile.slo_budget import budget_rules
from opsloop.compile.slo_names import (
    BUDGET,
    GROUP_BUDGET,
    GROUP_OBJECTIVES,
    GROUP_WINDOWS,
    TILE,
)
from opsloop.compile.slo_spec import SLOSpec, indicators
from opsloop.compile.slo_tiles import tile_rules
from opsloop.compile.slo_windows import burn_rules, ledger_rules, window_rules

BUDGET_INTERVAL = Duration(120_000)  # well within the look-back of 5m of whoever reads them


def slo_groups(specs: Iterable[SLOSpec]) -> list[dict[str, Any]]:
    """The groups of these objectives; none without objectives.

    In `slo` the order matters: a rule reads what rules above it wrote in the same evaluation.
    Raises InputError as `indicators` does.
    """
    ordered = sorted(specs, key=lambda s: (s.service, s.slo))
    if not ordered:
        return []
    calendar = [s for s in ordered if s.period.calendar]
    tiles = [rule for indicator in indicators(ordered) for rule in tile_rules(indicator)]
    alerts = slo_alerts(ordered)
    return [
        _group(GROUP_OBJECTIVES, TILE, [_constant(s) for s in ordered]),
        _group(
            GROUP_WINDOWS,
            TILE,
            [
                *tiles,
                *ledger_rules(calendar),
                *window_rules(ordered),
                *burn_rules(ordered),
                *(a.as_rule() for a in alerts if a.group == GROUP_WINDOWS),
            ],
        ),
        _group(
            GROUP_BUDGET,
            BUDGET_INTERVAL,
            [
                *budget_rules(ordered),
                *(a.as_rule() for a in alerts if a.group == GROUP_BUDGET),
            ],
        ),
    ]


def _constant(spec: SLOSpec) -> dict[str, Any]:
    return {"record": BUDGET, "expr": f"vector({spec.budget})", "labels": spec.series_labels}


def _group(name: str, interval: Duration, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "interval": str(interval), "rules": rules}
