"""The catalogue of alerts: which rules there are, for whom, and which policy meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile import conditions, texts
from opsloop.compile.conditions import Clause
from opsloop.compile.options import Options
from opsloop.compile.wording import Wording
from opsloop.errors import BundleError

GROUP_LOOP = "loop"
GROUP_ALERTS = "alerts"
MEMORY_FOR = Duration(300_000)  # programs may need much memory for a moment
MONITORING_FOR = Duration(60_000)  # a part that restarts is back before
# Prometheus finds its Alertmanagers 5 s after its start and drops what fires before; it would
# tell of the Watchdog again only a minute later.
WATCHDOG_FOR = Duration(7_000)

Shape = Literal[
    "ServiceDown",
    "HighErrorRate",
    "HighLatency",
    "DiskFull",
    "MemoryHigh",
    "MonitoringDown",
    "Watchdog",
    "own",
]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule: a shape, the policy that meets it (or none), and its clauses."""

    shape: Shape
    alert: str
    severity: str  # empty: Watchdog, which nobody is told of
    policy: str | None
    scope: Literal["instance", "service"]
    clauses: tuple[Clause, ...]
    for_: Duration
    labels: Mapping[str, str]
    annotations: Mapping[str, Wording]

    @property
    def expr(self) -> str:
        if len(self.clauses) == 1:
            return self.clauses[0].expr
        return "\nor\n".join(f"(\n{c.expr}\n)" for c in self.clauses)

    @property
    def sli(self) -> str:
        return "\nor\n".join(c.sli for c in self.clauses)

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(sorted(s for c in self.clauses for s in c.subjects))

    @property
    def window(self) -> Duration:
        """The longest look-back."""
        return Duration(max(int(c.window) for c in self.clauses))

    def as_rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"alert": self.alert, "expr": self.expr}
        if self.for_:
            rule["for"] = str(self.for_)
        rule["labels"] = dict(self.labels)
        rule["annotations"] = {k: w.template() for k, w in self.annotations.items()}
        return rule


def alert_rules(catalog: Catalog, options: Options) -> list[AlertRule]:
    """Every alerting rule, sorted by alert and policy.

    Raises BundleError when there are services but no rule that could fire for one.
    """
    found = [
        *_service_rules(catalog, options, "ServiceDown", conditions.down),
        *_service_rules(catalog, options, "HighErrorRate", conditions.errors),
        *_service_rules(catalog, options, "HighLatency", conditions.latency),
        *_host_rules(catalog, options),
        *(_own(catalog, options, name) for name in catalog.alerts),
    ]
    about = {subject for rule in found for subject in rule.subjects}
    about |= {name for name, service in catalog.services.items() if service.slos}
    if catalog.services and not about & set(catalog.services) and not catalog.alerts:
        raise BundleError(
            "alerts", "no service has one", "give a service targets, a process or metrics"
        )
    found += [_monitoring(catalog, options), _watchdog(catalog)]
    return sorted(found, key=lambda r: (r.alert, r.policy or ""))


def alert_groups(catalog: Catalog, rules: Iterable[AlertRule]) -> list[dict[str, Any]]:
    """The groups `loop` (alerts that a policy meets) and `alerts` (the others)."""
    loop = [r.as_rule() for r in rules if r.policy]
    others = [r.as_rule() for r in rules if not r.policy]
    stack = catalog.stack
    groups = (
        (GROUP_LOOP, stack.loop_interval, loop),
        (GROUP_ALERTS, stack.evaluation_interval, others),
    )
    return [
        {"name": name, "interval": str(interval), "rules": group}
        for name, interval, group in groups
        if group
    ]


def interval_of(catalog: Catalog, rule: AlertRule) -> Duration:
    """How often a rule is evaluated."""
    return catalog.stack.loop_interval if rule.policy else catalog.stack.evaluation_interval


_SEVERITY = {
    names.SERVICE_DOWN: "P0",
    names.HIGH_ERROR_RATE: "P0",
    names.HIGH_LATENCY: "P1",
    names.DISK_FULL: "P1",
    names.MEMORY_HIGH: "P1",
    names.MONITORING_DOWN: "P1",
}


def _labels(severity: str, policy: str | None) -> dict[str, str]:
    return {names.SEVERITY: severity} | ({names.POLICY: policy} if policy else {})


