"""Rules over what is watched beside services and hosts: certificates and backups."""

from __future__ import annotations

from opsloop.catalog import check_steps
from opsloop.catalog.findings import Scope
from opsloop.catalog.units import Duration

_LEAST_EVERY = Duration(60_000)


def certificates(scope: Scope) -> None:
    for name, given in scope.catalog.certificates.items():
        path = ("certificates", name)
        if given.service is not None:
            scope.refer((*path, "service"), "services", given.service, "service")
        _some(scope, (*path, "expires_within"), given.expires_within)
        if given.renew:
            check_steps.command(scope, (*path, "renew"), given.renew)
        if any(c in given.file for c in "\n\r\0"):
            scope.error((*path, "file"), "has a line break in it")


def backups(scope: Scope) -> None:
    for name, given in scope.catalog.backups.items():
        path = ("backups", name)
        if given.service is not None:
            scope.refer((*path, "service"), "services", given.service, "service")
        if given.command:
            check_steps.command(scope, (*path, "command"), given.command)
        if given.every < _LEAST_EVERY:
            scope.error((*path, "every"), f"must be at least {_LEAST_EVERY}", "write 24h")


def durations_of_probes(scope: Scope) -> None:
    for name, probe in scope.catalog.probes.items():
        if probe.fails_for is not False:
            _some(scope, ("probes", name, "fails_for"), probe.fails_for)
        if probe.expires_within is False:
            continue
        at = ("probes", name, "expires_within")
        _some(scope, at, probe.expires_within)
        if "expires_within" in probe.model_fields_set and not probe.shows_certificate:
            scope.error(
                at,
                "this probe shows no certificate",
                "write type: tls, or a target with https://",
                reads=[("probes", name, "type"), ("probes", name, "target")],
            )


def paces(scope: Scope) -> None:
    """Durations of alerts about hosts."""
    if scope.catalog.stack.clock_skew is not False:
        _some(scope, ("stack", "clock_skew"), scope.catalog.stack.clock_skew)
    for name, host in scope.catalog.hosts.items():
        if host.disk_will_fill is not False:
            _some(scope, ("hosts", name, "disk_will_fill"), host.disk_will_fill)


def _some(scope: Scope, path: tuple[str, ...], given: Duration) -> None:
    if given == 0:
        scope.error(path, "must be longer than 0")
