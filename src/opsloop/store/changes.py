"""What one transaction does: the steps of each write, with its audit row first."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opsloop.errors import Conflict, Paused, StoreError
from opsloop.remediation.approval import Approval, Ending
from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.plan import Plan, Run, RunState
from opsloop.remediation.ports import StepResult, Written
from opsloop.store import audit, rows
from opsloop.store.statements import queries

MAX_OUTPUT: Final = 16 * 1024  # characters kept of what an action printed
_ENDS: Final = frozenset({RunState.VERIFIED, RunState.FAILED, RunState.CANCELLED})
_ACTED: Final = frozenset({RunState.VERIFYING, RunState.UNKNOWN})


def execute(c: sqlite3.Connection, name: str, **values: object) -> int:
    """Run the named statement; returns how many rows it changed."""
    return c.execute(queries()[name], values).rowcount


def get(c: sqlite3.Connection, name: str, thing: str, **values: object) -> sqlite3.Row:
    """The row of the named statement. StoreError names `thing` when there is none."""
    row: sqlite3.Row | None = c.execute(queries()[name], values).fetchone()
    if row is None:
        raise StoreError(thing, "there is none")
    return row


def intake(c: sqlite3.Connection, alerts: Sequence[Alert], now: float) -> list[int]:
    """Ids of the episodes that are new or whose alert changed."""
    values = {"alerts": rows.alerts_json(alerts), "now": now}
    return [row[0] for row in c.execute(queries()["intake"], values).fetchall() if row[1]]


def set_episode(
    c: sqlite3.Connection,
    episode_id: int,
    state: EpisodeState,
    reason: str,
    due_at: float | None,
    now: float,
    firing: bool | None = None,
) -> None:
    """What the loop makes of an episode that it saw as `firing` (None: whatever it is).

    An alert that changed since is due at once, and one that fires again stays as new as the
    intake made it: news is never written over by what was decided before it.
    """
    found = get(c, "episode", f"episode {episode_id}", id=episode_id)
    news = firing is not None and bool(found["firing"]) != firing
    if news and found["firing"]:
        state, due_at = EpisodeState(found["state"]), now
    elif news:
        due_at = now
    execute(c, "set_episode", id=episode_id, state=str(state), reason=reason, due_at=due_at)
    if found["state"] != str(state):
        body = {"state": str(state), "reason": reason}
        audit.append(c, now, "episode", body, episode_id=episode_id)


def escalate(
    c: sqlite3.Connection,
    episode_id: int,
    run_id: int | None,
    reason: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    now: float,
) -> bool:
    """False when people are told of the episode already."""
    values = {
        "episode_id": episode_id,
        "run_id": run_id,
        "reason": reason,
        "labels": rows.json_text(labels),
        "annotations": rows.json_text(annotations),
        "now": now,
    }
    if c.execute(queries()["escalate"], values).fetchone() is None:
        return False
    body = {"reason": reason, "labels": dict(labels)}
    audit.append(c, now, "escalation", body, episode_id=episode_id, run_id=run_id)
    return True


def record(
    c: sqlite3.Connection, written: Written, now: float, holder: str | None = None
) -> Run | None:
    """Audit row, then the episode; the run with its locks when the decision is to act, the
    approval when it is to ask. holder: who must hold the lease to act."""
    episode, plan = written.episode, written.plan
    found = get(c, "episode", f"episode {episode.id}", id=episode.id)
    acts = written.kind == "act" and plan is not None
    run = None
    if acts and plan is not None:
        _may_act(c, found, written, holder)
        run = _insert_run(c, written, plan, now)
    body: dict[str, Any] = {
        "kind": written.kind,
        "reason": written.reason,
        "guards": rows.guards_json(written.guards),
        "state": str(written.state),
        "due_at": written.due_at,
    }
    if plan is not None:
        body["plan"] = json.loads(plan.to_json())
        body["plan_hash"] = plan.hash
        body["attempt"] = written.attempt
    if written.situation:
        body["situation"] = json.loads(written.situation)
    if written.approval_id is not None:
        body["approval"] = written.approval_id
    run_id = run["id"] if run is not None else None
    audit.append(c, now, "decision", body, episode_id=episode.id, run_id=run_id)
    news = bool(found["firing"]) != episode.firing  # it came while this was decided
    kept = news and found["firing"]
    execute(
        c,
        "set_episode",
        id=episode.id,
        state=found["state"] if kept else str(written.state),
        reason=written.reason,
        due_at=now if news else written.due_at,
    )
    if written.kind == "ask" and plan is not None and written.expires_at is not None:
        _ask(c, episode.id, plan, written.expires_at, now)
    if run is not None and written.approval_id is not None:
        _use(c, written.approval_id, run["id"], now)
    return rows.run(run) if run is not None else None


def _ask(c: sqlite3.Connection, episode_id: int, plan: Plan, expires_at: float, now: float) -> None:
    """Leave an open approval of the same plan as it is; one of another plan is void."""
    found = c.execute(queries()["approval_of_episode"], {"episode_id": episode_id}).fetchone()
    if found is not None and found["ended_at"] is None:
        if found["plan_hash"] == plan.hash:
            return
        end_approval(c, found["id"], Ending.VOID, now)
    values = {"plan": plan.to_json(), "plan_hash": plan.hash, "expires_at": expires_at, "now": now}
    row = c.execute(queries()["ask"], {"episode_id": episode_id, **values}).fetchone()
    body = {"approval": row[0], "plan_hash": plan.hash, "expires_at": expires_at}
    audit.append(c, now, "approval-needed", body, episode_id=episode_id)


def _use(c: sqlite3.Connection, approval_id: int, run_id: int, now: float) -> None:
    try:
        used = execute(
            c,
            "end_approval",
            id=approval_id,
            ending=str(Ending.USED),
            now=now,
            run_id=run_id,
            why=None,
        )
    except sqlite3.IntegrityError as error:
        raise Conflict(f"approval {approval_id}", str(error), "decide again") from error
    if used != 1:
        raise Conflict(f"approval {approval_id}", "is not open any more", "decide again")


def end_approval(
    c: sqlite3.Connection, approval_id: int, ending: Ending, now: float, why: str | None = None
) -> None:
    """End an open approval, with its audit row; one that has ended stays as it is."""
    found = get(c, "approval", f"approval {approval_id}", id=approval_id)
    if found["ended_at"] is not None:
        return
    body = {"approval": approval_id, "ending": str(ending)} | ({} if why is None else {"why": why})
    audit.append(c, now, "approval-end", body, episode_id=found["episode_id"])
    execute(c, "end_approval", id=approval_id, ending=str(ending), now=now, run_id=None, why=why)


def answer(
    c: sqlite3.Connection, approval_id: int, by: str, why: str, now: float, *, agreed: bool
) -> Approval:
    """A person's word. Conflict when it was given before, or comes too late."""
    found = get(c, "approval", f"approval {approval_id}", id=approval_id)
    thing = f"approval {approval_id}"
    if found["ended_at"] is not None:
        raise Conflict(
            thing, f"is {found['ending']} already", "`opsloop approvals` lists open ones"
        )
    if found["approved_by"] and agreed:
        raise Conflict(thing, f"was approved by {found['approved_by']} before")
    if not found["asked_at"] <= now < found["expires_at"]:
        raise Conflict(thing, "has expired", "the loop tells people; act by hand")
    episode_id = found["episode_id"]
    if agreed:
        body = {"approval": approval_id, "by": by, "why": why, "plan_hash": found["plan_hash"]}
        audit.append(c, now, "approved", body, episode_id=episode_id)
        execute(c, "approve", id=approval_id, by=by, why=why, now=now)
    else:
        end_approval(c, approval_id, Ending.REJECTED, now, f"{by}: {why}" if why else by)
    execute(c, "make_due", id=episode_id, now=now)
    return rows.approval(get(c, "approval", thing, id=approval_id))