def _wait(catalog: Catalog, policy: str | None) -> Duration:
    """With a policy none: the engine looks again before it acts. Without: two evaluations."""
    return Duration(0 if policy else 2 * int(catalog.stack.evaluation_interval))


def _service_rules(
    catalog: Catalog,
    options: Options,
    shape: Shape,
    clauses: Callable[[Catalog, list[str]], list[Clause]],
) -> list[AlertRule]:
    """One rule for each policy that meets this alert for some service, and one for the rest."""
    by_policy: dict[str | None, list[str]] = {}
    for name, service in sorted(catalog.services.items()):
        policy = catalog.remediation.meeting(shape, name, service.team)
        by_policy.setdefault(policy, []).append(name)
    found = []
    for policy, members in by_policy.items():
        made = clauses(catalog, members)
        if not made:
            continue
        subjects = sorted(s for c in made for s in c.subjects)
        found.append(
            AlertRule(
                shape=shape,
                alert=shape,
                severity=_SEVERITY[shape],
                policy=policy,
                scope="instance" if shape == names.SERVICE_DOWN else "service",
                clauses=tuple(made),
                for_=_wait(catalog, policy),
                labels=_labels(_SEVERITY[shape], policy),
                annotations=texts.service(catalog, options, shape, policy, subjects, made),
            )
        )
    return found


def _host_rules(catalog: Catalog, options: Options) -> list[AlertRule]:
    wait = _wait(catalog, None)
    shapes: tuple[tuple[Shape, list[Clause], Duration], ...] = (
        ("DiskFull", conditions.disk(catalog), wait),
        ("MemoryHigh", conditions.memory(catalog), Duration(max(int(wait), int(MEMORY_FOR)))),
    )
    return [
        AlertRule(
            shape=shape,
            alert=shape,
            severity=_SEVERITY[shape],
            policy=None,  # what policies do today (restart, scale) is done to services, not hosts
            scope="instance",
            clauses=tuple(clauses),
            for_=wait,
            labels=_labels(_SEVERITY[shape], None),
            annotations=texts.host(catalog, options, shape, clauses),
        )
        for shape, clauses, wait in shapes
        if clauses
    ]


def _monitoring(catalog: Catalog, options: Options) -> AlertRule:
    wait = _wait(catalog, None)
    return AlertRule(
        shape="MonitoringDown",
        alert=names.MONITORING_DOWN,
        severity=_SEVERITY[names.MONITORING_DOWN],
        policy=None,  # the process manager restarts the stack's own parts
        scope="instance",
        clauses=tuple(conditions.monitoring(catalog)),
        for_=Duration(max(int(wait), int(MONITORING_FOR))),
        labels=_labels(_SEVERITY[names.MONITORING_DOWN], None),
        annotations=texts.monitoring(catalog, options),
    )


def _own(catalog: Catalog, options: Options, name: str) -> AlertRule:
    """The user's own: our labels are added where the catalog knows them."""
    alert = catalog.alerts[name]
    service = catalog.services.get(alert.service) if alert.service else None
    team = alert.team or (service.team if service else None)
    policy = catalog.remediation.meeting(name, alert.service, team)
    labels = _labels(alert.severity, policy)
    known = {
        names.SERVICE: alert.service,
        names.TEAM: team,
        names.TIER: str(service.tier) if service else None,
        names.ENVIRONMENT: catalog.stack.environment,
    }
    labels |= {k: v for k, v in known.items() if v}
    reserved = {*labels, names.POLICY}
    labels |= {k: v for k, v in sorted(alert.labels.items()) if k not in reserved}
    expr = alert.expr.strip()
    return AlertRule(
        shape="own",
        alert=name,
        severity=alert.severity,
        policy=policy,
        scope="service",
        clauses=(Clause(expr, (alert.service,) if alert.service else (), sli=""),),
        for_=alert.for_,
        labels=labels,
        annotations=texts.own(catalog, options, name, policy),
    )


def _watchdog(catalog: Catalog) -> AlertRule:
    return AlertRule(
        shape="Watchdog",
        alert=names.WATCHDOG,
        severity="",
        policy=None,
        scope="service",
        clauses=(Clause("vector(1)", ()),),
        for_=WATCHDOG_FOR,
        labels={names.ENVIRONMENT: catalog.stack.environment},
        annotations=texts.watchdog(),
    )
