"""Episodes as rows for JSON and as lines of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opsloop.remediation.episode import Episode
from opsloop.report.times import clock, length, printable, stamp

HEADERS: Final = ("ID", "ALERT", "SERVICE", "INSTANCE", "SEV", "STATE", "SINCE", "LASTED", "REASON")


def row(episode: Episode) -> dict[str, Any]:
    """An episode for `--json` and the API; these fields stay. Times are RFC 3339 in UTC.

    starts_at: when the alert began to fire; received_at: when the engine heard of it first;
    ended_at: when it heard of the end, null while it fires; next_decision_at: null when
    nothing is to be decided.
    """
    return {
        "id": episode.id,
        "alert": episode.alert,
        "severity": episode.severity,
        "service": episode.service,
        "instance": episode.instance,
        "team": episode.team,
        "policy": episode.policy,
        "firing": episode.firing,
        "state": str(episode.state),
        "reason": episode.reason,
        "starts_at": stamp(episode.starts_at),
        "received_at": stamp(episode.first_seen),
        "last_seen_at": stamp(episode.last_seen),
        "ended_at": stamp(episode.ended_at),
        "next_decision_at": stamp(episode.due_at),
        "fingerprint": episode.fingerprint,
        "labels": dict(episode.labels),
        "annotations": dict(episode.annotations),
    }


def rows(episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    return [row(e) for e in episodes]


def cells(episode: Episode, now: float) -> tuple[str, ...]:
    """A line under HEADERS."""
    end = now if episode.ended_at is None else episode.ended_at
    return (
        str(episode.id),
        printable(episode.alert),
        printable(episode.service or ""),
        printable(episode.instance or ""),
        printable(episode.severity),
        str(episode.state) if episode.firing else f"{episode.state}, ended",
        clock(episode.starts_at),
        length(end - episode.starts_at),
        printable(episode.reason),
    )
