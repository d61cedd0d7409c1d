"""Approvals as rows for JSON and as lines of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opsloop.remediation.approval import Approval
from opsloop.remediation.ladder import describe
from opsloop.report.times import clock, length, printable, stamp

HEADERS: Final = ("ID", "EPISODE", "POLICY", "PLAN", "STATE", "ASKED", "LEFT", "BY", "WHY")


def state_of(approval: Approval, now: float) -> str:
    """`waits`, `approved` (its run begins at once), `expired`, or how it ended."""
    if approval.ending is not None:
        return str(approval.ending)
    if now >= approval.expires_at:
        return "expired"
    return "approved" if approval.approved_by else "waits"


def row(approval: Approval, now: float) -> dict[str, Any]:
    """An approval for `--json` and the API; these fields stay. Times are RFC 3339 in UTC."""
    return {
        "id": approval.id,
        "episode": approval.episode_id,
        "policy": approval.plan.policy,
        "service": approval.plan.service,
        "plan": describe(approval.plan),
        "plan_hash": approval.plan.hash,
        "state": state_of(approval, now),
        "asked_at": stamp(approval.asked_at),
        "expires_at": stamp(approval.expires_at),
        "approved_by": approval.approved_by,
        "why": approval.why,
        "answered_at": stamp(approval.answered_at),
        "ended_at": stamp(approval.ended_at),
    }


def rows(approvals: Sequence[Approval], now: float) -> list[dict[str, Any]]:
    return [row(a, now) for a in approvals]


def cells(approval: Approval, now: float) -> tuple[str, ...]:
    """A line under HEADERS."""
    state = state_of(approval, now)
    left = length(approval.expires_at - now) if state in ("waits", "approved") else ""
    return (
        str(approval.id),
        str(approval.episode_id),
        approval.plan.policy,
        describe(approval.plan),
        state,
        clock(approval.asked_at) or "",
        left,
        printable(approval.approved_by),
        printable(approval.why),
    )
