"""Alerts of objectives: burn rates, missing data, spent budgets, errors beyond the total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from opsloop import names
from opsloop.catalog.slo import BurnPair, windows_for
from opsloop.catalog.units import Duration
from opsloop.compile import slo_texts
from opsloop.compile.selectors import quote
from opsloop.compile.slo_names import (
    ALERTING,
    BUDGET,
    BUDGET_EXHAUSTED,
    BURN_CRITICAL,
    BURN_HIGH,
    DATA_MISSING,
    ERRORS_EXCEED,
    GROUP_BUDGET,
    GROUP_WINDOWS,
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
from opsloop.compile.wording import Label, Part, Value, Wording

NO_WAIT = Duration(0)
COVERED = 6  # a long window, and a period, needs data for a sixth of its length to fire
_OBJECT: tuple[Part, ...] = (Label(names.SERVICE), "/", Label(SLO))
_PROMISE: tuple[Part, ...] = (Label(OBJECTIVE), " over ", Label(PERIOD))


@dataclass(frozen=True, slots=True)
class SLOAlert:
    """One alerting rule of several objectives. `group`: where it is evaluated."""

    group: str
    alert: str
    severity: str
    expr: str
    members: tuple[SLOSpec, ...]
    labels: Mapping[str, str]
    summary: Wording
    description: Wording
    wait: Duration = NO_WAIT

    @property
    def annotations(self) -> dict[str, Wording]:
        return {
            "summary": self.summary,
            "description": self.description,
            **slo_texts.common(self.alert, self.members),
        }

    def as_rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"alert": self.alert, "expr": self.expr}
        if self.wait:
            rule["for"] = str(self.wait)
        rule["labels"] = dict(self.labels)
        rule["annotations"] = {k: w.template() for k, w in self.annotations.items()}
        return rule

    def labels_for(self, spec: SLOSpec) -> dict[str, str]:
        """All labels of the alert when it fires for this objective."""
        return spec.series_labels | {names.SEVERITY: self.severity}


def slo_alerts(specs: Sequence[SLOSpec]) -> list[SLOAlert]:
    """Every alert of these objectives, in the order of their rules."""
    found: list[SLOAlert] = []
    for members in alike(specs):
        found += [*_burning(members), _missing(members), *_exceeding(members), _exhausted(members)]
    return found


def alike(specs: Iterable[SLOSpec]) -> list[list[SLOSpec]]:
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


def _burning(members: Sequence[SLOSpec]) -> list[SLOAlert]:
    spec, found = members[0], []
    for kind, alert, severity in (("page", BURN_CRITICAL, "P0"), ("ticket", BURN_HIGH, "P1")):
        pairs = [
            (p, floor) for p, floor in zip(spec.pairs, spec.floors, strict=True) if p.kind == kind
        ]
        if not pairs:
            continue
        limits = " or ".join(
            f"{factor_text(p.factor)} over {p.long} and {p.short}" for p, _ in pairs
        )
        found.append(
            SLOAlert(
                group=GROUP_WINDOWS,
                alert=alert,
                severity=severity,
                expr="\nor\n".join(_burn_clause(spec, p, floor) for p, floor in pairs),
                members=tuple(members),
                labels=_labels(severity, _shared(spec)),
                summary=Wording.of(
                    *_OBJECT, " burns its error budget at ", Value("times"), " times the even pace"
                ),
                description=Wording.of(
                    "Objective ",
                    *_PROMISE,
                    ": errors come ",
                    Value("times"),
                    f" times as fast as its budget allows (limit {limits}).",
                ),
            )
        )
    return found


def _burn_clause(spec: SLOSpec, pair: BurnPair, floor: int) -> str:
    factor, matchers = factor_text(pair.factor), _matchers(spec)
    covered = int(pair.long) // int(TILE) // COVERED
    return (
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


def missing_after(*specs: SLOSpec) -> tuple[Duration, Duration]:
    """(how long a tile may be away, how long that must last), from the fastest burn window."""
    shortest = min(p.short for s in specs for p in windows_for(s.period))
    rarest = max(int(s.scrape_interval) for s in specs)
    return Duration(max(int(shortest), 3 * rarest)), shortest


def _missing(members: Sequence[SLOSpec]) -> SLOAlert:
    spec = members[0]
    window, wait = missing_after(*members)
    return SLOAlert(
        group=GROUP_WINDOWS,
        alert=DATA_MISSING,
        severity="P1",
        expr=f"{BUDGET}{{{_matchers(spec)}}}\n"
        f"unless on ({EACH})\n"
        f"last_over_time({TOTAL_TILE}[{half_open(window)}])",
        members=tuple(members),
        labels=_labels("P1", _shared(spec)),
        summary=Wording.of(*_OBJECT, " has no data"),
        description=Wording.of(
            f"Nothing was counted in the last {window}: the metric of this objective is gone, or"
            " its targets are not scraped. It cannot alert on errors now."
        ),
        wait=wait,
    )


def _exceeding(members: Sequence[SLOSpec]) -> list[SLOAlert]:
    """The shortest long window has more errors than events."""
    spec = members[0]
    if not spec.pairs:
        return []
    long = min(p.long for p in spec.pairs)
    errors, total = window_sum("errors", long), window_sum("total", long)
    return [
        SLOAlert(
            group=GROUP_WINDOWS,
            alert=ERRORS_EXCEED,
            severity="P1",
            expr=f"{BUDGET}{{{_matchers(spec)}}}\nand on ({EACH})\n({errors} > {total})",
            members=tuple(members),
            labels=_labels("P1", _shared(spec)),
            summary=Wording.of(*_OBJECT, " counts more errors than events"),
            description=Wording.of(
                "The error selector is no subset of the total selector, so the error ratio is"
                " wrong: correct the selectors in the catalog."
            ),
        )
    ]


def _exhausted(members: Sequence[SLOSpec]) -> SLOAlert:
    spec = members[0]
    covered = int(spec.period.length) // int(TILE) // COVERED
    return SLOAlert(
        group=GROUP_BUDGET,
        alert=BUDGET_EXHAUSTED,
        severity="P1",
        expr=f"{LEFT_RATIO}{{{_matchers(spec)}}} <= 0\n"
        f"and on ({EACH}, {PERIOD})\n"
        f"{period_sum('errors')} >= {spec.min_events}\n"
        f"and on ({EACH}, {PERIOD})\n"
        f"{period_sum('minutes')} >= {covered}",
        members=tuple(members),
        labels=_labels("P1", _shared(spec)),
        summary=Wording.of(*_OBJECT, " has spent its error budget"),
        description=Wording.of(
            "Objective ",
            *_PROMISE,
            " is missed; left of the budget: ",
            Value("humanizePercentage"),
            ".",
        ),
    )
