"""The catalogue of alerts: which rules there are, for whom, and which policy meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.subject import HOST_ALERTS, Subject
from opsloop.catalog.units import Duration
from opsloop.compile import conditions, texts, texts_host
from opsloop.compile.alertrule import OWN, SEVERITY, AlertRule, labels, wait
from opsloop.compile.conditions import Clause
from opsloop.compile.declared import declared_rules
from opsloop.compile.hostdown import host_down_rules
from opsloop.compile.options import Options
from opsloop.compile.stackalerts import stack_rules
from opsloop.errors import BundleError

__all__ = [
    "GROUP_ALERTS", "GROUP_LOOP", "AlertRule", "alert_groups", "alert_rules", "interval_of"
]  # fmt: skip

GROUP_LOOP = "loop"
GROUP_ALERTS = "alerts"
MEMORY_FOR = 300_000  # ms; programs may need much memory for a moment
WILL_FILL_FOR = 3_600_000  # ms; a job that writes much and cleans up is over by then
CONNECTIONS_FOR = 60_000  # ms
CLOCK_FOR = 300_000  # ms; a time service that just started needs some
# Prometheus finds its Alertmanagers 5 s after its start and drops what fires before; it would
# tell of the Watchdog again only a minute later.
WATCHDOG_FOR = Duration(7_000)


def alert_rules(catalog: Catalog, options: Options) -> list[AlertRule]:
    """Every alerting rule, sorted by alert and policy.

    Raises BundleError when there are services but no rule that could fire for one.
    """
    found = [
        *_service_rules(catalog, options, names.SERVICE_DOWN, conditions.down),
        *_service_rules(catalog, options, names.HIGH_ERROR_RATE, conditions.errors),
        *_service_rules(catalog, options, names.HIGH_LATENCY, conditions.latency),
        *_service_rules(
            catalog, options, names.CONNECTIONS_HIGH, conditions.connections, CONNECTIONS_FOR
        ),
        *_host_rules(catalog, options),
        *host_down_rules(catalog, options),
        *(_own(catalog, options, name) for name in catalog.alerts),
    ]
    about = {subject for rule in found for subject in rule.subjects}
    about |= {name for name, service in catalog.services.items() if service.slos}
    if catalog.services and not about & set(catalog.services) and not catalog.alerts:
        raise BundleError(
            "alerts", "no service has one", "give a service targets, a process or metrics"
        )
    found += [*declared_rules(catalog, options), *stack_rules(catalog, options)]
    found.append(_watchdog(catalog, options))
    return sorted(found, key=lambda r: (r.alert, r.policy or "", r.part))


def alert_groups(catalog: Catalog, rules: Iterable[AlertRule]) -> list[dict[str, Any]]:
    """The groups `loop` (alerts about services that a policy meets) and `alerts` (the others)."""
    loop = [r.as_rule() for r in rules if r.urgent]
    others = [r.as_rule() for r in rules if not r.urgent]
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
    return catalog.stack.loop_interval if rule.urgent else catalog.stack.evaluation_interval


_BY_INSTANCE = (names.SERVICE_DOWN, names.CONNECTIONS_HIGH)


def _service_rules(
    catalog: Catalog,
    options: Options,
    shape: str,
    clauses: Callable[[Catalog, list[str]], list[Clause]],
    least: int = 0,
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
                severity=SEVERITY[shape],
                policy=policy,
                scope="instance" if shape in _BY_INSTANCE else "service",
                clauses=tuple(made),
                for_=wait(catalog, policy, least),
                labels=labels(SEVERITY[shape], policy),
                annotations=texts.service(catalog, options, shape, policy, subjects, made),
            )
        )
    return found


def _host_rules(catalog: Catalog, options: Options) -> list[AlertRule]:
    """One rule for each policy that meets this alert for some host, and one for the rest."""
    shapes: tuple[tuple[str, Callable[[Catalog, list[str]], list[Clause]], int], ...] = (
        (names.DISK_FULL, conditions.disk, 0),
        (names.DISK_WILL_FILL, conditions.disk_will_fill, WILL_FILL_FOR),
        (names.MEMORY_HIGH, conditions.memory, MEMORY_FOR),
        (names.CLOCK_SKEW, conditions.clock, CLOCK_FOR),
    )
    found = []
    for shape, clauses, least in shapes:
        by_policy: dict[str | None, list[str]] = {}
        for name in sorted(catalog.hosts):
            met = shape in HOST_ALERTS
            policy = catalog.policy_for(shape, Subject("host", name)) if met else None
            by_policy.setdefault(policy, []).append(name)
        for policy, members in by_policy.items():
            made = clauses(catalog, members)
            if not made:
                continue
            found.append(
                AlertRule(
                    shape=shape,
                    alert=shape,
                    severity=SEVERITY[shape],
                    policy=policy,
                    scope="instance",
                    clauses=tuple(made),
                    for_=wait(catalog, None, least),  # also with a policy: it is not that urgent
                    labels=labels(SEVERITY[shape], policy),
                    annotations=texts_host.host(catalog, options, shape, made, policy),
                    about="host",
                )
            )
    return found


def _own(catalog: Catalog, options: Options, name: str) -> AlertRule:
    """The user's own: our labels are added where the catalog knows them."""
    alert = catalog.alerts[name]
    service = catalog.services.get(alert.service) if alert.service else None
    team = alert.team or (service.team if service else None)
    policy = catalog.remediation.meeting(name, alert.service, team)
    own = labels(alert.severity, policy)
    known = {
        names.SERVICE: alert.service,
        names.TEAM: team,
        names.TIER: str(service.tier) if service else None,
        names.ENVIRONMENT: catalog.stack.environment,
    }
    own |= {k: v for k, v in known.items() if v}
    reserved = {*own, names.POLICY}
    own |= {k: v for k, v in sorted(alert.labels.items()) if k not in reserved}
    expr = alert.expr.strip()
    return AlertRule(
        shape=OWN,
        alert=name,
        severity=alert.severity,
        policy=policy,
        scope="service",
        clauses=(Clause(expr, (alert.service,) if alert.service else (), sli=""),),
        for_=alert.for_,
        labels=own,
        annotations=texts.own(catalog, options, name, policy),
    )


def _watchdog(catalog: Catalog, options: Options) -> AlertRule:
    return AlertRule(
        shape=names.WATCHDOG,
        alert=names.WATCHDOG,
        severity="",
        policy=None,
        scope="service",
        clauses=(Clause("vector(1)", ()),),
        for_=WATCHDOG_FOR,
        labels={names.ENVIRONMENT: catalog.stack.environment},
        annotations=texts.watchdog(catalog, options),
    )
