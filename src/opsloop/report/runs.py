"""Runs as rows for JSON, as lines of a table, and one run as a page that tells its story."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opsloop.remediation.episode import Episode
from opsloop.remediation.plan import Action, Run
from opsloop.remediation.ports import ActionRecord, Escalation
from opsloop.report.episodes import row as episode_row
from opsloop.report.times import clock, length, since, stamp

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
        ", ".join(_action(a) for a in run.plan.actions),
        str(run.state),
        clock(run.created_at),
        length(end - run.created_at),
        run.reason,
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
            {"at": stamp(a["at"]), "kind": a["kind"], "what": _what(a)} for a in told.audit
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


def page(told: Story) -> str:
    """The run as one page of text: what fired, what was decided and why, what was done, what
    came of it, what is left."""
    run, episode = told.run, told.episode
    parts = [
        f"Run {run.id}: {run.policy} on {run.service}, attempt {run.attempt + 1}: {run.state}",
        *_lines("", [run.reason]),
        "",
        *_fired(episode),
        "",
        *_decided(told),
        "",
        *_done(told),
        "",
        *_evidence(run),
        "",
        *_verdict(told),
        "",
        "Timeline (UTC, seconds since the engine received the alert)",
        *_timeline(told),
    ]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def _fired(episode: Episode) -> list[str]:
    labels = {k: v for k, v in sorted(episode.labels.items()) if k != "alertname"}
    where = f" of {episode.service}" if episode.service else ""
    found = [
        "What fired",
        f"  {episode.alert}{where}, {episode.severity or 'no severity'}, episode {episode.id}",
        f"  fires since {stamp(episode.starts_at)}, received {stamp(episode.first_seen)}",
        f"  labels: {', '.join(f'{k}={json.dumps(v)}' for k, v in labels.items())}",
    ]
    for name in ("summary", "description", "runbook_url", "runbook"):
        if episode.annotations.get(name):
            found += _lines(f"  {name}: ", [episode.annotations[name]])
    return found


def _decided(told: Story) -> list[str]:
    decision = told.decision
    found = ["What was decided", *_lines("  ", [str(decision.get("reason", "(not recorded)"))])]
    for guard in decision.get("guards", []):
        answer = str(guard.get("answer", ""))
        found += _lines(
            f"  {answer:>6}  {guard.get('guard', '')}: ", [str(guard.get("reason", ""))]
        )
    return found


def _done(told: Story) -> list[str]:
    run = told.run
    known = {a.index: a for a in told.actions}
    found = [f"What was done (plan {run.plan.hash[:12]}, holds {', '.join(run.plan.resources)})"]
    for index, action in enumerate(run.plan.actions):
        record = known.get(index)
        if record is None:
            found.append(f"  {index + 1}. {_action(action)}: not begun")
            continue
        if record.result is None or record.ended_at is None:
            found.append(
                f"  {index + 1}. {_action(action)}: began {stamp(record.began_at)}, no end is known"
            )
            continue
        word = "done" if record.result.ok else "failed"
        took = length(record.ended_at - record.began_at)
        found.append(f"  {index + 1}. {_action(action)}: {word} in {took}")
        found += _lines("       ", record.result.output.splitlines())
    return found


def _evidence(run: Run) -> list[str]:
    found = ["Evidence"]
    for name, value in sorted(run.detail.items()):
        if isinstance(value, Mapping):
            found.append(f"  {name}")
            found += [f"    {k}: {_plain(v)}" for k, v in value.items()]
        else:
            found.append(f"  {name}: {_plain(value)}")
    return found if len(found) > 1 else ["Evidence: none was recorded"]


def _verdict(told: Story) -> list[str]:
    run, episode = told.run, told.episode
    found = [f"Verdict: {run.state}"]
    if run.good_since is not None:
        found.append(f"  good since {stamp(run.good_since)}")
    if told.escalation is not None:
        found.append(f"  people were told at {stamp(told.escalation.starts_at)}")
    if episode.firing:
        found.append(f"  the alert still fires; the episode is {episode.state}: {episode.reason}")
    else:
        found.append(f"  the alert ended {stamp(episode.ended_at)}; the episode is {episode.state}")
    return found


def _timeline(told: Story) -> list[str]:
    begin = told.episode.first_seen
    moments = [(told.episode.starts_at, "the alert began to fire")]
    moments.append((begin, "the engine received it"))
    moments += [(a["at"], _what(a)) for a in told.audit]
    if told.episode.ended_at is not None:
        moments.append((told.episode.ended_at, "the alert ended"))
    moments.sort(key=lambda m: m[0])
    return [
        f"  {(stamp(at) or '')[11:23]}  {since(at, begin) if at >= begin else '':>10}  {what}"
        for at, what in moments
    ]


def _what(entry: Mapping[str, Any]) -> str:
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
    return f"{kind}: {_plain(body)}"


def _action(action: Action) -> str:
    if action.kind in ("scale_out", "scale_in"):
        return f"{action.kind} {action.target} to {action.wanted}"
    return f"{action.kind} {action.target}"


def _lines(prefix: str, lines: Sequence[str]) -> list[str]:
    """Text from elsewhere: control characters cannot move a terminal's cursor."""
    return [
        prefix + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
        for text in lines
        for line in (text.splitlines() or [""])
    ]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
