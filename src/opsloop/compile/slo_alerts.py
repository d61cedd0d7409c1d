"""Alerts of objectives: burn rates, missing data, spent budgets, errors beyond the total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from opsloop import names
from opsloop.catalog.slo import BurnPair, Period, windows_for
from opsloop.catalog.units import Duration
from opsloop.compile.selectors import quote
from opsloop.compile.slo_names import (
    ALERTING,
    BUDGET,
    BUDGET_EXHAUSTED,
    BURN_CRITICAL,
    BURN_HIGH,
    DATA_MISSING,
    ERRORS_EXCEED,
    LEFT_RATIO,
    OBJECTIVE,
    PERIOD,
    SLO,
    TILE,
    TOTAL_TILE,
    burn_rate,
    half_open,
    period_sum,
    window_sum,
)
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_windows import EACH

COVERED = 6  # a long window must have data for a sixth of its length before it may fire
_OBJECT = f"{{{{ $labels.{names.SERVICE} }}}}/{{{{ $labels.{SLO} }}}}"


def window_alerts(specs: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """Alerts on windows, evaluated each minute beside the rules that they read."""
    rules: list[dict[str, Any]] = []
    for members in _alike(specs):
        for kind, alert, severity in (("page", BURN_CRITICAL, "P0"), ("ticket", BURN_HIGH, "P1")):
            pairs = [
                (p, floor)
                for p, floor in zip(members[0].pairs, members[0].floors, strict=True)
                if p.kind == kind
            ]
            if pairs:
                rules.append(_burning(alert, severity, members[0], pairs))
    rules += [
        _missing(period, [s for s in specs if s.period == period])
        for period in sorted({s.period for s in specs}, key=str)
    ]
    return [*rules, *_exceeding(specs)]


def budget_alerts(specs: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """The alert on spent budgets, evaluated beside the budget rules."""
    return [_exhausted(members[0]) for members in _alike(specs)]


def _alike(specs: Iterable[SLOSpec]) -> list[list[SLOSpec]]:
    """Objectives whose alerts are equal, so that one rule serves them all."""
    found: dict[tuple[str, str, str], list[SLOSpec]] = {}
    for spec in specs:
        key = (str(spec.period), str(spec.objective), spec.alerting)
        found.setdefault(key, []).append(spec)
    return [members for _, members in sorted(found.items())]


def _shared(spec: SLOSpec) -> dict[str, str]:
    """The labels that tell one rule's objectives from another's."""
    return {PERIOD: str(spec.period), OBJECTIVE: str(spec.objective), ALERTING: spec.alerting}


def _matchers(spec: SLOSpec) -> str:
    return ",".join(f"{k}={quote(v)}" for k, v in _shared(spec).items())


def _labels(severity: str, shared: Mapping[str, str]) -> dict[str, str]:
    """The series have the shared labels already; here they keep equal rules apart."""
    return {names.SEVERITY: severity} | {k: v for k, v in shared.items() if v}


def factor_text(factor: Fraction) -> str:
    return f"{float(factor):.10g}"


def _burning(
    alert: str, severity: str, spec: SLOSpec, pairs: Sequence[tuple[BurnPair, int]]
) -> dict[str, Any]:
    clauses, matchers = [], _matchers(spec)
    for pair, floor in pairs:
        factor = factor_text(pair.factor)
        covered = int(pair.long) // int(TILE) // COVERED
        clauses.append(
            f"(\n"
            f"  {burn_rate(pair.short)}{{{matchers}}} > {factor}\n"
            f"  and\n"
            f"  {burn_rate(pair.long)}{{{matchers}}} > {factor}\n"
            f"  and on ({EACH})\n"
            f"  {window_sum('errors', pair.long)} >= {floor}\n"
            f"  and on ({EACH})\n"
            f"  {window_sum('minutes', pair.long)} >= {covered}\n"
            f")"
        )
    text = " or ".join(f"{factor_text(p.factor)} over {p.long} and {p.short}" for p, _ in pairs)
    return {
        "alert": alert,
        "expr": "\nor\n".join(clauses),
        "labels": _labels(severity, _shared(spec)),
        "annotations": {
            "summary": f"{_OBJECT} burns its error budget "
            '{{ $value | printf "%.1f" }} times too fast',
            "description": f"Objective {{{{ $labels.{OBJECTIVE} }}}} over"
            f" {{{{ $labels.{PERIOD} }}}}: burn rate above {text}.",
        },
    }


def missing_after(period: Period, specs: Iterable[SLOSpec]) -> tuple[Duration, Duration]:
    """(how long a tile may be away, how long that must last), from the fastest burn window."""
    shortest = min(p.short for p in windows_for(period))
    rarest = max((int(s.scrape_interval) for s in specs), default=0)
    return Duration(max(int(shortest), 3 * rarest)), shortest


def _missing(period: Period, specs: Sequence[SLOSpec]) -> dict[str, Any]:
    window, wait = missing_after(period, specs)
    return {
        "alert": DATA_MISSING,
        "expr": f"{BUDGET}{{{PERIOD}={quote(str(period))}}}\n"
        f"unless on ({EACH})\n"
        f"last_over_time({TOTAL_TILE}[{half_open(window)}])",
        "for": str(wait),
        "labels": _labels("P1", {PERIOD: str(period)}),
        "annotations": {
            "summary": f"{_OBJECT} has no data",
            "description": f"No event count since {window} and more: the metric of this SLI is"
            " gone, or its targets are not scraped. Its budget is not known and cannot alert.",
        },
    }


def _exceeding(specs: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """Of each objective with a burn alert: its shortest long window has more errors than events."""
    rules = []
    for members in _alike(specs):
        long = [p.long for p in members[0].pairs]
        if not long:
            continue
        errors, total = window_sum("errors", min(long)), window_sum("total", min(long))
        rules.append(
            {
                "alert": ERRORS_EXCEED,
                "expr": f"{BUDGET}{{{_matchers(members[0])}}}\nand on ({EACH})\n({errors} > {total})",
                "labels": _labels("P1", _shared(members[0])),
                "annotations": {
                    "summary": f"{_OBJECT} counts more errors than events",
                    "description": "The error selector is no subset of the total selector, so the"
                    " error ratio is wrong. Correct the selectors in the catalog.",
                },
            }
        )
    return rules


def _exhausted(spec: SLOSpec) -> dict[str, Any]:
    return {
        "alert": BUDGET_EXHAUSTED,
        "expr": f"{LEFT_RATIO}{{{_matchers(spec)}}} <= 0\n"
        f"and on ({EACH}, {PERIOD})\n"
        f"{period_sum('errors')} >= {spec.min_events}",
        "labels": _labels("P1", _shared(spec)),
        "annotations": {
            "summary": f"{_OBJECT} has spent its error budget",
            "description": f"Objective {{{{ $labels.{OBJECTIVE} }}}} over"
            f" {{{{ $labels.{PERIOD} }}}} is missed; left: {{{{ $value | humanizePercentage }}}}.",
        },
    }
