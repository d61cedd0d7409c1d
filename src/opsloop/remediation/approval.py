"""Approvals: a plan that waits for a person, bound to exactly what that person was shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from opsloop.remediation.plan import Plan


class Ending(StrEnum):
    """Why an approval is no longer open; none comes back."""

    USED = "used"  # its plan was started, once
    REJECTED = "rejected"
    EXPIRED = "expired"
    VOID = "void"  # the world changed: another plan would be made now
    OVER = "over"  # the episode ended


@dataclass(frozen=True, slots=True)
class Approval:
    """One plan that was put before people. Times are unix seconds.

    approved_by: empty until a person agrees. ending None: open.
    """

    id: int
    episode_id: int
    plan: Plan
    asked_at: float
    expires_at: float
    approved_by: str = ""
    why: str = ""
    answered_at: float | None = None
    ending: Ending | None = None
    ended_at: float | None = None

    @property
    def open(self) -> bool:
        return self.ending is None

    def allows(self, plan: Plan, now: float) -> bool:
        """Whether a person agreed to this very plan, in time, and it was not done yet."""
        return (
            self.open
            and bool(self.approved_by)
            and self.asked_at <= now < self.expires_at
            and self.plan.hash == plan.hash
        )
