"""Rules over notifications: who is told, when nobody is, and addresses that are secrets."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from pathlib import Path as FilePath
from urllib.parse import parse_qsl, urlsplit

from opsloop.catalog.explain import nearest
from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.notify import Email, Heartbeat, MaintenanceWindow, QuietHours, Webhook
from opsloop.catalog.units import Duration
from opsloop.settings import ENV_PAGERDUTY

SHORTEST_REPEAT = Duration(60_000)
SHORTEST_BEAT = Duration(10_000)
LONGEST_BEAT = Duration(86_400_000)
# Vendors whose address is the secret: who knows it may post.
_SECRET_HOSTS = (
    "hooks.slack.com", "hooks.slack-gov.com", "webhook.office.com", "outlook.office.com",
    "chat.googleapis.com", "api.telegram.org", "events.pagerduty.com", "hc-ping.com",
    "healthchecks.io", "nosnch.in", "discord.com", "discordapp.com", "hooks.zapier.com",
    "maker.ifttt.com",
)  # fmt: skip
_SECRET_FIELD = re.compile(
    r"(?:^|[_.-])(?:password|passwd|secret|token|key|apikey|auth|sig|signature)$", re.IGNORECASE
)
_TELLING = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_-]{20,}")  # a random part of a path


def notifications(scope: Scope) -> None:
    given, path = scope.catalog.notifications, ("notifications",)
    if given.repeat_interval < SHORTEST_REPEAT:
        scope.error((*path, "repeat_interval"), "must be at least 1m")
    for name, window in given.maintenance.items():
        at: Path = (*path, "maintenance", name)
        for i, service in enumerate(window.services):
            scope.refer((*at, "services", i), "services", service, "service")
        _ends(scope, at, window, "the window ends when it starts")
    if given.quiet_hours is not None:
        _quiet(scope, (*path, "quiet_hours"), given.quiet_hours)
    _ways(scope, path, given.email, given.webhook)
    if given.heartbeat is not None:
        _heartbeat(scope, (*path, "heartbeat"), given.heartbeat)
    _teams(scope, path)
    _pagerduty(scope, path)


def files(scope: Scope, directory: FilePath) -> None:
    """In production each secret that is a file must be there: nobody stands in for its receiver."""
    given = scope.catalog.notifications
    if not scope.catalog.stack.production:
        return
    for field, name in given.secret_files():
        if not present(directory, name):
            scope.error(
                ("notifications", *field),
                f"there is no secret in the file {name!r}, and production has no stand-in",
                "write the secret into it, or remove the receiver",
            )


def present(directory: FilePath, name: str) -> bool:
    """Whether a secret file (beside the catalog, or absolute) can be read and is not empty."""
    try:
        return bool((directory / name).read_text().strip())
    except (OSError, ValueError):
        return False


def _ends(scope: Scope, at: Path, window: MaintenanceWindow | QuietHours, message: str) -> None:
    if window.start == window.end:
        scope.error((*at, "end"), message, reads=[(*at, "start")])


def _quiet(scope: Scope, at: Path, given: QuietHours) -> None:
    _ends(scope, at, given, "quiet hours end when they start")
    try:
        zoneinfo.ZoneInfo(given.location)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        hint = nearest(given.location, zoneinfo.available_timezones())
        scope.error(
            (*at, "location"),
            f"there is no time zone {given.location!r}",
            hint or "write it as Europe/Berlin",
        )


def _ways(scope: Scope, path: Path, email: Email | None, webhook: Webhook | None) -> None:
    if email is not None:
        _email(scope, (*path, "email"), email)
    if webhook is not None:
        _url(scope, (*path, "webhook", "url"), webhook.url)
        if not webhook.severities:
            scope.error((*path, "webhook", "severities"), "names no severity")


def _email(scope: Scope, at: Path, given: Email) -> None:
    for field, value in (("to", given.to), ("from", given.from_)):
        if not all(re.fullmatch(r"\s*[^@\s,]+@[^@\s,]+\s*", v) for v in value.split(",")):
            scope.error((*at, field), f"{value!r} is not an e-mail address")
    if not 1 <= int(given.smarthost.rpartition(":")[2]) <= 65535:
        scope.error((*at, "smarthost"), f"the port of {given.smarthost!r} is not in 1..65535")
    if not given.severities:
        scope.error((*at, "severities"), "names no severity")
    if (given.username is None) != (given.password_file is None):
        missing = "username" if given.username is None else "password_file"
        scope.error(at, f"a user needs a password: {missing} is missing", f"add {missing}:")


def _heartbeat(scope: Scope, at: Path, given: Heartbeat) -> None:
    _url(scope, (*at, "url"), given.url)
    if not SHORTEST_BEAT <= given.every <= LONGEST_BEAT:
        scope.error((*at, "every"), f"must be between {SHORTEST_BEAT} and {LONGEST_BEAT}")


def _url(scope: Scope, at: Path, url: str) -> None:
    """Refuse what is no address, and one that is a secret: it would be written into the build."""
    parts = _split(url)
    if parts is None:
        scope.error(at, "is not an address of the web", "write it with http:// or https://")
        return
    reason = next(secret_in_url(url), "")
    if reason:
        scope.error(
            at,
            f"is a secret as it stands: {reason}; Alertmanager reads no webhook address from a file",
            "give an address without it and the token in token_file, or a relay of your own",
        )


def secret_in_url(url: str) -> Iterator[str]:
    """Why an address must not be written down, if so; never shows the secret."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.username or parts.password:
        yield "it holds a user or password"
    for field, value in parse_qsl(parts.query):
        if value and _SECRET_FIELD.search(field):
            yield f"it holds {field}="
    if any(host == known or host.endswith(f".{known}") for known in _SECRET_HOSTS):
        yield f"at {host} who knows the address may post"
    words = [*parts.path.split("/"), *(v for _, v in parse_qsl(parts.query)), parts.fragment]
    if any(_TELLING.fullmatch(word) for word in words):
        yield "a part of it looks random"


def _split(url: str) -> object | None:
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def _teams(scope: Scope, path: Path) -> None:
    catalog = scope.catalog
    known = {s.team for s in catalog.services.values()} | {h.team for h in catalog.hosts.values()}
    known |= {p.team for p in catalog.probes.values()}
    known |= {a.team for a in catalog.alerts.values() if a.team}
    for name, team in catalog.notifications.teams.items():
        at: Path = (*path, "teams", name)
        _ways(scope, at, team.email, team.webhook)
        if name not in known | {"platform"}:
            scope.warning(
                at, f"no service, host or alert is of team {name!r}", nearest(name, known)
            )
        if team.pagerduty is not None and team.pagerduty.routing_key_file is None:
            scope.error(
                (*at, "pagerduty"),
                "has no key of its own",
                "add routing_key_file:, or leave pagerduty out: everybody's key is used then",
            )


def _pagerduty(scope: Scope, path: Path) -> None:
    """P0 wakes somebody through PagerDuty; without it there is Slack alone, which may be meant."""
    given = scope.catalog.notifications.pagerduty
    if not scope.catalog.stack.production or given is None:
        return
    if given.routing_key_file is None and not scope.settings.has_pagerduty:
        scope.warning(
            (*path, "pagerduty"),
            f"{ENV_PAGERDUTY} is not set, so P0 alerts go to Slack alone",
            "set it, or write pagerduty: null when that is meant",
        )
