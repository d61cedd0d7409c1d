"""Asking people: ApprovalNeeded, posted while a plan waits for its approval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from opsloop import names
from opsloop.remediation.approval import Approval
from opsloop.remediation.episode import Episode
from opsloop.remediation.ladder import describe
from opsloop.remediation.ports import PostedAlert

REPOST_S: Final = 60.0
LIFE_S: Final = 300.0  # a dead engine's question is over after this


def labels_of(approval: Approval, episode: Episode) -> dict[str, str]:
    """Those of the episode, what it was, and which approval it is about."""
    labels = {k: v for k, v in episode.labels.items() if k != "alertname"}
    return labels | {
        "alertname": names.APPROVAL_NEEDED,
        names.ORIGINAL: episode.alert,
        names.APPROVAL: str(approval.id),
    }


def words_of(approval: Approval, episode: Episode) -> dict[str, str]:
    """What fired, what would be done, how to say yes or no, and until when."""
    what = describe(approval.plan)
    where = episode.service or "unknown service"
    until = datetime.fromtimestamp(approval.expires_at, UTC).strftime("%H:%M:%S UTC")
    fired = episode.annotations.get("summary") or f"{episode.alert} fires"
    kept = {k: v for k, v in episode.annotations.items() if k not in ("summary", "description")}
    return kept | {
        "summary": f"{episode.alert} on {where}: may the loop {what}?",
        "description": (
            f"Fired: {fired}\n"
            f"Plan: {what} (policy {approval.plan.policy}, plan {approval.plan.hash[:12]})\n"
            f'Approve: opsloop approve {approval.id} --why "..."\n'
            f'Reject: opsloop reject {approval.id} --why "..."\n'
            f"Until {until}; then nothing is done, and this is told as failed."
        ),
        "expires_at": until,
    }


@dataclass(slots=True)
class Asking:
    """Which questions are posted. `turn` gives what is to be posted now."""

    _posted: dict[int, tuple[float, PostedAlert]] = field(default_factory=dict)

    def turn(self, waiting: Sequence[tuple[Approval, Episode]], now: float) -> list[PostedAlert]:
        """waiting: open approvals. An answered or expired one is taken back."""
        asked = {a.id: (a, e) for a, e in waiting if not a.approved_by and now < a.expires_at}
        found = []
        for gone in [i for i in self._posted if i not in asked]:
            _, last = self._posted.pop(gone)
            found.append(PostedAlert(last.labels, last.annotations, min(last.starts_at, now), now))
        for number, (approval, episode) in asked.items():
            at = self._posted[number][0] if number in self._posted else None
            if at is not None and 0 <= now - at < REPOST_S:
                continue
            ends_at = min(approval.expires_at, now + LIFE_S)
            posted = PostedAlert(
                labels_of(approval, episode),
                words_of(approval, episode),
                min(approval.asked_at, now),
                ends_at,
            )
            self._posted[number] = (now, posted)
            found.append(posted)
        return found

    def next_at(self) -> float | None:
        """When a question is to be posted again, unix seconds."""
        return min((at + REPOST_S for at, _ in self._posted.values()), default=None)
