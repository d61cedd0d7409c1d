"""Rules over the whole catalog: what no single field can see."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from opsloop import names
from opsloop.catalog import (
    check_console,
    check_notify,
    check_policies,
    check_processes,
    check_services,
    check_slos,
    check_watched,
)
from opsloop.catalog.explain import nearest
from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.model import Catalog
from opsloop.catalog.places import Places
from opsloop.errors import Problem
from opsloop.settings import ENV_GRAFANA, ENV_SLACK, Settings

BINARIES = (
    "prometheus",
    "promtool",
    "alertmanager",
    "amtool",
    "node-exporter",
    "blackbox-exporter",
    "postgres-exporter",
    "postgres",
    "setpriv",
)
OWN_RULES = frozenset(
    (
        names.REQUEST_RATE, names.ERROR_RATE, names.ERROR_RATIO, names.LATENCY_P50,
        names.LATENCY_P95, names.LATENCY_P99, names.SATURATION, names.INSTANCE_UP, names.UP_RATIO,
    )
)  # fmt: skip
OWN_PREFIX = "slo:"
OWN_ALERTS = frozenset((*check_policies.SHIPPED_ALERTS, *names.ENGINE_POSTS))


def check(catalog: Catalog, settings: Settings, places: Places | None = None) -> list[Problem]:
    """Every problem that a complete catalog has as a whole; empty when it can be compiled."""
    return examine(catalog, settings, places or Places()).errors


def examine(
    catalog: Catalog,
    settings: Settings,
    places: Places,
    *,
    declared: Mapping[str, AbstractSet[str]] | None = None,
    broken: AbstractSet[Path] = frozenset(),
) -> Scope:
    """Run every rule; the result's `errors` and `warnings` say what was found."""
    scope = Scope(catalog, settings, places, declared or {}, broken)
    _stack(scope)
    check_services.services(scope)
    check_slos.slos(scope)
    check_services.hosts(scope)
    check_services.probes(scope)
    check_watched.durations_of_probes(scope)
    check_watched.certificates(scope)
    check_watched.backups(scope)
    check_watched.paces(scope)
    check_processes.processes(scope)
    check_notify.notifications(scope)
    check_console.console(scope)
    _rules(scope)
    _alerts(scope)
    check_policies.policies(scope)
    _silent(scope)
    watched = ("services", "hosts", "probes", "certificates", "backups")
    if not any(scope.names(section) for section in watched):
        scope.error((), "the catalog watches nothing", "add a service, a host or a probe", reads=())
    return scope


def _silent(scope: Scope) -> None:
    """Services without any alert would look watched and not be."""
    catalog = scope.catalog
    if not catalog.services or scope.names("alerts"):
        return
    if any(service.slos for service in catalog.services.values()):
        return
    shipped = check_policies.SERVICE_ALERTS
    if not any(check_policies.occurs(catalog, a, s) for a in shipped for s in catalog.services):
        hint = "leave alerts.service_down on, or write alerts of your own"
        scope.error(("services",), "no service has any alert", hint)


def _stack(scope: Scope) -> None:
    stack, path = scope.catalog.stack, ("stack",)
    for field in ("scrape_interval", "scrape_timeout", "evaluation_interval", "loop_interval"):
        if getattr(stack, field) == 0:
            scope.error((*path, field), "must be longer than 0")
    if stack.retention == 0:
        scope.error((*path, "retention"), "must be longer than 0", "write 15d")
    if stack.scrape_timeout is not None and stack.scrape_timeout > stack.scrape_interval:
        scope.error(
            (*path, "scrape_timeout"),
            f"{stack.scrape_timeout} is longer than scrape_interval {stack.scrape_interval}",
            reads=[(*path, "scrape_interval")],
        )
    if 0 < stack.evaluation_interval < stack.loop_interval:
        scope.error(
            (*path, "loop_interval"),
            f"{stack.loop_interval} is longer than evaluation_interval {stack.evaluation_interval}",
            "the alerts of the loop are evaluated at least as often as the others",
            reads=[(*path, "evaluation_interval")],
        )
    _bind(scope)
    scope.labels((*path, "external_labels"), stack.external_labels)
    if stack.runbook_url is not None and not re.match(r"https?://[^/\s]+", stack.runbook_url):
        hint = "write it with https://"
        scope.error((*path, "runbook_url"), f"{stack.runbook_url!r} is no web address", hint)
    for name in stack.binaries:
        if name not in BINARIES:
            hint = nearest(name, BINARIES)
            scope.error((*path, "binaries", name), f"{name!r} is no program of the stack", hint)
    if stack.production:
        slack = scope.settings.has_slack or bool(scope.catalog.notifications.slack.url_file)
        needed = {ENV_SLACK: slack, ENV_GRAFANA: scope.settings.has_grafana}
        for variable, there in needed.items():
            if not there:
                scope.error(
                    (*path, "environment"),
                    f"production needs {variable}, which is not set",
                    "set it in the environment of opsloop",
                )


def _bind(scope: Scope) -> None:
    bind, path = scope.catalog.stack.bind, ("stack", "bind")
    try:
        address = ipaddress.ip_address(bind)
    except ValueError:
        scope.error(path, f"{bind!r} is not an IP address", "write 127.0.0.1")
        return
    if not address.is_loopback:
        scope.warning(
            path, f"the stack can be reached from other machines on {bind}", "write 127.0.0.1"
        )


def _rules(scope: Scope) -> None:
    for name, rule in scope.catalog.rules.items():
        path = ("rules", name)
        if name in OWN_RULES:
            scope.error(path, f"{name!r} is a rule of opsloop", "choose another name")
        elif name.startswith(OWN_PREFIX):
            scope.error(path, f"names in {OWN_PREFIX} are rules of opsloop", "choose another name")
        scope.labels((*path, "labels"), rule.labels)


def _alerts(scope: Scope) -> None:
    for name, alert in scope.catalog.alerts.items():
        path = ("alerts", name)
        if name in OWN_ALERTS:
            scope.error(path, f"{name!r} is an alert of opsloop", "choose another name")
        if alert.service is not None:
            scope.refer((*path, "service"), "services", alert.service, "service")
        elif alert.team is None:
            scope.warning(path, "no team and no service owns it", "add team: or service:")
        scope.labels((*path, "labels"), alert.labels)
        if not alert.tests:
            scope.warning(
                path,
                "has no test, so nobody knows whether it fires",
                "add tests: with series and what they make of it",
                reads=[(*path, "tests")],
            )
        seen: set[str] = set()
        for i, test in enumerate(alert.tests):
            if test.interval == 0:
                scope.error((*path, "tests", i, "interval"), "must be longer than 0")
            if test.name in seen:
                scope.error((*path, "tests", i, "name"), f"{test.name!r} is here twice")
            seen.add(test.name)