def _loop_may_act(c: sqlite3.Connection, holder: str | None) -> None:
    """Paused when the kill switch is on; Conflict when another engine took the lease: what this
    one knows of open runs and budgets may be old."""
    control = get(c, "control", "control")
    if control["paused"]:
        raise Paused("the loop", f"is paused: {control['paused_why'] or 'no reason was given'}")
    if holder is not None and control["lease_holder"] != holder:
        raise Conflict("the lease", f"is held by {control['lease_holder'] or 'nobody'}")


def _may_act(
    c: sqlite3.Connection, found: sqlite3.Row, written: Written, holder: str | None
) -> None:
    _loop_may_act(c, holder)
    if bool(found["firing"]) != written.episode.firing:
        raise Conflict(
            f"episode {found['id']}", "its alert changed since it was read", "decide again"
        )


def _insert_run(c: sqlite3.Connection, written: Written, plan: Plan, now: float) -> sqlite3.Row:
    episode: Episode = written.episode
    key = {"episode_id": episode.id, "policy": plan.policy, "attempt": written.attempt}
    if c.execute(queries()["run_of_attempt"], key).fetchone() is not None:
        raise Conflict(
            f"episode {episode.id}", f"policy {plan.policy} has made attempt {written.attempt}"
        )
    if not plan.resources:
        raise Conflict(f"episode {episode.id}", "a plan that locks nothing does not run")
    open_run = c.execute(queries()["open_run_of_episode"], {"episode_id": episode.id}).fetchone()
    if open_run is not None:
        raise Conflict(f"episode {episode.id}", f"run {open_run[0]} is open")
    token = c.execute(queries()["take_token"]).fetchone()[0]
    run_id = c.execute(
        queries()["insert_run"],
        {
            **key,
            "service": plan.service,
            "plan": plan.to_json(),
            "plan_hash": plan.hash,
            "token": token,
            "now": now,
            "reason": written.reason,
        },
    ).fetchone()[0]
    for resource in plan.resources:
        holder = c.execute(queries()["lock"], {"resource": resource}).fetchone()
        if holder is not None:
            raise Conflict(resource, f"run {holder['run_id']} works on it")
        execute(c, "insert_lock", resource=resource, run_id=run_id, token=token, now=now)
    return get(c, "run", f"run {run_id}", id=run_id)


