"""Rules over remediation policies: whom they meet, whether their steps can act, what shadows them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsloop import names
from opsloop.catalog.explain import nearest
from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.model import Catalog, Metrics, Service
from opsloop.catalog.policy import Policy, Step
from opsloop.catalog.slo import BurnPair, pairs_of
from opsloop.catalog.units import Duration

BURN_ALERTS = (names.SLO_BURN_CRITICAL, names.SLO_BURN_HIGH)
SLO_ALERTS = (
    *BURN_ALERTS, names.SLO_BUDGET_EXHAUSTED, names.SLO_DATA_MISSING, names.SLO_ERRORS_EXCEED
)  # fmt: skip
SIGNAL_ALERTS = (
    names.SERVICE_DOWN, names.HIGH_ERROR_RATE, names.HIGH_LATENCY, names.CONNECTIONS_HIGH
)  # fmt: skip
SERVICE_ALERTS = SIGNAL_ALERTS + SLO_ALERTS
OTHER_ALERTS = (
    names.DISK_FULL, names.DISK_WILL_FILL, names.MEMORY_HIGH, names.CLOCK_SKEW,
    names.PROBE_FAILING, names.CERTIFICATE_EXPIRING, names.CERTIFICATE_UNREADABLE,
    names.BACKUP_FAILED, names.BACKUP_STALE, names.BACKUP_MISSING,
    names.HOST_DOWN, names.EXPORTER_DOWN, names.MONITORING_DOWN, names.ENGINE_DOWN, names.ENGINE_STUCK,
    names.SCRAPE_SLOW, names.SAMPLES_DROPPED, names.RULES_FAILING, names.RULES_MISSED,
    names.NOTIFICATIONS_FAILING, names.TSDB_TROUBLE, names.CONFIG_REJECTED, names.WATCHDOG,
    names.INCIDENT_AFTERMATH,
)  # fmt: skip
SHIPPED_ALERTS = SERVICE_ALERTS + OTHER_ALERTS
LONGEST_WINDOW = Duration(60_000)  # of an alert with an automatic policy
LONGEST_GRACE = Duration(180_000)  # that people are not told
FASTEST_BURN = Duration(300_000)  # of the other alerts of objectives
_RANGE = re.compile(r"\[\s*([0-9a-z]+)\s*(?::[^\]]*)?\]")


def policies(scope: Scope) -> None:
    catalog = scope.catalog
    met: dict[tuple[str, str], str] = {}  # (alert, service) -> the policy that acts on it
    for name, policy in catalog.remediation.policies.items():
        path = ("remediation", "policies", name)
        known = _references(scope, path, policy)
        _limits(scope, path, policy)
        if catalog.remediation.mode_of(name) == "off" or not known:
            continue
        pairs = list(_pairs(catalog, policy))
        if not pairs:
            scope.error(
                (*path, "when"),
                "no alert of any service is met by this",
                "these services do not have these alerts: see their metrics: and alerts:",
                reads=[("services",)],
            )
            continue
        own = [pair for pair in pairs if met.setdefault(pair, name) == name]
        others = sorted({met[pair] for pair in pairs} - {name})
        if not own:
            scope.error(
                (*path, "when"),
                f"never acts: {' and '.join(map(repr, others))} above it meets the same alerts",
                "put the special policy before the general one",
            )
            continue
        for alert, service in pairs:
            if met[alert, service] == name:
                continue
            scope.warning(
                (*path, "when"),
                f"does not act on {alert} of {service!r}: {met[alert, service]!r} above it does",
            )
        _steps(scope, path, policy, sorted({service for _, service in own}))
        if catalog.remediation.mode_of(name) == "auto":
            _windows(scope, path, policy, own)


def occurs(catalog: Catalog, alert: str, service: str) -> bool:
    """Whether `alert` can fire with this service on it."""
    given = catalog.services[service]
    own = catalog.alerts.get(alert)
    if own is not None:
        return own.service == service
    if alert == names.SERVICE_DOWN:
        return given.alerts.service_down
    if alert == names.CONNECTIONS_HIGH:
        return given.postgres is not None and given.alerts.connections is not False
    if alert in SLO_ALERTS:
        return bool(given.slos) and (alert not in BURN_ALERTS or bool(_burns(given, alert)))
    if isinstance(given.metrics, Metrics):
        errors, latency = bool(given.metrics.errors), bool(given.metrics.latency)
    else:
        errors = latency = given.metrics != "none"
    if alert == names.HIGH_ERROR_RATE:
        return errors and given.alerts.error_ratio is not False
    return alert == names.HIGH_LATENCY and latency and given.alerts.latency_p95 is not False


def _burns(service: Service, alert: str) -> list[BurnPair]:
    """The windows of a burn-rate alert, of all objectives of a service."""
    kind = "page" if alert == names.SLO_BURN_CRITICAL else "ticket"
    return [p for slo in service.slos.values() for p in pairs_of(slo) if p.kind == kind]


def _pairs(catalog: Catalog, policy: Policy) -> Iterator[tuple[str, str]]:
    """Every (alert, service) that `policy` selects, whoever acts on it."""
    when = policy.when
    for service, given in catalog.services.items():
        if when.service and service not in when.service:
            continue
        for alert in dict.fromkeys(when.alert):
            own = catalog.alerts.get(alert)
            team = (own.team if own is not None else None) or given.team
            if (not when.team or team in when.team) and occurs(catalog, alert, service):
                yield alert, service


def _references(scope: Scope, path: Path, policy: Policy) -> bool:
    """Whether all that `when` names is there."""
    catalog, at, fine = scope.catalog, (*path, "when"), True
    known = {*SHIPPED_ALERTS, *scope.names("alerts")}
    for i, alert in enumerate(policy.when.alert):
        where = (*at, "alert", i)
        if alert not in known:
            scope.error(where, f"there is no alert {alert!r}", nearest(alert, known))
            fine = False
        elif alert in OTHER_ALERTS:
            scope.error(
                where, f"{alert} is not an alert of a service, so the loop cannot act on it",
                f"it acts on {', '.join(SIGNAL_ALERTS)}, on alerts of objectives and on alerts of"
                " your own with service:",
            )  # fmt: skip
            fine = False
        elif alert in catalog.alerts and catalog.alerts[alert].service is None:
            scope.error(
                where, f"alert {alert!r} has no service, so the loop cannot act on it",
                f"add service: to alerts.{alert}", reads=[("alerts", alert, "service")],
            )  # fmt: skip
            fine = False
        elif alert not in SHIPPED_ALERTS and alert not in catalog.alerts:
            fine = False  # broken, and told so
    for i, service in enumerate(policy.when.service):
        there = scope.refer((*at, "service", i), "services", service, "service")
        fine = fine and there and service in catalog.services
    teams = {s.team for s in catalog.services.values()}
    teams |= {a.team for a in catalog.alerts.values() if a.team}
    for i, team in enumerate(policy.when.team):
        if team not in teams:
            scope.error(
                (*at, "team", i), f"no service has team {team!r}", nearest(team, teams),
                reads=[("services",)],
            )  # fmt: skip
            fine = False
    return fine


def _limits(scope: Scope, path: Path, policy: Policy) -> None:
    limits, verify = policy.limits, policy.verify
    if verify.timeout <= verify.hold:
        scope.error(
            (*path, "verify", "timeout"),
            f"{verify.timeout} is not longer than hold, {verify.hold}",
            "the hold must fit into it, with the time that the cure takes",
            reads=[(*path, "verify", "hold")],
        )
    if limits.window == 0:
        scope.error((*path, "limits", "window"), "must be longer than 0")
    elif limits.cooldown > limits.window:
        scope.error(
            (*path, "limits", "cooldown"),
            f"{limits.cooldown} is longer than window, {limits.window}",
            reads=[(*path, "limits", "window")],
        )
    if limits.max_share <= 0:
        scope.error((*path, "limits", "max_share"), "must be more than 0%")
    for i, step in enumerate(policy.steps):
        at = (*path, "steps", i)
        if step.timeout == 0:
            scope.error((*at, "timeout"), "must be longer than 0")
        elif step.restart is not None and step.restart.stop_wait >= step.timeout:
            scope.error(
                (*at, "restart", "stop_wait"),
                f"{step.restart.stop_wait} is not shorter than the step's timeout, {step.timeout}",
                reads=[(*at, "timeout")],
            )
    if policy.scale_in_after is not None and not any(s.scale_out for s in policy.steps):
        scope.error(
            (*path, "scale_in_after"), "there is no scale_out step to take back", "remove it",
            reads=[(*path, "steps")],
        )  # fmt: skip


def _steps(scope: Scope, path: Path, policy: Policy, services: list[str]) -> None:
    """Each step can act on each service that the policy acts on."""
    for i, step in enumerate(policy.steps):
        for service in services:
            reason = _cannot(scope.catalog, step, service)
            if reason:
                hint = (
                    ""
                    if policy.when.service
                    else "name the services that it is for in when.service"
                )
                process = scope.catalog.services[service].process
                scope.error(
                    (*path, "steps", i, step.kind), f"cannot act on service {service!r}: {reason}",
                    hint, reads=[("services", service), ("processes", process or "")],
                )  # fmt: skip


def _cannot(catalog: Catalog, step: Step, service: str) -> str:
    process = catalog.process_of(service) if _process_known(catalog, service) else None
    if process is None:
        return "it has no process"
    if step.restart is not None:
        return ""
    instances, most = catalog.services[service].instances, catalog.max_instances(service) or 1
    if most <= 1:
        return "its process has one slot" if process.slots == 1 else "instances.max is 1"
    if step.scale_out is not None and instances.wanted >= most:
        return f"all {most} of its instances run already"
    if step.scale_in is not None and instances.wanted <= instances.min:
        return f"no fewer than the {instances.wanted} that run are allowed"
    return ""


def _process_known(catalog: Catalog, service: str) -> bool:
    return (catalog.services[service].process or "") in catalog.processes


def _windows(scope: Scope, path: Path, policy: Policy, pairs: list[tuple[str, str]]) -> None:
    """An alert stays up for its window after the cure; a long one would look like no cure."""
    for alert, service in pairs:
        at, window = _window(scope.catalog, alert, service)
        if window > LONGEST_WINDOW:
            scope.error(
                at,
                f"{alert} looks back {window}, and policy {path[-1]!r} acts on it by itself:"
                f" {LONGEST_WINDOW} at most",
                "make the window shorter, or the policy's mode approve",
            )
            continue
        rest = policy.verify.hold + 2 * scope.catalog.stack.loop_interval
        if window + rest > LONGEST_GRACE:
            scope.warning(
                (*path, "verify", "hold"),
                f"people are told of {alert} of {service!r} after {LONGEST_GRACE},"
                " before the hold can be over",
                "make the hold shorter",
            )


def _window(catalog: Catalog, alert: str, service: str) -> tuple[Path, Duration]:
    """The longest look-back of an alert, and the field that says so."""
    own = catalog.alerts.get(alert)
    if own is not None:
        ranges = [Duration(0)]
        for text in _RANGE.findall(own.expr):
            try:
                ranges.append(Duration.parse(text))
            except ValueError:
                continue  # promtool names what is wrong with it
        return ("alerts", alert, "expr"), max(ranges)
    if alert in (names.SERVICE_DOWN, names.CONNECTIONS_HIGH):
        return ("services", service), Duration(0)
    if alert in SLO_ALERTS:
        given = catalog.services[service]
        shortest = [p.short for p in _burns(given, alert)] or [FASTEST_BURN]
        return ("services", service, "slos"), max(shortest)
    return ("services", service, "alerts", "window"), catalog.services[service].alerts.window
