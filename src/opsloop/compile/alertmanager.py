"""alertmanager.yml: who is told of an alert and when, and what keeps it from people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile import maintenance
from opsloop.compile.alerts import AlertRule
from opsloop.compile.facts import grace_of
from opsloop.compile.options import Options
from opsloop.compile.receivers import PEOPLE, SECRETS, Node, people, receivers
from opsloop.compile.selectors import one_of, quote
from opsloop.compile.slo_alerts import SLOAlert
from opsloop.compile.slo_names import BURN_CRITICAL, BURN_HIGH, DATA_MISSING, SLO
from opsloop.compile.yamltext import dump

_OWN_POSTS = (names.APPROVAL_NEEDED, names.REMEDIATION_FAILED)
_DAY = Duration(86_400_000)
_HOUSE_KEEPING = "30s"


@dataclass(frozen=True, slots=True)
class LoopAlert:
    """An alert that a policy meets, and how long people are not told of it."""

    alert: str
    policy: str
    severity: str
    grace: Duration


def loop_alerts(catalog: Catalog, rules: Iterable[AlertRule]) -> list[LoopAlert]:
    return [
        LoopAlert(r.alert, r.policy, r.severity, grace_of(catalog, r)) for r in rules if r.policy
    ]


def alertmanager_yml(
    catalog: Catalog,
    options: Options,
    rules: list[AlertRule],
    objectives: Iterable[SLOAlert] = (),
) -> str:
    """The configuration; secret files are relative to build/alertmanager.

    Alertmanager resolves some of them against its own directory, so it must be started there.
    """
    met = {r.alert for r in rules if r.policy} | {o.alert for o in objectives if o.policy}
    config: Node = {
        "global": {
            "resolve_timeout": "5m",
            "slack_api_url_file": f"{SECRETS}/{names.SECRET_SLACK_URL}",
        },
        "route": _root(catalog, options, loop_alerts(catalog, rules)),
        "inhibit_rules": _inhibitions(catalog, sorted(met)),
        "receivers": receivers(catalog, options),
    }
    if intervals := maintenance.time_intervals(catalog):
        config["time_intervals"] = intervals
    return dump(config)


def _root(catalog: Catalog, options: Options, loop: list[LoopAlert]) -> Node:
    group = ["alertname", names.SERVICE]
    return {
        "receiver": PEOPLE,
        "group_by": group,
        "group_wait": "1s",
        "group_interval": _HOUSE_KEEPING,
        "repeat_interval": str(catalog.notifications.repeat_interval),
        "routes": [
            _watchdog(),
            {
                "matchers": [_is("alertname", names.REMEDIATION_RUNNING)],
                "receiver": names.RECEIVER_NOBODY,
            },
            _own_posts(catalog, options),
            _engine(),
            *(_graceful(catalog, options, a) for a in loop if a.grace),
            *_by_severity(catalog, options),
        ],
    }


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


def _own_posts(catalog: Catalog, options: Options) -> Node:
    """What the engine posts for people: each episode by itself, at once."""
    return {
        "matchers": [one_of("alertname", _OWN_POSTS)],
        "receiver": PEOPLE,
        "group_by": ["alertname", names.ORIGINAL, *names.EPISODE_LABELS],
        "routes": _by_severity(catalog, options),
    }


def _graceful(catalog: Catalog, options: Options, alert: LoopAlert) -> Node:
    """People hear of it after the grace; an alert that joins a live group waits as long."""
    node: Node = {
        "matchers": [_is("alertname", alert.alert), _is(names.POLICY, alert.policy)],
        "receiver": people(catalog, options, alert.severity),
        "group_wait": str(alert.grace),
        "group_interval": str(alert.grace),
    }
    if alert.severity == "P2":
        node["repeat_interval"] = str(_repeat_p2(catalog))
    return _with_windows(catalog, node)


def _by_severity(catalog: Catalog, options: Options) -> list[Node]:
    """Routes that end every other one: each alert with a severity meets one of them."""
    nodes = []
    for severity in names.SEVERITIES:
        node: Node = {
            "matchers": [_is(names.SEVERITY, severity)],
            "receiver": people(catalog, options, severity),
        }
        if severity == "P2":
            node["repeat_interval"] = str(_repeat_p2(catalog))
        nodes.append(_with_windows(catalog, node))
    return nodes


def _repeat_p2(catalog: Catalog) -> Duration:
    return Duration(max(int(_DAY), int(catalog.notifications.repeat_interval)))


def _with_windows(catalog: Catalog, node: Node) -> Node:
    """Mute a people route in maintenance windows; those of some services need a route each."""
    everywhere, by_services = maintenance.classes(catalog)
    if by_services:
        node["routes"] = [
            {
                "matchers": [one_of(names.SERVICE, services)],
                "receiver": node["receiver"],
                "mute_time_intervals": windows,
            }
            for services, windows in by_services
        ]
    if everywhere:
        node["mute_time_intervals"] = everywhere
    return node


def _is(label: str, value: str) -> str:
    return f"{label}={quote(value)}"


def _inhibitions(catalog: Catalog, met: list[str]) -> list[Node]:
    """What is told already, or is a consequence of it, is not told again.

    met: the alerts that a policy meets.
    """
    engine = one_of("alertname", (names.REMEDIATION_FAILED, names.REMEDIATION_RUNNING))
    down = _is("alertname", names.SERVICE_DOWN)
    burning = _burning(catalog)
    symptoms = one_of("alertname", (names.HIGH_ERROR_RATE, names.HIGH_LATENCY, *burning))
    dependents = {service: users for service, users in dependents_of(catalog).items() if users}
    return [
        *(
            {
                "source_matchers": [engine, _is(names.ORIGINAL, alert)],
                "target_matchers": [_is("alertname", alert)],
                "equal": list(names.EPISODE_LABELS),
            }
            for alert in met
        ),
        {
            "source_matchers": [down],
            "target_matchers": [symptoms],
            "equal": [names.SERVICE, names.ENVIRONMENT],
        },
        {  # a database that hangs keeps its exporter waiting
            "source_matchers": [down],
            "target_matchers": [_is("alertname", names.MONITORING_DOWN)],
            "equal": [names.SERVICE, names.INSTANCE, names.ENVIRONMENT],
        },
        *(
            {  # the page of an objective over its ticket
                "source_matchers": [_is("alertname", BURN_CRITICAL)],
                "target_matchers": [_is("alertname", BURN_HIGH)],
                "equal": [names.SERVICE, SLO, names.ENVIRONMENT],
            }
            for _ in burning[:1]  # none without objectives
        ),
        *(
            {
                "source_matchers": [down, _is(names.SERVICE, service)],
                "target_matchers": [symptoms, one_of(names.SERVICE, found)],
                "equal": [names.ENVIRONMENT],
            }
            for service, found in dependents.items()
        ),
    ]


def _burning(catalog: Catalog) -> tuple[str, ...]:
    """Alerts of objectives that errors and silence of a service that is down would fire."""
    there = any(service.slos for service in catalog.services.values())
    return (BURN_CRITICAL, BURN_HIGH, DATA_MISSING) if there else ()


def dependents_of(catalog: Catalog) -> dict[str, list[str]]:
    """For each service, those that depend on it, directly or through others, without itself."""
    users: dict[str, set[str]] = {name: set() for name in catalog.services}
    for name, service in catalog.services.items():
        for other in service.depends_on:
            users.setdefault(other, set()).add(name)
    found: dict[str, list[str]] = {}
    for name in sorted(users):
        reached, edge = set[str](), users[name]
        while edge:
            reached |= edge
            edge = {user for service in edge for user in users[service]} - reached
        found[name] = sorted(reached - {name})
    return found
