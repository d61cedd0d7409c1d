"""Alerts as they are received, and the episodes that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from opsloop import names


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as Alertmanager tells it. Times are unix seconds (UTC)."""

    fingerprint: str
    starts_at: float
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    ends_at: float | None = None
    silenced_by: tuple[str, ...] = ()  # only /api/v2/alerts tells these two
    inhibited_by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


class EpisodeState(StrEnum):
    """Where the loop stands with an episode."""

    NEW = "new"  # not decided yet, or to be decided again at `due_at`
    RUNNING = "running"  # a run is open
    HEALED = "healed"  # a run was verified; the alert may still be firing for a moment
    ASKED = "asked"  # a plan waits for a person's approval
    ESCALATED = "escalated"  # people were told; re-posted until it ends or a person closes it
    WATCHED = "watched"  # no policy acts (none, dry-run noted): only its end is of interest
    CLOSED = "closed"  # ended, or closed by a person


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert instance from firing to resolved: (fingerprint, starts_at)."""

    id: int
    fingerprint: str
    starts_at: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    firing: bool
    state: EpisodeState
    first_seen: float  # when the engine received it first
    last_seen: float
    ended_at: float | None
    due_at: float | None  # decide (again) at this time
    reason: str  # of the last decision

    @property
    def alert(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def service(self) -> str | None:
        return self.labels.get(names.SERVICE)

    @property
    def instance(self) -> str | None:
        return self.labels.get(names.INSTANCE)

    @property
    def team(self) -> str | None:
        return self.labels.get(names.TEAM)

    @property
    def policy(self) -> str | None:
        return self.labels.get(names.POLICY)

    @property
    def severity(self) -> str:
        return self.labels.get(names.SEVERITY, "")
