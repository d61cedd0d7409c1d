"""What a storm must leave behind: every rule, checked in the store against what really happened."""

from __future__ import annotations

import bisect
import contextlib
import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks._rig import ONCE, Rig
from benchmarks._senders import Senders
from benchmarks._world import World
from opsloop import names
from opsloop.store.sqlite import SqliteStore

HOUR_S: Final = 3600.0
DECIDES_S: Final = 4.0  # an engine that has lived for so long has decided and told what is due
LOOK_S: Final = 1.5  # a look is answered a little after its turn began
ENDS: Final = ("verified", "failed", "cancelled")


@dataclass
class Findings:
    """Each a list of sentences, empty when the rule held."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)  # runs whose state is not what happened
    budget: list[str] = field(default_factory=list)
    radius: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)  # actions that began during a pause
    damaged: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        rules = ("lost", "doubled", "untrue", "budget", "radius", "paused", "damaged")
        return [f"{rule}: {text}" for rule in rules for text in getattr(self, rule)]


def judge(rig: Rig, world: World, senders: Senders) -> Findings:
    """Read the store of an engine that has come to rest, or was stopped."""
    found = Findings()
    path = rig.state / names.STORE_FILE
    with contextlib.closing(_open(path)) as c:
        rows = {table: [dict(r) for r in c.execute(f"SELECT * FROM {table}")] for table in _TABLES}
        if c.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            found.damaged.append("SQLite's integrity check")
        if c.execute("PRAGMA foreign_key_check").fetchall():
            found.damaged.append("foreign keys")
    with SqliteStore(path, create=False) as store:
        chain = store.verify_audit()
    if not chain.ok:
        found.damaged.append(f"the audit: {chain.reason}")
    actions: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for action in rows["actions"]:
        actions[action["run_id"]].append(action)
    _lost(found, rows, world, senders)
    _untold(found, rows, world)
    _doubled(found, rig, rows)
    _true(found, world, rows, actions)
    _closed_early(found, world, rows["episodes"])
    _well(found, world, rows["actions"])
    _budgets(found, rig, rows["runs"])
    _radius(found, rig, rows["runs"], actions)
    _paused(found, rows["audit"])
    states = [r["state"] for r in rows["runs"]]
    found.counts = {
        "episodes": len(rows["episodes"]),
        "runs": len(states),
        "actions": len(rows["actions"]),
        "cut short": sum(a["ended_at"] is None for a in rows["actions"]),
        "escalations": len(rows["escalations"]),
        "audit rows": chain.rows,
        **{state: states.count(state) for state in ENDS},
    }
    return found


_TABLES = ("episodes", "runs", "actions", "escalations", "audit")


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    return connection


def _lost(
    found: Findings, rows: dict[str, list[dict[str, Any]]], world: World, senders: Senders
) -> None:
    kept = {e["fingerprint"]: e for e in rows["episodes"]}
    decided = {a["episode_id"] for a in rows["audit"] if a["kind"] == "decision"}
    for fingerprint in senders.acknowledged:
        episode = kept.get(fingerprint)
        if episode is None:
            found.lost.append(f"{fingerprint} was acknowledged and is not stored")
        elif episode["state"] not in ("closed", "escalated"):
            found.lost.append(f"{fingerprint} is {episode['state']}: nothing came of it")
    for fault, ended in world.ended:
        # One that was acknowledged and lasted was decided, whatever came of it.
        episode = kept.get(fault.fingerprint)
        lasted = fault.number in world.by_hand and fault.fingerprint in senders.acknowledged
        lasted = lasted and _could_work(world.rig, fault.began_at, ended)
        if lasted and episode is not None and episode["id"] not in decided:
            found.lost.append(f"{fault.fingerprint} lasted until a person came, undecided")


def _untold(found: Findings, rows: dict[str, list[dict[str, Any]]], world: World) -> None:
    """What was to be told reached Alertmanager, and nothing that the store does not know of."""
    # An escalation that opens again has another run in its labels than what was told before.
    told = {_without_run(text) for text in world.posted.get(names.REMEDIATION_FAILED, set())}
    kept = set()
    for row in rows["escalations"]:
        labels = _without_run(row["labels"])
        kept.add(labels)
        until = row["ended_at"] if row["ended_at"] is not None else float("inf")
        if labels not in told and _could_work(world.rig, row["starts_at"], until):
            found.lost.append(f"people were never told of episode {row['episode_id']}")
    found.untrue += [f"people were told of what is not stored: {text}" for text in told - kept]


def _without_run(labels: str) -> str:
    kept = {k: v for k, v in json.loads(labels).items() if k != names.RUN}
    return json.dumps(kept, sort_keys=True)


def _could_work(rig: Rig, began: float, ended: float) -> bool:
    """Whether an engine lived long enough within this time to decide."""
    return any(min(end, ended) - max(start, began) > DECIDES_S for start, end in rig.lives)


def _doubled(found: Findings, rig: Rig, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Between two actions on a target there is one start of it at most, and none before the first."""
    begun: dict[str, list[float]] = defaultdict(list)
    for action in rows["actions"]:
        begun[action["target"]].append(action["begun_at"])
    seen: dict[tuple[str, int], int] = defaultdict(int)
    firsts: set[str] = set()
    for target, at in rig.starts():
        if target not in firsts:
            firsts.add(target)  # supervisord's own, before any fault
            continue
        nth = bisect.bisect_right(sorted(begun[target]), at)
        seen[target, nth] += 1
        if nth == 0:
            found.doubled.append(f"{target} was started before any action on it")
        elif seen[target, nth] == 2:
            found.doubled.append(f"{target} was started twice by its action {nth}")
    keys = [(e["fingerprint"], e["starts_ms"]) for e in rows["episodes"]]
    if len(keys) != len(set(keys)):
        found.doubled.append("an episode is there twice")
    attempts = [(r["episode_id"], r["policy"], r["attempt"]) for r in rows["runs"]]
    if len(attempts) != len(set(attempts)):
        found.doubled.append("an attempt was made twice")
    told = [e["episode_id"] for e in rows["escalations"]]
    if len(told) != len(set(told)):
        found.doubled.append("people were told twice")