def begin_action(
    c: sqlite3.Connection, run: Run, index: int, now: float, holder: str | None = None
) -> None:
    """The last gate before an effect: pause, lease, token and order are checked in here."""
    _loop_may_act(c, holder)
    found = get(c, "run", f"run {run.id}", id=run.id)
    if found["finished_at"] is not None:
        raise Conflict(f"run {run.id}", f"is {found['state']} already")
    held = c.execute(queries()["locks_of_run"], {"run_id": run.id, "token": run.token}).fetchone()
    if held[0] != len(set(run.plan.resources)):
        raise Conflict(f"run {run.id}", f"its token {run.token} is stale: it lost its locks")
    if c.execute(queries()["action"], {"run_id": run.id, "idx": index}).fetchone() is not None:
        raise Conflict(f"run {run.id}", f"action {index} began before")
    action = run.plan.actions[index]
    body = {"action": index, "do": action.kind, "target": action.target}
    audit.append(c, now, "action", body, episode_id=run.episode_id, run_id=run.id)
    try:
        execute(
            c,
            "begin_action",
            run_id=run.id,
            idx=index,
            kind=action.kind,
            target=action.target,
            now=now,
        )
    except sqlite3.IntegrityError as error:
        raise Conflict(f"run {run.id}", str(error)) from error
    execute(c, "run_acts", id=run.id, now=now)


def end_action(c: sqlite3.Connection, run: Run, index: int, result: StepResult, now: float) -> None:
    """What came of it. Conflict when it never began or has ended."""
    output = rows.plain_text(result.output[:MAX_OUTPUT])
    try:
        changed = execute(
            c,
            "end_action",
            run_id=run.id,
            idx=index,
            ok=int(result.ok),
            started=int(result.started),
            output=output,
            now=now,
        )
    except sqlite3.IntegrityError as error:
        raise Conflict(f"run {run.id}", f"action {index}: {error}") from error
    if changed != 1:
        raise Conflict(f"run {run.id}", f"action {index} never began")
    body = {"action": index, "ok": result.ok, "started": result.started, "output": output}
    audit.append(c, now, "action-end", body, episode_id=run.episode_id, run_id=run.id)


def move_run(
    c: sqlite3.Connection,
    run: Run,
    state: RunState,
    reason: str,
    now: float,
    good_since: float | None,
    detail: Mapping[str, object],
) -> Run:
    """The run as it is then. Conflict when it has ended."""
    reason = rows.plain_text(reason)
    found = get(c, "run", f"run {run.id}", id=run.id)
    if found["finished_at"] is not None:
        raise Conflict(f"run {run.id}", f"is {found['state']} already")
    changes = found["state"] != str(state)
    if changes:
        body = {"from": found["state"], "to": str(state), "reason": reason}
        audit.append(c, now, "run", body, episode_id=run.episode_id, run_id=run.id)
    ends = state in _ENDS
    if ends:
        execute(c, "release_locks", run_id=run.id)
    acting_at, acted_at = found["acting_at"], found["acted_at"]
    if state is RunState.ACTING and acting_at is None:
        acting_at = now
    if changes and state in _ACTED:
        acted_at = now
    execute(
        c,
        "move_run",
        id=run.id,
        state=str(state),
        reason=reason,
        good_since=good_since,
        detail=rows.json_text({**json.loads(found["detail"]), **detail}),
        acting_at=acting_at,
        acted_at=acted_at,
        finished_at=now if ends else None,
    )
    return rows.run(get(c, "run", f"run {run.id}", id=run.id))
