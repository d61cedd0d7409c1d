"""A decision beside the one that was recorded: as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opsloop.errors import StoreError
from opsloop.remediation.decide import Decision
from opsloop.remediation.ladder import describe
from opsloop.remediation.situation import Situation
from opsloop.report.times import printable, stamp

_WIDTH = 14


class Records(Protocol):
    """Where decisions are read from."""

    def audit_of(
        self, *, run_id: int | None = None, episode_id: int | None = None
    ) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision of the audit, with the situation that it was made in. at: unix seconds."""

    at: float
    kind: str
    reason: str
    guards: Sequence[Mapping[str, str]]
    situation: Situation


def recorded(records: Records, *, run: int | None = None, episode: int | None = None) -> Recorded:
    """The decision that made a run, or the last one about an episode. Raises StoreError."""
    rows = records.audit_of(run_id=run, episode_id=episode)
    what = f"run {run}" if run is not None else f"episode {episode}"
    decided = [r for r in rows if r["kind"] == "decision" and r["body"].get("situation")]
    if not decided:
        raise StoreError(
            what, "has no decision in the audit", "`opsloop episodes` and `opsloop runs` list them"
        )
    row = decided[0] if run is not None else decided[-1]
    body = row["body"]
    try:
        situation = Situation.from_mapping(body["situation"])
    except ValueError as error:
        raise StoreError(
            what, f"was decided by another version: {error}", "read it with `opsloop runs show`"
        ) from None
    return Recorded(row["at"], body["kind"], body["reason"], body.get("guards", []), situation)


def as_json(then: Recorded, now: Decision) -> dict[str, Any]:
    """The stable form of `opsloop replay --json`. same: kind and plan's words are equal."""
    return {
        "decided_at": stamp(then.at),
        "alert": then.situation.episode.alert,
        "service": then.situation.episode.service,
        "same": is_same(then, now),
        "then": {
            "kind": then.kind,
            "reason": then.reason,
            "guards": [dict(g) for g in then.guards],
        },
        "now": {
            "kind": now.kind,
            "reason": now.reason,
            "plan": describe(now.plan) if now.plan else None,
            "guards": [
                {"guard": g.guard, "answer": g.answer, "reason": g.reason} for g in now.guards
            ],
        },
    }


def is_same(then: Recorded, now: Decision) -> bool:
    return (then.kind, _stop(then.guards)) == (now.kind, now.stopped_by) and (
        then.kind != "act" or then.reason.partition(":")[0] == now.reason.partition(":")[0]
    )


def _stop(guards: Sequence[Mapping[str, str]]) -> str:
    last = guards[-1] if guards else None
    return last["guard"] if last is not None and last["answer"] != "pass" else ""


def lines(then: Recorded, now: Decision) -> list[str]:
    """What was decided, what would be, and the guards that answer otherwise."""
    episode = then.situation.episode
    of = f" of {episode.service}" if episode.service else ""
    verdict = "the same" if is_same(then, now) else "OTHERWISE"
    found = [
        f"{episode.alert}{of}, episode {episode.id}, decided {stamp(then.at)}",
        f"  {'then':<{_WIDTH}}  {then.kind}: {printable(then.reason)}",
        f"  {'today':<{_WIDTH}}  {now.kind}: {printable(now.reason)}",
        f"  today's catalog decides {verdict}",
    ]
    old = {g["guard"]: g for g in then.guards}
    new = {g.guard: g for g in now.guards}
    for name in [*new, *(n for n in old if n not in new)]:
        before = old[name]["answer"] if name in old else "not asked"
        after = new[name].answer if name in new else "not asked"
        if before != after:
            reason = new[name].reason if name in new else old[name].get("reason", "")
            found.append(f"  {name:<{_WIDTH}}  {before} -> {after}  {printable(reason)}".rstrip())
    return found
