"""Alerts of objectives: burn rates, missing data, spent budgets, errors beyond the total."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from opsloop import names
from opsloop.catalog.slo import BurnPair, windows_for
from opsloop.catalog.units import Duration
from opsloop.compile import slo_texts
from opsloop.compile.selectors import one_of, quote
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
    policy: str | None = None

    @property
    def annotations(self) -> dict[str, Wording]:
        return {
            "summary": self.summary,
            "description": self.description,
            **slo_texts.common(self.alert, self.members, self.policy),
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
        policy = {names.POLICY: self.policy} if self.policy else {}
        return spec.series_labels | {names.SEVERITY: self.severity} | policy


def slo_alerts(specs: Sequence[SLOSpec]) -> list[SLOAlert]:
    """Every alert of these objectives, in the order of their rules."""
    found: list[SLOAlert] = []
    for members in alike(specs):
        for alert, make in _MAKERS.items():
            parts = _by_policy(alert, members)
            for policy, some in parts.items():
                found += make(_Scope(some, policy, _services(some) if len(parts) > 1 else ""))
    return found


@dataclass(frozen=True, slots=True)
class _Scope:
    """The objectives of one rule: alike, and met by one policy or none."""

    members: Sequence[SLOSpec]
    policy: str | None
    services: str  # a matcher, where others are alike but for the policy

    @property
    def spec(self) -> SLOSpec:
        return self.members[0]

    @property
    def matchers(self) -> str:
        """The labels that tell this rule's objectives from another's."""
        shared = ",".join(f"{k}={quote(v)}" for k, v in _shared(self.spec).items())
        return f"{self.services},{shared}" if self.services else shared

    def alert(self, name: str, severity: str, **more: Any) -> SLOAlert:
        """An alert of these objectives; the shared labels keep equal rules apart."""
        told = {names.POLICY: self.policy} if self.policy else {}
        labels = {names.SEVERITY: severity} | told
        labels |= {k: v for k, v in _shared(self.spec).items() if v}
        return SLOAlert(
            alert=name,
            severity=severity,
            members=tuple(self.members),
            labels=labels,
            policy=self.policy,
            **more,
        )


def _by_policy(alert: str, members: Sequence[SLOSpec]) -> dict[str | None, list[SLOSpec]]:
    found: dict[str | None, list[SLOSpec]] = {}
    for spec in members:
        found.setdefault(spec.policies.get(alert), []).append(spec)
    return dict(sorted(found.items(), key=lambda item: item[0] or ""))


def _services(members: Iterable[SLOSpec]) -> str:
    return one_of(names.SERVICE, {s.service for s in members})


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


def factor_text(factor: Fraction) -> str:
    return f"{float(factor):.10g}"


def _page(scope: _Scope) -> list[SLOAlert]:
    return _burning(scope, "page", BURN_CRITICAL, "P0")


def _ticket(scope: _Scope) -> list[SLOAlert]:
    return _burning(scope, "ticket", BURN_HIGH, "P1")


def _burning(scope: _Scope, kind: str, alert: str, severity: str) -> list[SLOAlert]:
    spec = scope.spec
    pairs = [(p, floor) for p, floor in zip(spec.pairs, spec.floors, strict=True) if p.kind == kind]
    if not pairs:
        return []
    limits = " or ".join(f"{factor_text(p.factor)} over {p.long} and {p.short}" for p, _ in pairs)
    return [
        scope.alert(
            alert,
            severity,
            group=GROUP_WINDOWS,
            expr="\nor\n".join(_burn_clause(scope.matchers, p, floor) for p, floor in pairs),
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
    ]


def covered(pair: BurnPair) -> int:
    """How many minutes of the long window must have data: a sixth, and more than the short one's.

    With less, both windows would look at the same few minutes.
    """
    return max(int(pair.long) // COVERED, int(pair.short)) // int(TILE)


def _burn_clause(matchers: str, pair: BurnPair, floor: int) -> str:
    factor = factor_text(pair.factor)
    return (
        f"(\n"
        f"  {burn_rate(pair.short)}{{{matchers}}} > {factor}\n"
        f"  and\n"
        f"  {burn_rate(pair.long)}{{{matchers}}} > {factor}\n"
        f"  and on ({EACH})\n"
        f"  {window_sum('errors', pair.long)} >= {floor}\n"
        f"  and on ({EACH})\n"
        f"  {window_sum('minutes', pair.long)} >= {covered(pair)}\n"
        f")"
    )


def missing_after(*specs: SLOSpec) -> tuple[Duration, Duration]:
    """(how long a tile may be away, how long that must last), from the fastest burn window."""
    shortest = min(p.short for s in specs for p in windows_for(s.period))
    rarest = max(int(s.scrape_interval) for s in specs)
    return Duration(max(int(shortest), 3 * rarest)), shortest


def _missing(scope: _Scope) -> list[SLOAlert]:
    window, wait = missing_after(*scope.members)
    return [
        scope.alert(
            DATA_MISSING,
            "P1",
            group=GROUP_WINDOWS,
            expr=f"{BUDGET}{{{scope.matchers}}}\n"
            f"unless on ({EACH})\n"
            f"last_over_time({TOTAL_TILE}[{half_open(window)}])",
            summary=Wording.of(*_OBJECT, " has no data"),
            description=Wording.of(
                f"Nothing was counted in the last {window}: the metric of this objective is gone,"
                " or its targets are not scraped. It cannot alert on errors now."
            ),
            wait=wait,
        )
    ]


def _exceeding(scope: _Scope) -> list[SLOAlert]:
    """The shortest long window has more errors than events."""
    if not scope.spec.pairs:
        return []
    long = min(p.long for p in scope.spec.pairs)
    errors, total = window_sum("errors", long), window_sum("total", long)
    return [
        scope.alert(
            ERRORS_EXCEED,
            "P1",
            group=GROUP_WINDOWS,
            expr=f"{BUDGET}{{{scope.matchers}}}\nand on ({EACH})\n({errors} > {total})",
            summary=Wording.of(*_OBJECT, " counts more errors than events"),
            description=Wording.of(
                "The error selector is no subset of the total selector, so the error ratio is"
                " wrong: correct the selectors in the catalog."
            ),
        )
    ]


def _exhausted(scope: _Scope) -> list[SLOAlert]:
    spec = scope.spec
    covered = int(spec.period.length) // int(TILE) // COVERED
    return [
        scope.alert(
            BUDGET_EXHAUSTED,
            "P1",
            group=GROUP_BUDGET,
            expr=f"{LEFT_RATIO}{{{scope.matchers}}} <= 0\n"
            f"and on ({EACH}, {PERIOD})\n"
            f"{period_sum('errors')} >= {spec.min_events}\n"
            f"and on ({EACH}, {PERIOD})\n"
            f"{period_sum('minutes')} >= {covered}",
            summary=Wording.of(*_OBJECT, " has spent its error budget"),
            description=Wording.of(
                "Objective ",
                *_PROMISE,
                " is missed; left of the budget: ",
                Value("humanizePercentage"),
                ".",
            ),
        )
    ]


_MAKERS: dict[str, Callable[[_Scope], list[SLOAlert]]] = {
    BURN_CRITICAL: _page,
    BURN_HIGH: _ticket,
    DATA_MISSING: _missing,
    ERRORS_EXCEED: _exceeding,
    BUDGET_EXHAUSTED: _exhausted,
}
