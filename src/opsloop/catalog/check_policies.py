"""Rules over remediation policies: whom they meet, whether their steps can act, what shadows them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opsloop import names
from opsloop.catalog import check_steps
from opsloop.catalog.explain import nearest
from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.model import Catalog, Metrics, Service
from opsloop.catalog.policy import Policy
from opsloop.catalog.slo import BurnPair, pairs_of
from opsloop.catalog.subject import (
    BACKUP_ALERTS,
    CERTIFICATE_ALERTS,
    HOST_ALERTS,
    Subject,
    SubjectKind,
    kind_of,
)
from opsloop.catalog.units import Duration

BURN_ALERTS = (names.SLO_BURN_CRITICAL, names.SLO_BURN_HIGH)
SLO_ALERTS = (
    *BURN_ALERTS, names.SLO_BUDGET_EXHAUSTED, names.SLO_DATA_MISSING, names.SLO_ERRORS_EXCEED
)  # fmt: skip
SIGNAL_ALERTS = (
    names.SERVICE_DOWN, names.HIGH_ERROR_RATE, names.HIGH_LATENCY, names.CONNECTIONS_HIGH
)  # fmt: skip
SERVICE_ALERTS = SIGNAL_ALERTS + SLO_ALERTS
WATCHED_ALERTS = HOST_ALERTS + CERTIFICATE_ALERTS + BACKUP_ALERTS
OTHER_ALERTS = (
    names.CLOCK_SKEW, names.PROBE_FAILING,
    names.HOST_DOWN, names.EXPORTER_DOWN, names.MONITORING_DOWN, names.ENGINE_DOWN, names.ENGINE_STUCK,
    names.POLICY_STOPPED, names.SCRAPE_SLOW, names.SAMPLES_DROPPED, names.RULES_FAILING, names.RULES_MISSED,
    names.NOTIFICATIONS_FAILING, names.TSDB_TROUBLE, names.CONFIG_REJECTED, names.WATCHDOG,
    names.INCIDENT_AFTERMATH,
)  # fmt: skip
SHIPPED_ALERTS = SERVICE_ALERTS + WATCHED_ALERTS + OTHER_ALERTS
KINDS: tuple[SubjectKind, ...] = ("service", "host", "certificate", "backup")
LONGEST_WINDOW = Duration(60_000)  # of an alert with an automatic policy
LONGEST_GRACE = Duration(180_000)  # that people are not told
FASTEST_BURN = Duration(300_000)  # of the other alerts of objectives
_RANGE = re.compile(r"\[\s*([0-9a-z]+)\s*(?::[^\]]*)?\]")


def policies(scope: Scope) -> None:
    catalog = scope.catalog
    met: dict[tuple[str, Subject], str] = {}  # (alert, subject) -> the policy that acts on it
    for name, policy in catalog.remediation.policies.items():
        path = ("remediation", "policies", name)
        known = _references(scope, path, policy)
        _limits(scope, path, name, policy)
        if catalog.remediation.mode_of(name) == "off" or not known:
            check_steps.steps(scope, path, policy, ())
            continue
        pairs = list(_pairs(catalog, policy))
        if not pairs:
            scope.error(
                (*path, "when"),
                f"no alert of any {_kinds(policy)} is met by this",
                "these services do not have these alerts: see their metrics: and alerts:",
                reads=[(f"{kind}s",) for kind in KINDS],
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
        for alert, subject in pairs:
            if met[alert, subject] == name:
                continue
            of = repr(subject.name) if subject.kind == "service" else str(subject)
            scope.warning(
                (*path, "when"),
                f"does not act on {alert} of {of}: {met[alert, subject]!r} above it does",
            )
        subjects = sorted({s for _, s in own}, key=lambda s: (s.kind, s.name))
        check_steps.steps(scope, path, policy, subjects)
        check_steps.radius(scope, path, policy, subjects)
        if catalog.remediation.mode_of(name) == "auto":
            of_services = [(a, s.name) for a, s in own if s.kind == "service"]
            _windows(scope, path, policy, of_services)


def _kinds(policy: Policy) -> str:
    return " or ".join(dict.fromkeys(kind_of(a) for a in policy.when.alert))


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


def _pairs(catalog: Catalog, policy: Policy) -> Iterator[tuple[str, Subject]]:
    """Every (alert, subject) that `policy` selects, whoever acts on it."""
    when = policy.when
    for alert in dict.fromkeys(when.alert):
        kind = kind_of(alert)
        there: list[str] = sorted(getattr(catalog, f"{kind}s"))
        if kind == "service":
            there = list(catalog.services)
        for name in there:
            subject = Subject(kind, name)
            own = catalog.alerts.get(alert)
            team = (own.team if own is not None else None) or catalog.team_of(subject)
            wanted = not when.names(kind) or name in when.names(kind)
            if wanted and (not when.team or team in when.team) and _occurs(catalog, alert, subject):
                yield alert, subject


def _occurs(catalog: Catalog, alert: str, subject: Subject) -> bool:
    if subject.kind == "service":
        return occurs(catalog, alert, subject.name)
    if alert == names.DISK_WILL_FILL:
        return catalog.hosts[subject.name].disk_will_fill is not False
    return True


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
                where, f"{alert} is not an alert that the loop can act on",
                f"it acts on {', '.join(SIGNAL_ALERTS + WATCHED_ALERTS)}, on alerts of objectives"
                " and on alerts of your own with service:",
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
    fine = _selection(scope, at, policy) and fine
    subjects = [Subject(k, n) for k in KINDS for n in getattr(catalog, f"{k}s")]
    teams = {team for s in subjects if (team := catalog.team_of(s))}
    teams |= {a.team for a in catalog.alerts.values() if a.team}
    for i, team in enumerate(policy.when.team):
        if team not in teams:
            scope.error(
                (*at, "team", i), f"nothing has team {team!r}", nearest(team, teams),
                reads=[("services",)],
            )  # fmt: skip
            fine = False
    return fine


def _selection(scope: Scope, at: Path, policy: Policy) -> bool:
    """Whether what narrows `when` is there, and narrows something."""
    when, fine = policy.when, True
    about = {kind_of(alert) for alert in when.alert}
    for kind in KINDS:
        declared: dict[str, object] = getattr(scope.catalog, f"{kind}s")
        for i, name in enumerate(when.names(kind)):
            there = scope.refer((*at, kind, i), f"{kind}s", name, kind)
            fine = fine and there and name in declared
        if when.names(kind) and kind not in about:
            scope.error((*at, kind), f"none of its alerts is about a {kind}", "remove it")
            fine = False
    for field in (*KINDS, "team"):
        if field in when.model_fields_set and not getattr(when, field):
            scope.error((*at, field), "is empty: that is not all of them", "leave it out for any")
            fine = False
    return fine


def _limits(scope: Scope, path: Path, name: str, policy: Policy) -> None:
    limits, verify = policy.limits, policy.verify
    acts = scope.catalog.remediation.mode_of(name) in ("auto", "approve")
    if acts and "limits" not in policy.model_fields_set:
        scope.error(
            path, "acts, and has no limits", "write limits: {max_runs: 6, window: 1h}",
            reads=[("remediation", "mode"), (*path, "mode")],
        )  # fmt: skip
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
    if policy.scale_in_after is not None and not any(s.scale_out for s in policy.steps):
        scope.error(
            (*path, "scale_in_after"), "there is no scale_out step to take back", "remove it",
            reads=[(*path, "steps")],
        )  # fmt: skip


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
