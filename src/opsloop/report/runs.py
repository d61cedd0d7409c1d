"""Runs as rows for JSON and as lines of a table, and all that is known of one run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opsloop.remediation import works
from opsloop.remediation.episode import Episode
from opsloop.remediation.plan import Action, Run
from opsloop.remediation.ports import ActionRecord, Escalation
from opsloop.report.episodes import row as episode_row
from opsloop.report.times import clock, length, printable, stamp

HEADERS: Final = ("ID", "EPISODE", "POLICY", "SERVICE", "ACTIONS", "STATE", "AT", "TOOK", "REASON")


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one run. audit: rows with `at`, `kind` and `body`, oldest first."""

    run: Run
    episode: Episode
    actions: Sequence[ActionRecord]
    audit: Sequence[Mapping[str, Any]]
    escalation: Escalation | None = None

    @property
    def decision(self) -> Mapping[str, Any]:
        """The body of the decision that made the run; empty when it is not in the audit."""
        empty: Mapping[str, Any] = {}
        return next((a["body"] for a in self.audit if a["kind"] == "decision"), empty)


class Records(Protocol):
    """What a story is read from."""

    def episode(self, episode_id: int) -> Episode: ...
    def run(self, run_id: int) -> Run: ...
    def actions(self, run_id: int) -> list[ActionRecord]: ...
    def audit_of(
        self, *, run_id: int | None = None, episode_id: int | None = None
    ) -> list[dict[str, Any]]: ...
    def escalation_of(self, episode_id: int) -> Escalation | None: ...


def gather(records: Records, run_id: int) -> Story:
    """Everything about a run. Raises StoreError when there is none."""
    run = records.run(run_id)
    return Story(
        run=run,
        episode=records.episode(run.episode_id),
        actions=records.actions(run_id),
        audit=records.audit_of(run_id=run_id),
        escalation=records.escalation_of(run.episode_id),
    )


def row(run: Run) -> dict[str, Any]:
    """A run for `--json` and the API; these fields stay. Times are RFC 3339 in UTC.

    attempt: 0-based among the runs of this policy on this episode; step: 0-based index of the
    policy's step, -1 for scaling in when quiet.
    """
    return {
        "id": run.id,
        "episode": run.episode_id,
        "policy": run.policy,
        "service": run.service,
        "attempt": run.attempt,
        "step": run.plan.rung,
        "state": str(run.state),
        "reason": run.reason,
        "resources": list(run.plan.resources),
        "plan_hash": run.plan.hash,
        "created_at": stamp(run.created_at),
        "acting_at": stamp(run.acting_at),
        "acted_at": stamp(run.acted_at),
        "finished_at": stamp(run.finished_at),
        "good_since": stamp(run.good_since),
    }


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [row(r) for r in runs]


def cells(run: Run, now: float) -> tuple[str, ...]:
    """A line under HEADERS."""
    end = now if run.finished_at is None else run.finished_at
    return (
        str(run.id),
        str(run.episode_id),
        run.policy,
        run.service,
        printable(", ".join(action_text(a) for a in run.plan.forward)),
        str(run.state),
        clock(run.created_at),
        length(end - run.created_at),
        printable(run.reason),
    )


def story(told: Story) -> dict[str, Any]:
    """One run with everything about it, for `--json` and the API; these fields stay."""
    known = {a.index: a for a in told.actions}
    return {
        **row(told.run),
        "detail": told.run.detail,
        "about": episode_row(told.episode),
        "guards": list(told.decision.get("guards", [])),
        "decision": told.decision.get("reason", ""),
        "actions": [
            _action_row(i, action, known.get(i)) for i, action in enumerate(told.run.plan.actions)
        ],
        "timeline": [
            {"at": stamp(a["at"]), "kind": a["kind"], "what": what(a)} for a in told.audit
        ],
        "escalation": _escalation_row(told.escalation),
    }


def _action_row(index: int, action: Action, known: ActionRecord | None) -> dict[str, Any]:
    result = known.result if known else None
    return {
        "index": index,
        "kind": action.kind,
        "target": action.target,
        "wanted": action.wanted or None,
        "limit_s": action.limit_s,
        "began_at": stamp(known.began_at) if known else None,
        "ended_at": stamp(known.ended_at) if known else None,
        "ok": result.ok if result else None,
        "started": result.started if result else None,
        "output": result.output if result else None,
    }


def _escalation_row(escalation: Escalation | None) -> dict[str, Any] | None:
    if escalation is None:
        return None
    return {
        "id": escalation.id,
        "run": escalation.run_id,
        "starts_at": stamp(escalation.starts_at),
        "labels": dict(escalation.labels),
        "annotations": dict(escalation.annotations),
    }


def what(entry: Mapping[str, Any]) -> str:
    """An audit row as half a sentence."""
    kind, body = entry["kind"], entry["body"]
    if kind == "decision":
        return f"decided to {body.get('kind')}: {body.get('reason')}"
    if kind == "action":
        return f"action {body.get('action', 0) + 1} begins: {body.get('do')} {body.get('target')}"
    if kind == "action-end":
        word = "succeeded" if body.get("ok") else "failed"
        first = (str(body.get("output", "")).splitlines() or [""])[0]
        return f"action {body.get('action', 0) + 1} {word}: {first}"
    if kind == "run":
        return f"{body.get('from')} -> {body.get('to')}: {body.get('reason')}"
    if kind == "escalation":
        return f"people are told: {body.get('reason')}"
    return f"{kind}: {plain(body)}"


def action_text(action: Action) -> str:
    """`restart api:api-0`, `scale_out api to 3`, `run backup/orders again: ...`."""
    if action.work is not None or action.kind == "wait":
        return works.text_of(action)
    if action.kind in ("scale_out", "scale_in"):
        return f"{action.kind} {action.target} to {action.wanted}"
    return f"{action.kind} {action.target}"


def plain(value: Any) -> str:
    """A value of evidence: numbers short, text as it is, the rest as JSON."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
