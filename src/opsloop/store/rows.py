"""Rows of the store as the core's values, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from opsloop import names
from opsloop.remediation.approval import Approval, Ending
from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.plan import Plan, Run, RunState
from opsloop.remediation.ports import ActionRecord, Escalation, PastRun, StepResult

_encode = msgspec.json.Encoder(order="sorted", enc_hook=str).encode
_decode = msgspec.json.decode


def starts_ms(seconds: float) -> int:
    """Whole milliseconds: the webhook tells nanoseconds, /api/v2/alerts cuts to milliseconds.

    The half microsecond undoes what a float of unix seconds loses.
    """
    return int(seconds * 1000 + 0.0005)


def alerts_json(alerts: Sequence[Alert]) -> str:
    """The alerts as the `intake` statement reads them."""
    return _encode([_alert(a) for a in alerts]).decode()


def _alert(alert: Alert) -> tuple[object, ...]:
    label = alert.labels.get
    return (
        alert.fingerprint,
        starts_ms(alert.starts_at),
        alert.labels,  # as they are: SQLite takes an inner object out as its JSON text
        alert.annotations,
        1 if alert.firing else 0,
        label(names.SERVICE),
        label(names.POLICY),
        label(names.SEVERITY) or "~",
    )


def json_text(value: Any) -> str:
    """Canonical JSON; numbers that JSON has not (NaN, infinity) become null."""
    return _encode(value).decode()


def plain_text(text: str) -> str:
    """Text that UTF-8 can hold: what a program printed may have bytes that are no characters."""
    return text.encode("utf-8", "replace").decode()


def episode(row: sqlite3.Row) -> Episode:
    return Episode(
        id=row["id"],
        fingerprint=row["fingerprint"],
        starts_at=row["starts_ms"] / 1000,
        labels=_decode(row["labels"]),
        annotations=_decode(row["annotations"]),
        firing=bool(row["firing"]),
        state=EpisodeState(row["state"]),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        ended_at=row["ended_at"],
        due_at=row["due_at"],
        reason=row["reason"],
    )


def run(row: sqlite3.Row) -> Run:
    return Run(
        id=row["id"],
        episode_id=row["episode_id"],
        policy=row["policy"],
        service=row["service"],
        attempt=row["attempt"],
        state=RunState(row["state"]),
        plan=Plan.from_json(row["plan"]),
        token=row["token"],
        created_at=row["created_at"],
        acting_at=row["acting_at"],
        acted_at=row["acted_at"],
        finished_at=row["finished_at"],
        good_since=row["good_since"],
        reason=row["reason"],
        detail=_decode(row["detail"]),
    )


def past_run(row: sqlite3.Row) -> PastRun:
    return PastRun(
        run_id=row["id"],
        policy=row["policy"],
        service=row["service"],
        resources=tuple(_decode(row["resources"])),
        state=RunState(row["state"]),
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        episode_id=row["episode_id"],
        attempt=row["attempt"],
        acted_at=row["acted_at"],
        unknown=bool(row["unknown"]),
    )


def action(row: sqlite3.Row) -> ActionRecord:
    result = None
    if row["ended_at"] is not None:
        result = StepResult(ok=bool(row["ok"]), started=bool(row["started"]), output=row["output"])
    return ActionRecord(row["idx"], row["begun_at"], row["ended_at"], result)


def approval(row: sqlite3.Row) -> Approval:
    return Approval(
        id=row["id"],
        episode_id=row["episode_id"],
        plan=Plan.from_json(row["plan"]),
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        approved_by=row["approved_by"],
        why=row["why"],
        answered_at=row["answered_at"],
        ending=None if row["ending"] is None else Ending(row["ending"]),
        ended_at=row["ended_at"],
    )


def escalation(row: sqlite3.Row) -> Escalation:
    return Escalation(
        id=row["id"],
        episode_id=row["episode_id"],
        run_id=row["run_id"],
        labels=_decode(row["labels"]),
        annotations=_decode(row["annotations"]),
        starts_at=row["starts_at"],
    )


def guards_json(guards: Sequence[tuple[str, str, str]]) -> list[Mapping[str, str]]:
    return [{"guard": g, "answer": a, "reason": r} for g, a, r in guards]
