"""Notifications in the catalog: who is told, by which ways, and when nobody is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from opsloop.catalog.units import Duration

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]


class NotifyModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slack(NotifyModel):
    channel: str = "#alerts"


class PagerDuty(NotifyModel):
    pass


class MaintenanceWindow(NotifyModel):
    """A time when alerts of these services are muted and the loop does not act (UTC)."""

    services: list[_Name] = []  # empty: all
    weekdays: list[
        Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    ] = []  # empty: every day
    start: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end: Annotated[str, StringConstraints(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]


class Notifications(NotifyModel):
    """Who is told. Secrets come from the environment at `up`."""

    slack: Slack = Slack()
    pagerduty: PagerDuty | None = PagerDuty()  # used where PAGERDUTY_INTEGRATION_KEY is set
    repeat_interval: Duration = Duration(4 * 3_600_000)
    maintenance: dict[_Name, MaintenanceWindow] = {}
