"""A plan is data: dry-run, approval, audit and execution read the same object."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

ActionKind = Literal["restart", "start", "scale_out", "scale_in"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a driver does. `target` is an instance (`api:api-0`) or, to scale, a service.

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


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run will do, in order; the first action that fails ends it.

    resources: what the run locks, instance targets and, for what concerns the whole service,
    the service's name; rung: index of the policy's step, -1 for a scale in when quiet.
    """

    policy: str
    service: str
    rung: int
    actions: tuple[Action, ...]
    resources: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        raw: dict[str, Any] = json.loads(text)
        actions = tuple(Action(**a) for a in raw.pop("actions"))
        return cls(actions=actions, resources=tuple(raw.pop("resources")), **raw)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


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
