"""routes.yml: who each alert must reach and when, to be checked against alertmanager.yml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile import maintenance, places
from opsloop.compile.alertmanager import OWN_POSTS, repeat_interval
from opsloop.compile.alerts import AlertRule
from opsloop.compile.audience import PEOPLE, anyhow, people
from opsloop.compile.facts import objective_facts
from opsloop.compile.grace import grace_of, group_wait, own_wait
from opsloop.compile.options import Options
from opsloop.compile.prometheus import OWN_TEAM
from opsloop.compile.receivers import HEARTBEAT
from opsloop.compile.slo_alerts import SLOAlert
from opsloop.compile.yamltext import dump

_NOTE = """\
Each alert, who hears of it, and when. amtool config routes test shows the same receivers.
after: what passes before people are told of an alert that goes on; repeat: until they are told
again; muted: the intervals (below) in which they are not told."""


def routes_yml(
    catalog: Catalog,
    options: Options,
    rules: Iterable[AlertRule],
    objectives: Iterable[SLOAlert] = (),
) -> str:
    """Said from the rules alone, not from the routes, so that a wrong route shows."""
    made = _Expected(catalog, options)
    for rule in rules:
        made.rule(rule)
    objectives = list(objectives)
    graces = {
        (f.alert, f.policy): Duration.of(f.grace_s) for f in objective_facts(catalog, objectives)
    }
    for alert in objectives:
        made.objective(alert, graces.get((alert.alert, alert.policy or ""), Duration(0)))
    made.own_posts()
    made.foreign()
    value: dict[str, Any] = {"routes": made.routes}
    if intervals := maintenance.time_intervals(catalog):
        value["intervals"] = intervals
    return dump(value, _NOTE)


class _Expected:
    """Collects an entry for each alert and each group of people that can hear of it."""

    def __init__(self, catalog: Catalog, options: Options) -> None:
        self._catalog = catalog
        self._options = options
        windows = catalog.notifications.maintenance.values()
        self._windowed = {service for window in windows for service in window.services}
        self.routes: list[dict[str, Any]] = []

    def rule(self, rule: AlertRule) -> None:
        if rule.alert == names.WATCHDOG:
            told = [names.RECEIVER_ENGINE]
            if self._catalog.notifications.heartbeat is not None:
                told.insert(0, HEARTBEAT)
            self._add({"alertname": rule.alert, **rule.labels}, told)
            return
        if rule.alert in names.ONLY_INHIBITS:
            self._add({"alertname": rule.alert, **rule.labels}, [names.RECEIVER_NOBODY])
            return
        subjects = [self._labels(s) for s in rule.subjects] or [{}]
        labels = [{"alertname": rule.alert, **s, **rule.labels} for s in subjects]
        self._told(labels, rule.severity, rule.policy, grace_of(self._catalog, rule))
        if rule.alert == names.NOTIFICATIONS_FAILING:
            self._by_integration(rule)

    def _by_integration(self, rule: AlertRule) -> None:
        """Each way that fails is told on another one."""
        for integration in ("email", "pagerduty", "slack", "webhook"):
            labels = {"alertname": rule.alert, **self._labels("alertmanager"), **rule.labels}
            labels[names.INTEGRATION] = integration
            team = labels[names.TEAM]
            receiver = people(self._catalog, self._options, rule.severity, team)
            if integration == "slack":
                receiver = anyhow(self._catalog, self._options, team)
            self._add(labels, [receiver], self._when(rule.severity, labels, Duration(0)))

    def objective(self, alert: SLOAlert, grace: Duration) -> None:
        labels = [{"alertname": alert.alert, **alert.labels_for(s)} for s in alert.members]
        self._told(labels, alert.severity, alert.policy, grace)

    def own_posts(self) -> None:
        """They carry the labels of their episode, and must not come back to the engine."""
        services = [self._labels(s) for s in sorted(self._catalog.services)]
        services += [
            {names.SERVICE: alert.service, names.TEAM: alert.team}
            for _, alert in sorted(self._catalog.alerts.items())
            if alert.service and alert.team
        ]
        for severity in names.SEVERITIES:
            labels = {names.SEVERITY: severity, names.POLICY: "any"}
            for alert in sorted(OWN_POSTS, reverse=True):
                each = [{"alertname": alert, **labels, **s} for s in ({}, *services)]
                self._told(each, severity, None, own_wait(self._catalog))
            running = {"alertname": names.REMEDIATION_RUNNING, **labels}
            self._add(running, [names.RECEIVER_NOBODY])

    def foreign(self) -> None:
        """Alerts of somebody else's rules, which need not name a team."""
        services = [{names.SERVICE: s} for s in sorted(self._catalog.services)]
        for severity in names.SEVERITIES:
            labels = {"alertname": "AnyOther", names.SEVERITY: severity}
            wait = group_wait(self._catalog)
            self._told([labels | s for s in ({}, *services)], severity, None, wait)
        self._add({"alertname": "AnyOther"}, [PEOPLE])

    def _labels(self, subject: str) -> dict[str, str]:
        """The labels of a service, a host (also as a job, host/NAME) or a part of the stack."""
        catalog = self._catalog
        name = subject.removeprefix("host/")
        if subject == "node-exporter":  # it is on the host of its own
            name = places.local_host(catalog) or subject
        owner = catalog.services.get(subject) or catalog.hosts.get(name)
        return {names.SERVICE: name, names.TEAM: owner.team if owner else OWN_TEAM}

    def _told(
        self,
        labels: Iterable[Mapping[str, str]],
        severity: str,
        policy: str | None,
        grace: Duration,
    ) -> None:
        """One entry for the first labels of each outcome, of each team, and of services in windows."""
        engine = [names.RECEIVER_ENGINE] if policy else []
        seen = set()
        for each in labels:
            receiver = people(self._catalog, self._options, severity, each.get(names.TEAM))
            muted = self._muted(severity, each.get(names.SERVICE))
            own = each.get(names.SERVICE) if each.get(names.SERVICE) in self._windowed else None
            outcome = (receiver, each.get(names.TEAM), own, *muted)
            if outcome in seen:
                continue
            seen.add(outcome)
            self._add(each, [*engine, receiver], self._when(severity, each, grace))

    def _when(self, severity: str, labels: Mapping[str, str], grace: Duration) -> dict[str, Any]:
        when: dict[str, Any] = {
            "after": str(grace or group_wait(self._catalog)),
            "repeat": str(repeat_interval(self._catalog, severity)),
        }
        if muted := self._muted(severity, labels.get(names.SERVICE)):
            when["muted"] = muted
        return when

    def _muted(self, severity: str, service: str | None) -> list[str]:
        """The windows of its service, and quiet hours."""
        windows = sorted(self._catalog.notifications.maintenance.items())
        found = [n for n, w in windows if not w.services or service in w.services]
        return [*found, *maintenance.quiet(self._catalog, severity)]

    def _add(
        self, labels: Mapping[str, str], told: list[str], when: dict[str, Any] | None = None
    ) -> None:
        entry: dict[str, Any] = {"labels": dict(labels), "receivers": told}
        self.routes.append(entry | ({"people": when} if when else {}))