def _true(
    found: Findings,
    world: World,
    rows: dict[str, list[dict[str, Any]]],
    actions: dict[int, list[dict[str, Any]]],
) -> None:
    """Every run has ended, and its end is what happened."""
    faults: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for fault, ended in world.ended:
        faults[fault.target.name].append((fault.began_at, ended))
    unknown = {
        a["run_id"]
        for a in rows["audit"]
        if a["kind"] == "run" and json.loads(a["body"])["to"] == "unknown"
    }
    hidden_once: dict[int, int] = {}
    for run in rows["runs"]:
        did = actions[run["id"]]
        name = f"run {run['id']} ({run['state']})"
        if run["state"] not in ENDS:
            found.untrue.append(f"{name} has not ended")
        if run["state"] == "cancelled" and did:
            found.untrue.append(f"{name} did something")
        if run["state"] in ("verified", "failed") and not did:
            found.untrue.append(f"{name} did nothing")
        if any(a["ended_at"] is None for a in did) and run["id"] not in unknown:
            found.untrue.append(f"{name} was cut short, and not called unknown")
        if run["state"] == "verified" and _was_there(faults[did[0]["target"]], run):
            found.untrue.append(f"{name}: its fault was there")
        if run["episode_id"] in hidden_once:
            found.doubled.append(f"{name} repeats run {hidden_once[run['episode_id']]}")
        hidden = run["id"] in unknown and run["state"] == "failed"
        if hidden and run["policy"] == ONCE:
            hidden_once[run["episode_id"]] = run["id"]


def _closed_early(found: Findings, world: World, episodes: list[dict[str, Any]]) -> None:
    """No alert was taken for resolved while its fault was there."""
    kept = {e["fingerprint"]: e["ended_at"] for e in episodes}
    for fault, ended in world.ended:
        at = kept.get(fault.fingerprint)
        if at is not None and at < ended - LOOK_S:
            found.untrue.append(f"{fault.fingerprint} was ended while its fault was there")


def _well(found: Findings, world: World, actions: list[dict[str, Any]]) -> None:
    """No action on an instance without a fault."""
    faults: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for fault, ended in world.ended:
        faults[fault.target.name].append((fault.began_at - LOOK_S, ended + LOOK_S))
    for action in actions:
        at, target = action["begun_at"], action["target"]
        if not any(began <= at <= ended for began, ended in faults[target]):
            found.untrue.append(f"run {action['run_id']} acted on {target}, which was well")


def _was_there(faults: list[tuple[float, float]], run: dict[str, Any]) -> bool:
    good, slack = run["good_since"], LOOK_S
    return good is None or any(began < good < ended - slack for began, ended in faults)


def _budgets(found: Findings, rig: Rig, runs: list[dict[str, Any]]) -> None:
    """By what the store says, and by the starts that the instances themselves wrote down."""
    by: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run["state"] != "cancelled":
            by[f"runs of {run['policy']} on {run['service']}"].append(run["created_at"])
    firsts: set[str] = set()
    for target, at in rig.starts():
        if target in firsts:  # the first is supervisord's own
            by[f"starts of {target.partition(':')[0]}"].append(at)
        firsts.add(target)
    for what, times in by.items():
        times.sort()
        for nth, at in enumerate(times):
            within = nth - bisect.bisect_right(times, at - HOUR_S) + 1
            if within > rig.shape.max_runs:
                found.budget.append(f"{within} {what} within the hour")
                break


def _radius(
    found: Findings,
    rig: Rig,
    runs: list[dict[str, Any]],
    actions: dict[int, list[dict[str, Any]]],
) -> None:
    """Never more instances of a service held by open runs that act than is allowed."""
    changes: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for run in runs:
        for action in actions[run["id"]]:
            ended = run["finished_at"] if run["finished_at"] is not None else float("inf")
            changes[run["service"]].append((action["begun_at"], 1, action["target"]))
            changes[run["service"]].append((ended, -1, action["target"]))
    for service, listed in changes.items():
        held: dict[str, int] = defaultdict(int)
        # Where both come in one turn of the engine, the end was first.
        for at, step, target in sorted(listed):
            held[target] += step
            if held[target] > 1:
                found.radius.append(f"two runs on {target} at {at:.3f}")
            if sum(n > 0 for n in held.values()) > rig.shape.at_once:
                found.radius.append(f"more than {rig.shape.at_once} of {service} at {at:.3f}")
                break


def _paused(found: Findings, audit: list[dict[str, Any]]) -> None:
    """By the order of the audit, which no clock moves."""
    paused = False
    for row in sorted(audit, key=lambda r: int(r["id"])):
        if row["kind"] in ("pause", "resume"):
            paused = row["kind"] == "pause"
        elif paused and row["kind"] == "action":
            found.paused.append(f"run {row['run_id']} began an action during a pause")
