"""Who hears of an alert: the ways to people for a team and a severity, and the receiver's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.notify import Email, LowPriority, PagerDuty, Slack, Webhook
from opsloop.compile.options import Options
from opsloop.compile.prometheus import OWN_TEAM

PEOPLE = "people"  # Slack
PEOPLE_PAGE = "people-page"  # PagerDuty and Slack
PEOPLE_LOW = "people-low"  # the low-priority channel
PEOPLE_ANYHOW = "people-anyhow"  # all ways that there are, whatever the severity


@dataclass(frozen=True, slots=True)
class Ways:
    """All ways by which one receiver tells people."""

    slack: Slack
    pagerduty: PagerDuty | None
    email: Email | None
    webhook: Webhook | None


def pages(catalog: Catalog, options: Options, team: str | None = None) -> bool:
    """Whether P0 goes to PagerDuty too."""
    return _pagerduty(catalog, options, team) is not None


def ways(catalog: Catalog, options: Options, severity: str, team: str | None = None) -> Ways:
    """The ways for a severity; what a team does not say is as for everybody."""
    told = catalog.notifications
    own = told.teams.get(team) if team else None
    mine = own.slack if own else None
    slack = _posted_by(told.slack, mine or told.slack)
    if severity == "P2":
        if own and own.low_priority:
            slack = _posted_by(slack, own.low_priority)
        elif told.low_priority:
            slack = _posted_by(told.slack, told.low_priority)
    email = (own and own.email) or told.email
    webhook = (own and own.webhook) or told.webhook
    return Ways(
        slack=slack,
        pagerduty=_pagerduty(catalog, options, team) if severity == "P0" else None,
        email=email if email and severity in email.severities else None,
        webhook=webhook if webhook and severity in webhook.severities else None,
    )


def people(catalog: Catalog, options: Options, severity: str, team: str | None = None) -> str:
    """The receiver for a severity and a team: that of everybody where nothing differs."""
    told = ways(catalog, options, severity, team)
    if team is not None and told == ways(catalog, options, severity):
        return people(catalog, options, severity)
    middle = ways(catalog, options, "P1", team)
    suffix = {"P0": "page", "P1": "", "P2": "low"}[severity] if told != middle else ""
    if team is None:
        return {"page": PEOPLE_PAGE, "low": PEOPLE_LOW}.get(suffix, PEOPLE)
    return "/".join(part for part in ("team", team, suffix) if part)


def anyhow(catalog: Catalog, options: Options, team: str) -> str:
    """The receiver for what people must hear of although a way to them fails."""
    told = _all_ways(catalog, options, team)
    for severity in names.SEVERITIES:
        if told == ways(catalog, options, severity, team):
            return people(catalog, options, severity, team)
    return PEOPLE_ANYHOW


def _all_ways(catalog: Catalog, options: Options, team: str) -> Ways:
    told, own = catalog.notifications, catalog.notifications.teams.get(team)
    return Ways(
        slack=ways(catalog, options, "P0", team).slack,
        pagerduty=_pagerduty(catalog, options, team),
        email=(own and own.email) or told.email,
        webhook=(own and own.webhook) or told.webhook,
    )


def audiences(catalog: Catalog, options: Options) -> dict[str, Ways]:
    """Every receiver that is people, by name: everybody's first, what every way is for last."""
    found: dict[str, Ways] = {PEOPLE: ways(catalog, options, "P1")}
    for team in (None, *sorted(catalog.notifications.teams)):
        for severity in names.SEVERITIES:
            name = people(catalog, options, severity, team)
            found.setdefault(name, ways(catalog, options, severity, team))
    found.setdefault(anyhow(catalog, options, OWN_TEAM), _all_ways(catalog, options, OWN_TEAM))
    return found


def differing(
    catalog: Catalog, options: Options, severity: str, teams: Iterable[str] | None = None
) -> list[str]:
    """The teams (of these; None: of all) that hear of this severity in a way of their own."""
    own = sorted(catalog.notifications.teams)
    return [
        team
        for team in own
        if (teams is None or team in teams)
        and people(catalog, options, severity, team) != people(catalog, options, severity)
    ]


def _posted_by(default: Slack, channel: Slack | LowPriority) -> Slack:
    """A channel, posted to by its own webhook, else by the default's."""
    return Slack(channel=channel.channel, url_file=channel.url_file or default.url_file)


def _pagerduty(catalog: Catalog, options: Options, team: str | None) -> PagerDuty | None:
    """A team's own key, else everybody's; a key that is a file is there or is stood in for."""
    own = catalog.notifications.teams.get(team) if team else None
    if own is not None and own.pagerduty is not None and own.pagerduty.routing_key_file:
        return own.pagerduty
    everybody = catalog.notifications.pagerduty
    if everybody is None or everybody.routing_key_file:
        return everybody
    return everybody if options.pagerduty != "none" else None
