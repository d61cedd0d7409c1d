"""What the engine is told of each alert that a policy meets: condition, freshness, SLI, grace."""

from __future__ import annotations

from collections.abc import Iterable

from opsloop import names
from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.alertrule import OWN
from opsloop.compile.alerts import AlertRule, interval_of
from opsloop.compile.grace import grace, grace_of, look_back
from opsloop.compile.options import Options
from opsloop.compile.prometheus import up_jobs
from opsloop.compile.selectors import one_of, quote
from opsloop.compile.slo_alerts import SLOAlert
from opsloop.compile.slo_names import TILE
from opsloop.compile.watched import watched_fresh, watched_sli, watched_window


def engine_json(
    catalog: Catalog,
    options: Options,
    rules: Iterable[AlertRule],
    objectives: Iterable[SLOAlert] = (),
) -> str:
    """engine/engine.json: the whole catalog and the facts, in a fixed form."""
    met = [rule for rule in rules if rule.policy]
    facts = [facts_of(catalog, rule) for rule in met if rule.about == "service"]
    facts += watched_facts(catalog, met)
    facts += objective_facts(catalog, objectives)
    value = EngineInput(catalog=catalog, facts=facts, port_base=options.ports.base)
    return value.model_dump_json(by_alias=True, indent=1, exclude_none=False) + "\n"


def facts_of(catalog: Catalog, rule: AlertRule) -> AlertFacts:
    """The facts of one alerting rule that a policy meets."""
    if rule.policy is None:
        raise ValueError(f"{rule.alert}: no policy meets it")
    return AlertFacts(
        alert=rule.alert,
        policy=rule.policy,
        scope=rule.scope,
        severity=rule.severity,
        condition=_condition(rule),
        fresh=_fresh(catalog, rule),
        sli=rule.sli if rule.shape != OWN else _answering(catalog, rule),
        window_s=look_back(catalog, rule).seconds,
        interval_s=interval_of(catalog, rule).seconds,
        grace_s=grace_of(catalog, rule).seconds,
    )


def watched_facts(catalog: Catalog, met: list[AlertRule]) -> list[AlertFacts]:
    """The facts of alerts about hosts, certificates and backups: one for each alert and policy."""
    of: dict[tuple[str, str], list[AlertRule]] = {}
    for rule in met:
        if rule.about != "service":
            of.setdefault((rule.alert, rule.policy or ""), []).append(rule)
    return [
        AlertFacts(
            alert=alert,
            policy=policy,
            scope=rules[0].scope,
            severity=rules[0].severity,
            condition="\nor\n".join(f"(\n{_labelled(r)}\n)" for r in rules),
            fresh="\nor\n".join(f"({watched_fresh(catalog, r)})" for r in rules),
            sli="\nor\n".join(f"({watched_sli(r)})" for r in rules),
            window_s=max(watched_window(catalog, r).seconds for r in rules),
            interval_s=interval_of(catalog, rules[0]).seconds,
            grace_s=max(grace_of(catalog, r).seconds for r in rules),
        )
        for (alert, policy), rules in of.items()
    ]


def _labelled(rule: AlertRule) -> str:
    """The condition with the labels by which one of several declared things is told apart."""
    if rule.about == "host":
        return rule.expr
    expr = f"(\n{rule.expr}\n)"
    for label in (names.SERVICE, names.BACKUP, names.CERTIFICATE):
        if label in rule.labels:
            expr = f'label_replace({expr}, "{label}", {quote(rule.labels[label])}, "", "")'
    return expr


def objective_facts(catalog: Catalog, alerts: Iterable[SLOAlert]) -> list[AlertFacts]:
    """The facts of alerts of objectives that a policy meets: one for each alert and policy."""
    met: dict[tuple[str, str], list[SLOAlert]] = {}
    for alert in alerts:
        if alert.policy:
            met.setdefault((alert.alert, alert.policy), []).append(alert)
    return [_objective(catalog, alert, policy, some) for (alert, policy), some in met.items()]


def _objective(catalog: Catalog, alert: str, policy: str, rules: list[SLOAlert]) -> AlertFacts:
    members = [spec for rule in rules for spec in rule.members]
    jobs = _up_of(catalog, {spec.service for spec in members})
    shorts = [int(p.short) for spec in members for p in spec.pairs] or [int(TILE)]
    window = Duration(max(shorts))
    hold = catalog.remediation.policies[policy].verify.hold
    auto = catalog.remediation.mode_of(policy) == "auto"
    kept = ", ".join(names.SERVICE_LABELS)
    return AlertFacts(
        alert=alert,
        policy=policy,
        scope="service",
        severity=rules[0].severity,
        condition="\nor\n".join(f"(\n{rule.expr}\n)" for rule in rules),
        fresh=f"min by ({names.SERVICE}) (timestamp({jobs}))",
        sli=f"max by ({kept}) ({jobs}) == 1",
        window_s=window.seconds,
        interval_s=TILE.seconds,
        grace_s=grace(window, hold, catalog.stack.evaluation_interval).seconds if auto else 0.0,
    )


def _condition(rule: AlertRule) -> str:
    """The alert's expression; labels that only the rule adds are put on the series."""
    if rule.shape != OWN:
        return rule.expr
    expr = f"(\n{rule.expr}\n)"
    kept = (names.SERVICE, names.TEAM, names.TIER, names.ENVIRONMENT)
    for label in kept:
        if label in rule.labels:
            expr = f'label_replace({expr}, "{label}", {quote(rule.labels[label])}, "", "")'
    return expr


def _up(catalog: Catalog, rule: AlertRule) -> str:
    return _up_of(catalog, set(rule.subjects))


def _up_of(catalog: Catalog, wanted: set[str]) -> str:
    plain, databases = up_jobs(catalog)
    jobs = [job for job in (*plain, *databases) if job in wanted]
    return f"up{{{one_of('job', jobs)}}}" if jobs else 'up{job=""}'


def _fresh(catalog: Catalog, rule: AlertRule) -> str:
    by = [names.SERVICE] + ([names.INSTANCE] if rule.scope == "instance" else [])
    return f"min by ({', '.join(by)}) (timestamp({_up(catalog, rule)}))"


def _answering(catalog: Catalog, rule: AlertRule) -> str:
    """A user's alert says nothing of health: its service is well when an instance answers."""
    by = ", ".join(names.SERVICE_LABELS)
    return f"max by ({by}) ({_up(catalog, rule)}) == 1"
