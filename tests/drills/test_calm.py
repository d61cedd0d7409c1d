"""When Alertmanager has forgotten an alert's group, so that the next drill is like the first."""

from __future__ import annotations

import pytest

from opsloop.drills.calm import group_ends_at
from opsloop.remediation.episode import Episode, EpisodeState

T0 = 1000.0


def episode(lasted: float | None) -> Episode:
    ended = None if lasted is None else T0 + lasted
    return Episode(
        id=1,
        fingerprint="f",
        starts_at=T0,
        labels={"alertname": "ServiceDown"},
        annotations={},
        firing=ended is None,
        state=EpisodeState.CLOSED,
        first_seen=T0,
        last_seen=T0 + 40,
        ended_at=ended,
        due_at=None,
        reason="",
    )


@pytest.mark.parametrize(
    ("lasted", "grace", "looks"),
    [
        (5, 28, 1),  # resolved before the group's first look
        (28, 28, 1),
        (29, 28, 2),  # seen as firing at the first look, gone at the second
        (100, 28, 4),
        (None, 28, 2),  # fires still: as long as it was seen
    ],
)
def test_a_group_ends_after_the_first_look_that_finds_it_resolved(
    lasted: float | None, grace: float, looks: int
) -> None:
    assert group_ends_at(episode(lasted), grace) == T0 + looks * grace + 32


def test_without_a_grace_only_the_removal_counts() -> None:
    assert group_ends_at(episode(100), 0) == T0 + 32
