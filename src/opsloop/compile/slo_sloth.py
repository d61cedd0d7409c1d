"""Sloth's metric names beside ours, so that dashboards made for Sloth work (stack.slo.sloth_names)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opsloop import __version__, names
from opsloop.catalog.slo import DAY, Period
from opsloop.catalog.units import Duration
from opsloop.compile.selectors import quote
from opsloop.compile.slo_names import (
    BUDGET,
    GROUP_SLOTH,
    LEFT_RATIO,
    OBJECTIVE,
    PERIOD,
    RATIO_PERIOD,
    SLO,
    TILE,
    burn_rate,
    window_ratio,
)
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_windows import EACH

ID, SERVICE, NAME, WINDOW = "sloth_id", "sloth_service", "sloth_slo", "sloth_window"
_KEPT = ", ".join((ID, SERVICE, NAME, *names.SERVICE_LABELS))
_EACH_PERIOD = f"{EACH}, {PERIOD}"


def sloth_groups(specs: Iterable[SLOSpec]) -> list[dict[str, Any]]:
    """One group that repeats our results under Sloth's names and labels; none without objectives.

    A window has the name of its length, as Sloth has it. Periods that are no 30d have windows of
    other lengths; the month of the calendar goes by its nominal 30 days.
    """
    ordered = sorted(specs, key=lambda s: (s.service, s.slo))
    if not ordered:
        return []
    periods = sorted({s.period for s in ordered}, key=str)
    rules = [
        _rule("slo:objective:ratio", f"1 - {BUDGET}"),
        _rule("slo:error_budget:ratio", BUDGET),
        *(_rule("slo:time_period:days", _constant(p, _days(p)), _told(p)) for p in periods),
        *(rule for p in periods for rule in _windows(p, ordered)),
        _rule("slo:period_burn_rate:ratio", f"1 - {LEFT_RATIO}"),
        _rule("slo:period_error_budget_remaining:ratio", LEFT_RATIO),
        _info(),
    ]
    return [{"name": GROUP_SLOTH, "interval": str(TILE), "rules": [_plain(r) for r in rules]}]


def _windows(period: Period, specs: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """The error ratio of each window of a period and of itself, and the burn rate now."""
    windows = sorted({w for s in specs if s.period == period for p in s.pairs for w in p.windows})
    rules = [
        _rule(
            f"slo:sli_error:ratio_rate{window}",
            f"{window_ratio(window)}\n* on ({EACH}) group_right ()\n({_constant(period, '1')})",
            _told(period) | {WINDOW: str(window)},
        )
        for window in windows
    ]
    length = str(Duration(period.length))
    whole = f"{RATIO_PERIOD}\n* on ({_EACH_PERIOD}) group_right ()\n({_constant(period, '1')})"
    rules.append(
        _rule(f"slo:sli_error:ratio_rate{length}", whole, _told(period) | {WINDOW: length})
    )
    now = [f"{burn_rate(w)}{{{_mine(period)}}}" for w in windows]
    if now:
        # An objective without a page has no short windows: its shortest stands for now.
        first = f"\nor on ({EACH}, {SLO})\n".join(now)
        rules.append(_rule("slo:current_burn_rate:ratio", first, _told(period)))
    return rules


def _info() -> dict[str, Any]:
    value = f'label_replace(0 * {BUDGET} + 1, "sloth_objective", "$1", "{OBJECTIVE}", "(.*)%")'
    labels = {"sloth_mode": "opsloop", "sloth_spec": "opsloop/v1", "sloth_version": __version__}
    kept = f"{_KEPT}, sloth_objective"
    return {"record": "sloth_slo_info", "expr": _labelled(value, kept), "labels": labels}


def _rule(record: str, value: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"record": record, "expr": _labelled(value, _KEPT), "labels": dict(labels or {})}


def _plain(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule without labels has no such key."""
    return rule if rule["labels"] else {k: v for k, v in rule.items() if k != "labels"}


def _labelled(value: str, kept: str) -> str:
    """A value of ours under Sloth's labels; ours that say the same are left out."""
    named = f'label_join(\n{value}\n, "{ID}", "-", "{names.SERVICE}", "{SLO}")'
    named = f'label_replace({named}, "{SERVICE}", "$1", "{names.SERVICE}", "(.*)")'
    named = f'label_replace({named}, "{NAME}", "$1", "{SLO}", "(.*)")'
    return f"max by ({kept}) ({named})"


def _constant(period: Period, value: str) -> str:
    return f"0 * {BUDGET}{{{_mine(period)}}} + {value}"


def _mine(period: Period) -> str:
    return f"{PERIOD}={quote(str(period))}"


def _told(period: Period) -> dict[str, str]:
    """Keeps rules of equal names apart: Prometheus warns of two that are alike."""
    return {PERIOD: str(period)}


def _days(period: Period) -> str:
    return f"{int(period.length) / int(DAY):.10g}"
