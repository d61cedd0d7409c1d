"""Remediation policies: when -> steps -> limits -> verify, and which policy meets which alert."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from opsloop.catalog.steps import Step
from opsloop.catalog.subject import Subject, SubjectKind
from opsloop.catalog.units import Duration, Share

Mode = Literal["off", "dry-run", "approve", "auto"]
PolicyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
SHORTEST_KEEP = Duration(86_400_000)


class PolicyModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(PolicyModel):
    """Which alerts: every given field must meet; within a field one is enough."""

    alert: Annotated[list[str], Field(min_length=1)]
    service: list[str] = []  # not given: any service
    host: list[str] = []  # the same of alerts about hosts, certificates and backups
    certificate: list[str] = []
    backup: list[str] = []
    team: list[str] = []

    def names(self, kind: SubjectKind) -> list[str]:
        """Which subjects of this kind; empty: any."""
        found: list[str] = getattr(self, kind)
        return found


class Limits(PolicyModel):
    """How much the policy may do: none of these can be switched off."""

    cooldown: Duration = Duration(0)  # between runs on one target
    max_runs: Annotated[int, Field(ge=1, le=1000)] = 6  # per policy and service in `window`
    window: Duration = Duration(3_600_000)
    max_share: Share = Share(0.5)  # of a service's instances acted on at once; at least one


class Verify(PolicyModel):
    """What counts as healed: condition gone and SLI good on fresh data for `hold`."""

    hold: Duration = Duration(10_000)
    timeout: Duration = Duration(120_000)


class Policy(PolicyModel):
    """When these alerts fire, climb these steps until one is verified, within these limits."""

    when: When
    mode: Mode | None = None  # unset: remediation.mode
    steps: Annotated[list[Step], Field(min_length=1, max_length=10)]
    limits: Limits = Limits()
    verify: Verify = Verify()
    approve_within: Duration = Duration(1_800_000)  # mode approve: then people are told to act
    scale_in_after: Duration | None = None  # after scale_out: back in when quiet for this long


class Remediation(PolicyModel):
    """The loop's policies, met in the order of the catalog."""

    mode: Mode = "dry-run"
    keep: Duration = Duration(90 * 86_400_000)  # how long closed episodes and the audit are kept
    policies: dict[PolicyName, Policy] = {}

    @model_validator(mode="after")
    def _remembers_enough(self) -> Remediation:
        """Guards count runs in their windows: what they count must still be there."""
        windows = [SHORTEST_KEEP, *(p.limits.window for p in self.policies.values())]
        if self.keep < max(windows):
            longest = max(windows)
            raise ValueError(
                f"keep is {self.keep}, but limits look back for {longest}: keep at least that"
            )
        return self

    def mode_of(self, name: str) -> Mode:
        return self.policies[name].mode or self.mode

    def meeting(self, alert: str, service: str | None, team: str | None) -> str | None:
        """The name of the first policy that meets an alert of this service, or None.

        An alert without a service is met by none: the loop has nothing to act on.
        """
        return self.meeting_subject(alert, Subject("service", service) if service else None, team)

    def meeting_subject(self, alert: str, subject: Subject | None, team: str | None) -> str | None:
        """The name of the first policy that meets an alert about this, or None.

        A policy with mode off meets nothing.
        """
        if subject is None:
            return None
        for name, policy in self.policies.items():
            when = policy.when
            if self.mode_of(name) == "off" or alert not in when.alert:
                continue
            if when.names(subject.kind) and subject.name not in when.names(subject.kind):
                continue
            if when.team and team not in when.team:
                continue
            return name
        return None
