"""routes.yml: which receivers each alert must reach, to be checked against alertmanager.yml."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.alerts import AlertRule
from opsloop.compile.options import Options
from opsloop.compile.receivers import people
from opsloop.compile.slo_alerts import SLOAlert
from opsloop.compile.yamltext import dump

_NOTE = "Each alert and its receivers; amtool config routes test shows the same."


def routes_yml(
    catalog: Catalog,
    options: Options,
    rules: Iterable[AlertRule],
    objectives: Iterable[SLOAlert] = (),
) -> str:
    """Said from the rules alone, not from the routes, so that a wrong route shows."""
    expected = [_rule(catalog, options, rule) for rule in rules]
    expected += [_objective(catalog, options, alert) for alert in objectives]
    for severity in names.SEVERITIES:
        told = people(catalog, options, severity)
        for alert in (names.REMEDIATION_FAILED, names.APPROVAL_NEEDED):
            # They carry the policy of their episode, and must not come back to the engine.
            labels = {"alertname": alert, names.SEVERITY: severity, names.POLICY: "any"}
            expected.append({"labels": labels, "receivers": [told]})
        running = {"alertname": names.REMEDIATION_RUNNING, names.SEVERITY: severity}
        labels = {**running, names.POLICY: "any"}
        expected.append({"labels": labels, "receivers": [names.RECEIVER_NOBODY]})
    return dump({"routes": expected}, _NOTE)


def _rule(catalog: Catalog, options: Options, rule: AlertRule) -> dict[str, Any]:
    labels = {"alertname": rule.alert, **rule.labels}
    if rule.subjects:
        labels[names.SERVICE] = rule.subjects[0]
    if rule.alert == names.WATCHDOG:
        return {"labels": labels, "receivers": [names.RECEIVER_ENGINE]}
    engine = [names.RECEIVER_ENGINE] if rule.policy else []
    return {"labels": labels, "receivers": [*engine, people(catalog, options, rule.severity)]}


def _objective(catalog: Catalog, options: Options, alert: SLOAlert) -> dict[str, Any]:
    labels = {"alertname": alert.alert, **alert.labels_for(alert.members[0])}
    engine = [names.RECEIVER_ENGINE] if alert.policy else []
    return {"labels": labels, "receivers": [*engine, people(catalog, options, alert.severity)]}
