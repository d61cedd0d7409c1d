"""A plan is data: dry-run, approval, audit and execution read the same object."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import TypeAdapter

ActionKind = Literal[
    "restart", "start", "scale_out", "scale_in",
    "script", "playbook", "webhook", "clean", "renew", "backup", "wait", "check",
]  # fmt: skip
SCALES: Final = frozenset({"scale_out", "scale_in"})
EFFECTLESS: Final = frozenset({"check", "wait"})


@dataclass(frozen=True, slots=True)
class CleanRule:
    """Files that may be deleted: in `folder` and below, older than older_than_s, but never the
    `keep` newest of those that `pattern` (a shell's, of the name alone) meets."""

    folder: str
    pattern: str
    older_than_s: float
    keep: int


@dataclass(frozen=True, slots=True)
class Work:
    """What an action does that is no restart and no scale; each kind reads its own fields.

    id: of this action in this run, for receivers that must not act twice. command: argv (of a
    playbook its path). environment: as the catalog has it. values: what of the alert is handed
    on, as environment or JSON, never as a part of a command. query: PromQL that has to return a
    series; probe: an address that has to serve; within_s: for how long that is waited for.
    """

    id: str = ""
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    url: str = ""
    token_file: str = ""
    ca_file: str = ""
    rules: tuple[CleanRule, ...] = ()
    query: str = ""
    probe: str = ""
    within_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a driver does. `target` is an instance (`api:api-0`), to scale a service, else
    what the action is about (`host/local`, `backup/orders`).

    address: host:port that answers when the instance serves (empty for a scale action);
    wanted: the instance count to reach, for scaling; limit_s: time limit in seconds.
    """

    kind: ActionKind
    service: str
    target: str
    address: str = ""
    health: str = ""  # path that answers 200 when healthy; empty: a TCP connect
    wanted: int = 0
    stop_wait_s: float = 0.0
    limit_s: float = 60.0
    idempotent: bool = True
    work: Work | None = None

    @property
    def effectless(self) -> bool:
        """Whether it changes nothing: it looks, or waits."""
        return self.kind in EFFECTLESS


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run will do, in order; the first action that fails ends it.

    The last `undo` actions are no part of that: they take the others back, when PromQL `worse`
    returns a series afterwards.
    resources: what the run locks, instance targets and, for what concerns the whole service,
    the service's name; rung: index of the policy's step, -1 for a scale in when quiet.
    """

    policy: str
    service: str
    rung: int
    actions: tuple[Action, ...]
    resources: tuple[str, ...]
    undo: int = 0
    worse: str = ""

    @property
    def forward(self) -> tuple[Action, ...]:
        """The actions of the step itself, with its conditions before and after."""
        return self.actions[: len(self.actions) - self.undo]

    @property
    def main(self) -> Action:
        """The first action that is no condition: what the plan is about."""
        return next((a for a in self.actions if a.kind != "check"), self.actions[0])

    def to_json(self) -> str:
        """Without what is empty, so that a plan is short to read and keeps its hash."""
        raw = asdict(self)
        for field in ("undo", "worse"):
            if not raw[field]:
                del raw[field]
        raw["actions"] = [_without_empty_work(a) for a in raw["actions"]]
        return json.dumps(raw, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Raises ValueError (pydantic's) for what is no plan."""
        return _adapter().validate_json(text)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _without_empty_work(action: dict[str, Any]) -> dict[str, Any]:
    if action["work"] is None:
        return {k: v for k, v in action.items() if k != "work"}
    return action | {"work": {k: v for k, v in action["work"].items() if v}}


@functools.cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


class RunState(StrEnum):
    """A run's life: planned -> acting -> verifying -> one of the ends."""

    PLANNED = "planned"
    ACTING = "acting"
    VERIFYING = "verifying"
    UNKNOWN = "unknown"  # a crash: an action may have begun; is checked against the world
    VERIFIED = "verified"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def open(self) -> bool:
        return self in (RunState.PLANNED, RunState.ACTING, RunState.VERIFYING, RunState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of one policy on one episode. Times are unix seconds."""

    id: int
    episode_id: int
    policy: str
    service: str
    attempt: int  # 0-based, rises by one with each run of (episode, policy); the step is plan.rung
    state: RunState
    plan: Plan
    token: int  # fencing token of its locks
    created_at: float
    acting_at: float | None  # the first action began
    acted_at: float | None  # the last action ended: evidence must be newer
    finished_at: float | None
    good_since: float | None  # verification: the condition is gone since
    reason: str
    detail: dict[str, Any]  # evidence before and after, for people
