"""Notifications in the catalog: who is told, by which ways, and when nobody is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from opsloop.catalog.units import Duration

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
_Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\r\n]*$")]
SecretFile = _Line
"""A file with one secret in it, absolute or beside the catalog; never the secret itself."""
_Severity = Literal["P0", "P1", "P2"]
_Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
_ClockEnd = Annotated[str, StringConstraints(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_EVERY: list[_Severity] = ["P0", "P1", "P2"]


class NotifyModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _channel(value: Any) -> Any:
    """A channel's name stands for the whole."""
    return {"channel": value} if isinstance(value, str) else value


class Slack(NotifyModel):
    """A channel, and the incoming webhook that posts there."""

    channel: str = "#alerts"
    url_file: SecretFile | None = None  # unset: ALERTMANAGER_SLACK_WEBHOOK


class LowPriority(NotifyModel):
    """Where P2 goes. A webhook of a Slack app posts to its own channel only: give its url_file."""

    channel: str
    url_file: SecretFile | None = None  # unset: that of slack


class PagerDuty(NotifyModel):
    routing_key_file: SecretFile | None = None  # unset: PAGERDUTY_INTEGRATION_KEY


class Email(NotifyModel):
    """Mail through a relay, encrypted unless `require_tls: false`."""

    to: _Line
    from_: _Line = Field(alias="from")
    smarthost: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-\[\]:]+:\d{1,5}$")]
    username: _Line | None = None
    password_file: SecretFile | None = None
    require_tls: bool = True
    severities: list[_Severity] = _EVERY


class Webhook(NotifyModel):
    """Alertmanager's own payload, posted to `url` with a bearer token."""

    url: _Line
    token_file: SecretFile | None = None
    severities: list[_Severity] = _EVERY


_ToSlack = Annotated[Slack, BeforeValidator(_channel, json_schema_input_type=Slack | str)]
_ToLow = Annotated[LowPriority, BeforeValidator(_channel, json_schema_input_type=LowPriority | str)]


class TeamNotifications(NotifyModel):
    """What differs for a team's alerts; what is not here is as for everybody."""

    slack: _ToSlack | None = None
    low_priority: _ToLow | None = None
    pagerduty: PagerDuty | None = None
    email: Email | None = None
    webhook: Webhook | None = None


class MaintenanceWindow(NotifyModel):
    """A time when alerts of these services are muted and the loop does not act (UTC)."""

    services: list[_Name] = []  # empty: all
    weekdays: list[Weekday] = []  # empty: every day
    start: _Clock
    end: _ClockEnd


class QuietHours(NotifyModel):
    """A time when people hear of P0 only; of what still fires they hear when it ends."""

    start: _Clock
    end: _ClockEnd
    weekdays: list[Weekday] = []  # empty: every day; those on which it starts
    location: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+\-/]{1,64}$")] = "UTC"


class Heartbeat(NotifyModel):
    """Someone outside who misses us: told at this pace as long as the way to people works."""

    url: _Line
    every: Duration = Duration(60_000)
    token_file: SecretFile | None = None


class Notifications(NotifyModel):
    """Who is told. Secrets come from the environment at `up`, or from files."""

    slack: _ToSlack = Slack()
    low_priority: _ToLow | None = None  # unset: the channel of slack
    pagerduty: PagerDuty | None = PagerDuty()  # used where its key is set
    email: Email | None = None
    webhook: Webhook | None = None
    teams: dict[_Name, TeamNotifications] = {}
    heartbeat: Heartbeat | None = None
    repeat_interval: Duration = Duration(4 * 3_600_000)
    quiet_hours: QuietHours | None = None
    maintenance: dict[_Name, MaintenanceWindow] = {}

    def secret_files(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """(path of the field below `notifications`, file) of each secret that is a file."""
        for at, ways in [((), self), *((("teams", n), t) for n, t in self.teams.items())]:
            for name in ("slack", "low_priority", "pagerduty", "email", "webhook", "heartbeat"):
                way = getattr(ways, name, None)
                for field in SECRET_FIELDS:
                    if file := getattr(way, field, None):
                        yield (*at, name, field), file


SECRET_FIELDS = ("url_file", "routing_key_file", "password_file", "token_file")
