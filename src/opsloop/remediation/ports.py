"""The ports: all that the core knows of the world. Drivers and the store implement them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opsloop.remediation.approval import Approval, Ending
from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.plan import Action, Plan, Run, RunState


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant query."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a range query; points are (unix seconds, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a service as its driver sees it now."""

    target: str  # the driver's name of it, as `api:api-0`
    address: str  # host:port, equals the `instance` label; empty when unknown
    running: bool
    wanted: bool
    health: str = ""
    pid: int = 0
    started_at: float = 0.0  # unix time of its process's start, whole seconds; 0 when unknown


@dataclass(frozen=True, slots=True)
class Inventory:
    """A service's instances, read now. `instances` empty means unknown: refuse."""

    service: str
    instances: tuple[Instance, ...]
    limit: int = 0  # most instances there may be
    floor: int = 1  # fewest


@dataclass(frozen=True, slots=True)
class PostedAlert:
    """An alert of the engine's own, posted to every Alertmanager. Times are unix seconds."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of an action. `started` False: nothing happened."""

    ok: bool
    started: bool
    output: str


class Metrics(Protocol):
    def query(self, expr: str) -> list[Sample]:
        """Evaluate now. Raises PrometheusError (retryable) when there is no answer."""


class History(Protocol):
    def query(self, expr: str) -> list[Sample]: ...

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate at each step (seconds) from start to end (unix seconds).

        Raises PrometheusError (retryable) when there is no answer.
        """


class Alerts(Protocol):
    def alerts(self) -> list[Alert]:
        """All alerts, silenced and inhibited ones too. Raises AlertmanagerError."""

    def post(self, alerts: Sequence[PostedAlert]) -> None:
        """To every Alertmanager. Raises AlertmanagerError when none took them."""


class Driver(Protocol):
    """Does the actions of some kinds. tests/drivers/driver_contract.py holds what that means."""

    def perform(self, action: Action, token: int) -> StepResult:
        """Do one action within its limit, on a worker's thread.

        token: the run's fencing token; one older than another seen for the same target does
        nothing. A result says what is known to have happened; its output is plain text of a
        bounded size. What is beyond the limit is ended before this returns.

        Raises DriverError, with `started` when it is not known whether it took effect.
        """


class Fleet(Driver, Protocol):
    """A driver of instances: it knows them, restarts them, and scales their number."""

    def inventory(self, service: str) -> Inventory:
        """Read the instances now. Raises DriverError."""

    def perform(self, action: Action, token: int) -> StepResult:
        """Do one action, within its limit, and wait until its instance answers.

        A scale action reaches `wanted` instances, also when some
        are there already, and changes what Prometheus scrapes: a new instance once it answers,
        a leaving one before it stops. One that fails undoes what it began. The engine writes
        `wanted` to the store when it succeeded.

        Raises DriverError with `started` when it is not known whether it took effect.
        """


@dataclass(frozen=True, slots=True)
class PastRun:
    """A line of history that guards count."""

    run_id: int
    policy: str
    service: str
    resources: tuple[str, ...]
    state: RunState
    created_at: float
    finished_at: float | None
    episode_id: int
    attempt: int
    acted_at: float | None = None
    unknown: bool = False  # an action of it began and has no end (a crash, a lost answer)


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """What the store keeps of one action of a run. `ended_at` None: it may be half done."""

    index: int
    began_at: float
    ended_at: float | None
    result: StepResult | None


@dataclass(frozen=True, slots=True)
class Escalation:
    """People were told that the loop could not fix an episode; re-posted until it ends."""

    id: int
    episode_id: int
    run_id: int | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float


@dataclass(frozen=True, slots=True)
class Written:
    """What a decision writes: all of it in one transaction, the audit row first."""

    episode: Episode
    kind: str  # act, ask, wait, refuse, ignore; only act makes a run of the plan
    reason: str
    guards: tuple[tuple[str, str, str], ...]  # (guard, pass|refuse|wait|ignore, reason)
    state: EpisodeState
    due_at: float | None
    plan: Plan | None = None
    attempt: int = 0
    approval_id: int | None = None  # act: the approval that is used up by it
    expires_at: float | None = None  # ask: until when people may approve the plan
    situation: str = ""  # JSON of what was known; kept with the audit row, for replay


class Store(Protocol):
    """The engine's durable state. Every method is one transaction, durable when it returns."""

    def intake(self, alerts: Sequence[Alert], now: float) -> list[int]:
        """Upsert episodes by (fingerprint, starts_at); returns ids of the new or changed.

        New: state NEW, due at once. Resolved: firing False, ended_at set, due at once, state as
        it was (the engine closes it, or cancels its run). Firing again after an end: firing,
        ended_at None, state NEW, due at once. Seen again unchanged: last_seen only.
        """

    def due(self, now: float, limit: int) -> list[Episode]:
        """Episodes of any state with due_at <= now, P0 first, then the oldest due."""

    def next_due(self) -> float | None: ...

    def episode(self, episode_id: int) -> Episode: ...

    def firing(self) -> list[Episode]: ...

    def episodes_of(self, services: Sequence[str], ended_since: float) -> list[Episode]:
        """Episodes of these services that fire, or ended since."""

    def last_episode(self, policy: str, service: str) -> Episode | None:
        """The newest episode with these labels, open or closed."""

    def end_episodes(self, ids: Sequence[int], now: float) -> None:
        """As if each had been received as resolved: firing False, ended_at, due at once."""

    def decide_again(self, now: float) -> None:
        """Make due whatever fires, has no open run, and is neither escalated nor closed."""

    def set_episode(
        self,
        episode_id: int,
        state: EpisodeState,
        reason: str,
        due_at: float | None,
        now: float,
        *,
        firing: bool | None = None,
    ) -> None:
        """firing: as the caller saw it. When that changed since, the episode is due at once,
        and one that fires again keeps its state: news is never written over."""

    def paused(self) -> tuple[bool, str]:
        """(paused, why)."""

    def history(self, since: float, episode_id: int | None = None) -> list[PastRun]:
        """Runs that are open, were created since, or are of this episode; newest first."""

    def record(self, written: Written, now: float) -> Run | None:
        """Audit row, episode state and, of kind act, run and locks; of kind ask, an approval.

        An ask with another plan than the open approval's voids that one. Raises Conflict when a
        lock is taken, the attempt exists or the approval is not for this plan or not open,
        Paused when paused.
        """

    def record_all(self, written: Sequence[Written], now: float) -> None:
        """As `record` for each, of decisions that do not act: all of them or none."""

    def approval_of(self, episode_id: int) -> Approval | None:
        """The newest approval of an episode, open or not."""

    def approvals(self) -> list[Approval]:
        """Those that are open, also beyond their expiry."""

    def end_approval(self, approval_id: int, ending: Ending, now: float) -> None:
        """Nothing happens to one that has ended."""

    def open_runs(self) -> list[Run]: ...

    def runs_of(self, episode_id: int) -> list[Run]:
        """What was tried on an episode, oldest first."""

    def actions(self, run_id: int) -> list[ActionRecord]:
        """The actions of a run that began, by index."""

    def begin_action(self, run: Run, index: int, now: float) -> None:
        """Durable before the effect; the run is ACTING from the first on.

        Raises Paused, or Conflict when the token is stale or the action began before.
        """

    def end_action(self, run: Run, index: int, result: StepResult, now: float) -> None: ...

    def move_run(
        self,
        run: Run,
        state: RunState,
        reason: str,
        now: float,
        *,
        good_since: float | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> Run:
        """Change a run's state with its audit row; an end releases its locks.

        A change to VERIFYING or UNKNOWN sets acted_at = now, an end sets finished_at = now.
        good_since is stored as given; detail is merged into the run's. The same state again
        (to move good_since) needs no audit row. Raises Conflict when the run has ended.
        """

    def escalate(
        self,
        episode: Episode,
        run_id: int | None,
        reason: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        now: float,
    ) -> bool:
        """One escalation per episode; False when there is one already."""

    def escalations(self) -> list[Escalation]:
        """Those that have not ended."""

    def end_escalation(self, escalation_id: int, now: float) -> None: ...

    def wanted(self, service: str) -> int | None: ...

    def set_wanted(self, service: str, wanted: int, now: float) -> None: ...

    def prune(self, before: float, limit: int, now: float) -> int:
        """Forget up to `limit` closed episodes that ended before, with all about them, and as
        many of the oldest audit rows; how many rows that was, 0 when nothing is so old."""

    def lease(self, holder: str, now: float, ttl: float) -> bool:
        """Take or renew the engine lease; False when another holds it."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of submitted work: a value, or the exception that it raised."""

    key: str
    value: object
    error: Exception | None = None


class Workers(Protocol):
    """Threads for actions. The engine's loop is woken when work finishes."""

    def submit(self, key: str, work: Callable[[], object]) -> None:
        """Run it soon. Never blocks and never refuses; keys are unique."""

    def done(self) -> list[Finished]:
        """What has finished since the last call."""


class Signals(Protocol):
    """Counters of the engine; `name` is without prefix, as `decisions` or `engine_errors`."""

    def count(self, name: str, **labels: str) -> None: ...

    def observe(self, name: str, seconds: float, **labels: str) -> None: ...
