"""alertmanager.yml: who is told of an alert and when, and what keeps it from people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile import maintenance
from opsloop.compile.alertrule import SEVERITY
from opsloop.compile.alerts import AlertRule
from opsloop.compile.audience import PEOPLE, anyhow, differing, people
from opsloop.compile.facts import objective_facts
from opsloop.compile.grace import grace_of, group_wait, own_wait
from opsloop.compile.inhibitions import inhibitions
from opsloop.compile.messages import MESSAGES_TMPL
from opsloop.compile.options import Options
from opsloop.compile.prometheus import OWN_TEAM
from opsloop.compile.receivers import HEARTBEAT, SECRETS, Node, receivers
from opsloop.compile.selectors import one_of, quote
from opsloop.compile.slo_alerts import SLOAlert
from opsloop.compile.yamltext import dump

OWN_POSTS = (names.APPROVAL_NEEDED, names.REMEDIATION_FAILED)
# All alerts of a service and severity are one notification, and one incident of PagerDuty.
GROUP_BY = (names.SERVICE, names.TEAM, names.ENVIRONMENT, names.SEVERITY)
MESSAGES = MESSAGES_TMPL.rpartition("/")[2]  # beside alertmanager.yml
_DAY = Duration(86_400_000)
_HOUSE_KEEPING = "30s"


@dataclass(frozen=True, slots=True)
class LoopAlert:
    """An alert that a policy meets, how long people are not told of it, and whose it may be."""

    alert: str
    policy: str
    severity: str
    grace: Duration
    teams: frozenset[str] = frozenset()


def loop_alerts(
    catalog: Catalog, rules: Iterable[AlertRule], objectives: Sequence[SLOAlert] = ()
) -> list[LoopAlert]:
    found = [
        LoopAlert(r.alert, r.policy, r.severity, grace_of(catalog, r), _teams(catalog, r))
        for r in rules
        if r.policy
    ]
    of: dict[tuple[str, str | None], set[str]] = {}
    for objective in objectives:
        teams = {catalog.services[spec.service].team for spec in objective.members}
        of.setdefault((objective.alert, objective.policy), set()).update(teams)
    for fact in objective_facts(catalog, objectives):
        teams = of[fact.alert, fact.policy]
        grace = Duration.of(fact.grace_s)
        found.append(LoopAlert(fact.alert, fact.policy, fact.severity, grace, frozenset(teams)))
    return found


def alertmanager_yml(
    catalog: Catalog,
    options: Options,
    rules: list[AlertRule],
    objectives: Iterable[SLOAlert] = (),
) -> str:
    """The configuration; secret files are relative to build/alertmanager.

    Alertmanager resolves some of them against its own directory, so it must be started there.
    """
    objectives = list(objectives)
    met = {r.alert for r in rules if r.policy} | {o.alert for o in objectives if o.policy}
    slack = catalog.notifications.slack.url_file
    config: Node = {
        "global": {"resolve_timeout": "5m"},
        "route": _Tree(catalog, options).root(loop_alerts(catalog, rules, objectives)),
        "inhibit_rules": inhibitions(catalog, sorted(met)),
        "receivers": receivers(catalog, options),
    }
    if slack is None:
        config["global"]["slack_api_url_file"] = f"{SECRETS}/{names.SECRET_SLACK_URL}"
    config["templates"] = [MESSAGES]
    if intervals := maintenance.time_intervals(catalog):
        config["time_intervals"] = intervals
    return dump(config)


def repeat_interval(catalog: Catalog, severity: str) -> Duration:
    wanted = int(catalog.notifications.repeat_interval)
    return Duration(max(int(_DAY), wanted) if severity == "P2" else wanted)


class _Tree:
    """The routes of one catalog. Those that tell people have the same branches below them: teams
    that are told elsewhere, and services in maintenance windows of their own."""

    def __init__(self, catalog: Catalog, options: Options) -> None:
        self._catalog = catalog
        self._options = options
        self._owners = _owners(catalog)

    def root(self, loop: list[LoopAlert]) -> Node:
        catalog = self._catalog
        severities = [self._severity(s) for s in names.SEVERITIES]
        nobody = {"matchers": [one_of("alertname", names.ONLY_INHIBITS)]}
        return {
            "receiver": PEOPLE,
            "group_by": list(GROUP_BY),
            "group_wait": str(group_wait(catalog)),
            "group_interval": _HOUSE_KEEPING,
            "repeat_interval": str(catalog.notifications.repeat_interval),
            "routes": [
                *_heartbeat(catalog),
                _watchdog(),
                nobody | {"receiver": names.RECEIVER_NOBODY},
                self._own_posts(),
                _engine(),
                *(self._graceful(alerts) for alerts in _alike(loop)),
                self._slack_fails(),
                *severities,
            ],
        }

    def _slack_fails(self) -> Node:
        """Slack is what tells of P1: that it fails is told on every other way too."""
        alert = names.NOTIFICATIONS_FAILING
        matchers = [_is("alertname", alert), _is(names.INTEGRATION, "slack")]
        receiver = anyhow(self._catalog, self._options, OWN_TEAM)
        teams = frozenset((OWN_TEAM,))
        return self._muted({"matchers": matchers}, SEVERITY[alert], receiver, teams)

    def _own_posts(self) -> Node:
        """What the engine posts for people: the episodes of a service together."""
        return {
            "matchers": [one_of("alertname", OWN_POSTS)],
            "receiver": PEOPLE,
            "group_by": ["alertname", names.ORIGINAL, *GROUP_BY],
            "group_wait": str(own_wait(self._catalog)),
            "group_interval": "10s",
            "routes": [self._severity(severity) for severity in names.SEVERITIES],
        }

    def _graceful(self, alerts: list[LoopAlert]) -> Node:
        """People hear of it after the grace; an alert that joins a live group waits as long."""
        matchers = [
            one_of("alertname", sorted({a.alert for a in alerts})),
            one_of(names.POLICY, sorted({a.policy for a in alerts})),
        ]
        grace = str(alerts[0].grace)
        teams = frozenset[str]().union(*(a.teams for a in alerts))
        node = {"matchers": matchers, "group_wait": grace, "group_interval": grace}
        return self._people(node, alerts[0].severity, teams)

    def _severity(self, severity: str) -> Node:
        """Routes that end every other one: each alert with a severity meets one of them."""
        return self._people({"matchers": [_is(names.SEVERITY, severity)]}, severity)

    def _people(self, node: Node, severity: str, teams: frozenset[str] | None = None) -> Node:
        catalog, options = self._catalog, self._options
        if severity == "P2":
            node["repeat_interval"] = str(repeat_interval(catalog, severity))
        elsewhere = differing(catalog, options, severity, teams)
        routes = []
        for team in elsewhere:
            own = {"matchers": [_is(names.TEAM, team)]}
            told = people(catalog, options, severity, team)
            routes.append(self._muted(own, severity, told, frozenset((team,))))
        others = teams - frozenset(elsewhere) if teams is not None else None
        node = self._muted(node, severity, people(catalog, options, severity), others)
        if routes:
            node["routes"] = [*routes, *node.get("routes", ())]
        return node

    def _muted(
        self, node: Node, severity: str, receiver: str, teams: frozenset[str] | None
    ) -> Node:
        """Mute a people route in its windows; those of some services need a route each.

        teams: whose alerts come here; None: anybody's, also alerts without a team.
        """
        catalog = self._catalog

        def among(service: str) -> bool:
            return teams is None or not teams.isdisjoint(self._owners.get(service, ()))

        everywhere, by_services = maintenance.classes(catalog, among)
        quiet = maintenance.quiet(catalog, severity)
        node["receiver"] = receiver
        if by_services:
            node["routes"] = [
                {
                    "matchers": [one_of(names.SERVICE, services)],
                    "receiver": receiver,
                    "mute_time_intervals": [*windows, *quiet],
                }
                for services, windows in by_services
            ]
        if everywhere or quiet:
            node["mute_time_intervals"] = [*everywhere, *quiet]
        return node


def _alike(loop: Iterable[LoopAlert]) -> list[list[LoopAlert]]:
    """Alerts with a grace whose routes would be equal, in one list: the route names all pairs.

    A list holds every pair of its alerts and its policies, so that it matches no other.
    """
    by_policy: dict[tuple[str, str, Duration], list[LoopAlert]] = {}
    for alert in loop:
        if alert.grace:
            by_policy.setdefault((alert.policy, alert.severity, alert.grace), []).append(alert)
    found: dict[tuple[str, Duration, tuple[str, ...]], list[LoopAlert]] = {}
    for (_, severity, grace), alerts in by_policy.items():
        key = (severity, grace, tuple(sorted({a.alert for a in alerts})))
        found.setdefault(key, []).extend(alerts)
    return list(found.values())


def _heartbeat(catalog: Catalog) -> list[Node]:
    """Told at each tick of its own, beside the engine."""
    given = catalog.notifications.heartbeat
    if given is None:
        return []
    node = _watchdog() | {"receiver": HEARTBEAT, "continue": True}
    shorter = Duration(max(1_000, int(given.every) // 2))
    return [node | {"group_interval": str(given.every), "repeat_interval": str(shorter)}]


def _watchdog() -> Node:
    return {
        "matchers": [_is("alertname", names.WATCHDOG)],
        "receiver": names.RECEIVER_ENGINE,
        "group_by": ["..."],
        "group_wait": "0s",
        "group_interval": "10s",
        # Shorter than the interval: told at each tick, also by an Alertmanager that just came
        # back and remembers having told it.
        "repeat_interval": "5s",
    }


def _engine() -> Node:
    return {
        "matchers": [f'{names.POLICY}!=""'],
        "receiver": names.RECEIVER_ENGINE,
        "group_by": ["..."],
        "group_wait": "0s",
        # An alert that fires again while its group still lives waits for this long at most.
        "group_interval": "1s",
        # While RemediationRunning inhibits an alert, its end is told to nobody. When it fires
        # again, Alertmanager takes that for the firing it told before, and repeats it only.
        "repeat_interval": "5s",
        "continue": True,
    }


def _is(label: str, value: str) -> str:
    return f"{label}={quote(value)}"


def _teams(catalog: Catalog, rule: AlertRule) -> frozenset[str]:
    """The teams that the alerts of a rule may be labelled with."""
    if names.TEAM in rule.labels:
        return frozenset((rule.labels[names.TEAM],))
    owners = [catalog.services.get(subject) for subject in rule.subjects]
    if rule.shape == "own" or None in owners:  # its expression may set the label
        return frozenset(catalog.notifications.teams).union(*_owners(catalog).values())
    return frozenset(service.team for service in owners if service is not None)


def _owners(catalog: Catalog) -> dict[str, set[str]]:
    """Service -> teams that its alerts may be labelled with."""
    found = {name: {service.team} for name, service in catalog.services.items()}
    for alert in catalog.alerts.values():
        if alert.service and alert.team:
            found.setdefault(alert.service, set()).add(alert.team)
    for probe in catalog.probes.values():
        if probe.service:
            found.setdefault(probe.service, set()).add(probe.team)
    return found
