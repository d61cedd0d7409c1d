"""What was seen of a drill, in order, and what it proves; no clock and no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Stage(StrEnum):
    """What happens from the fault to the verdict. The value is what people read."""

    FAULT = "fault injected"
    SEEN = "Prometheus sees it"
    FIRED = "alert fires"
    RECEIVED = "engine received it"
    ACTION = "action begins"
    ANSWERING = "answering again"
    VERIFIED = "verified by the loop"
    PAGED = "people are told"


HEALING = (
    Stage.FAULT,
    Stage.SEEN,
    Stage.FIRED,
    Stage.RECEIVED,
    Stage.ACTION,
    Stage.ANSWERING,
    Stage.VERIFIED,
)
CONTROL = (Stage.FAULT, Stage.SEEN, Stage.FIRED, Stage.RECEIVED, Stage.PAGED)
# Observed by polling every 50 ms from outside, against times that the engine wrote.
TOLERANCE_S = 0.1


@dataclass(frozen=True, slots=True)
class Page:
    """A message to people about the drill's service. at: unix seconds."""

    at: float
    vendor: str
    title: str
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run of the loop, as the drill needs it. Times are unix seconds."""

    id: int
    state: str
    service: str
    targets: frozenset[str]  # what its actions touch: `api:api-0`
    acting_at: float | None
    finished_at: float | None
    acted_at: float | None = None
    reason: str = ""


@dataclass(slots=True)
class Timeline:
    """The facts of one drill, collected while it runs."""

    drill: str
    service: str
    target: str
    alert: str
    fault_at: float  # unix seconds
    at: dict[Stage, float] = field(default_factory=dict)
    note: dict[Stage, str] = field(default_factory=dict)
    runs: list[RunSeen] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    other_messages: int = 0
    unexplained: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at[Stage.FAULT] = self.fault_at

    def mark(self, stage: Stage, at: float, note: str = "") -> bool:
        """The first time that `stage` was seen; False when it is known already."""
        if stage in self.at:
            return False
        self.at[stage] = at
        if note:
            self.note[stage] = note
        return True

    def seconds(self, stage: Stage) -> float | None:
        """Seconds from the fault, None while not seen."""
        at = self.at.get(stage)
        return None if at is None else round(max(0.0, at - self.fault_at), 3)

    @property
    def verified_run(self) -> RunSeen | None:
        return next((r for r in self.runs if r.state == "verified"), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the drill showed what it should, and the sentence that says why (not)."""

    passed: bool
    reason: str


def judge(timeline: Timeline, *, timed_out: bool) -> Verdict:
    """Healed and verified by the loop itself, without a page and without a helping hand."""
    if timeline.unexplained:
        return Verdict(False, "; ".join(timeline.unexplained))
    run = timeline.verified_run
    if run is None:
        return Verdict(False, _stuck(timeline, timed_out))
    answering, action = timeline.at.get(Stage.ANSWERING), timeline.at.get(Stage.ACTION)
    if answering is None:
        return Verdict(False, f"run {run.id} was verified, but {timeline.target} does not answer")
    if action is None or answering + TOLERANCE_S < action:
        return Verdict(False, f"{timeline.target} answered before the loop acted")
    if timeline.pages:
        told = timeline.pages[0]
        return Verdict(False, f"healed, but people were told ({told.vendor}: {told.title})")
    return Verdict(True, f"healed by run {run.id}, nobody was paged")


def judge_control(timeline: Timeline, *, broken_to_the_end: bool) -> Verdict:
    """Without the loop the service stays broken, and people are told."""
    if timeline.unexplained:
        return Verdict(False, "; ".join(timeline.unexplained))
    acted = [r for r in timeline.runs if r.acting_at is not None]
    if acted:
        return Verdict(False, f"run {acted[0].id} acted although the loop was paused")
    if not broken_to_the_end:
        return Verdict(False, f"{timeline.target} recovered although the loop was paused")
    if not timeline.pages:
        return Verdict(False, "the service stayed broken, and nobody was told")
    return Verdict(True, "stayed broken without the loop, and people were told")


def _stuck(timeline: Timeline, timed_out: bool) -> str:
    ended = "in time" if timed_out else "before the drill ended"
    failed = [r for r in timeline.runs if r.state in ("failed", "cancelled", "unknown")]
    if failed:
        last = failed[-1]
        return f"run {last.id} {last.state}: {last.reason or 'no reason given'}"
    words = (
        (Stage.SEEN, f"Prometheus did not see the fault {ended}"),
        (Stage.FIRED, f"{timeline.alert} did not fire {ended}"),
        (Stage.RECEIVED, f"the engine did not receive {timeline.alert} {ended}"),
        (Stage.ACTION, f"the loop did not act {ended}"),
    )
    for stage, sentence in words:
        if stage not in timeline.at:
            return sentence
    return f"the loop acted, but did not verify {ended}"


def unexplained_changes(
    before: Mapping[str, int],
    after: Mapping[str, int],
    runs: Iterable[RunSeen],
    broken: Mapping[str, int],
    grown: frozenset[str] = frozenset(),
) -> list[str]:
    """Processes that changed their pid without a run of the loop: one sentence each.

    before, after: target -> pid, 0 when it does not run. broken: what the drill itself killed,
    with the pid that it killed; that it is gone needs no run, that it is back does.
    grown: groups of instances that a run may start or stop (it scales their service).
    """
    acted = [r for r in runs if r.acting_at is not None]
    touched = {target for run in acted for target in run.targets}
    found = []
    for target in sorted(before.keys() | after.keys()):
        old, new = before.get(target, 0), after.get(target, 0)
        if old == new or target in touched:
            continue
        if target in broken and new == 0:
            continue
        group = target.partition(":")[0]
        if acted and group in grown and 0 in (old, new):
            continue
        found.append(f"{target} {_change(old, new)} without a run of the loop")
    return found


def _change(old: int, new: int) -> str:
    if new == 0:
        return f"(pid {old}) ended"
    return f"started (pid {new})" if old == 0 else f"got a new process (pid {old} to {new})"


def as_json(timeline: Timeline, verdict: Verdict, *, control: bool) -> dict[str, Any]:
    """The last line of `opsloop drill --json`; seconds are from the fault, null when not seen."""
    run = timeline.verified_run or (timeline.runs[-1] if timeline.runs else None)
    return {
        "drill": timeline.drill,
        "healed": verdict.passed and not control,
        "detected_s": timeline.seconds(Stage.RECEIVED),
        "action_s": timeline.seconds(Stage.ACTION),
        "answering_s": timeline.seconds(Stage.ANSWERING),
        "verified_s": timeline.seconds(Stage.VERIFIED),
        "pages": len(timeline.pages),
        "run_id": run.id if run else None,
        "control": control,
        "passed": verdict.passed,
        "reason": verdict.reason,
        "service": timeline.service,
        "target": timeline.target,
        "alert": timeline.alert,
        "seen_s": timeline.seconds(Stage.SEEN),
        "fired_s": timeline.seconds(Stage.FIRED),
        "paged_s": timeline.seconds(Stage.PAGED),
        "other_messages": timeline.other_messages,
        "started_at": timeline.fault_at,
    }
