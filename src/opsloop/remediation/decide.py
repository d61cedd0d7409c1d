"""The decision: a pure function from a situation to what is done, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opsloop.remediation import guards as g
from opsloop.remediation import ladder
from opsloop.remediation.answers import Answer, Pass, Refuse, Wait
from opsloop.remediation.approval import Ending
from opsloop.remediation.plan import Plan
from opsloop.remediation.situation import Situation

ASK_AGAIN_S: Final = 15.0  # while a plan waits for people: does the world still ask for it?
Kind = Literal["act", "ask", "wait", "refuse", "ignore"]


@dataclass(frozen=True, slots=True)
class GuardAnswer:
    """What one guard said: pass, refuse, wait or ignore."""

    guard: str
    answer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about a situation, and why.

    guards: the answers in order, up to the first that did not pass. plan: what is done, or
    would be (dry-run, approve). due_at: when to decide again, unix seconds, for a wait.
    attempt: the number of the run, for act. escalates: people are told, once. approval_id: what
    allows the act, for mode approve. expires_at: until when people may approve, for ask.
    """

    kind: Kind
    reason: str
    guards: tuple[GuardAnswer, ...]
    plan: Plan | None = None
    due_at: float | None = None
    attempt: int = 0
    escalates: bool = False
    approval_id: int | None = None
    expires_at: float | None = None

    @property
    def stopped_by(self) -> str:
        """The guard that did not pass; empty when all did."""
        last = self.guards[-1] if self.guards else None
        return last.guard if last is not None and last.answer != "pass" else ""


def decide(situation: Situation, guards: Sequence[tuple[str, g.Guard]] = g.GUARDS) -> Decision:
    """Ask the guards in order; the first that does not pass decides, else the plan is acted on."""
    answers: list[GuardAnswer] = []
    for name, guard in guards:
        answer = guard(situation)
        answers.append(GuardAnswer(name, type(answer).__name__.lower(), answer.reason))
        if not isinstance(answer, Pass):
            return _stopped(situation, answer, tuple(answers))
    plan = ladder.plan_for(situation)
    if not isinstance(plan, Plan):  # only when a guard was taken out
        return Decision("refuse", plan.reason, tuple(answers), escalates=True)
    return _passed(situation, plan, tuple(answers))


def stops_early(situation: Situation) -> Decision | None:
    """The decision, when a guard that asks nobody outside already makes it; else None."""
    for name, guard in g.GUARDS:
        if name == g.FIRST_GUARD_OF_THE_WORLD:
            return None
        if not isinstance(guard(situation), Pass):
            return decide(situation)
    return None


def _stopped(s: Situation, answer: Answer, answers: tuple[GuardAnswer, ...]) -> Decision:
    if isinstance(answer, Wait):
        return Decision("wait", answer.reason, answers, due_at=answer.until)
    if isinstance(answer, Refuse):
        if s.mode == "dry-run":
            return Decision("ignore", f"dry-run: would refuse: {answer.reason}", answers)
        return Decision("refuse", answer.reason, answers, escalates=answer.pages)
    return Decision("ignore", answer.reason, answers)


def _passed(s: Situation, plan: Plan, answers: tuple[GuardAnswer, ...]) -> Decision:
    what = ladder.describe(plan)
    if s.mode == "dry-run":
        return Decision("ignore", f"dry-run: would {what}", answers, plan)
    because = s.confirmation.reason or "the fault is confirmed"
    approval_id = None
    if s.mode == "approve":
        if s.intent != "remedy":
            return Decision("refuse", f"mode is approve: a person has to {what}", answers, plan)
        approval = s.approval
        if approval is None or not approval.allows(plan, s.now):
            return _unapproved(s, plan, answers)
        because = f"approved by {approval.approved_by}"
        because += f" ({approval.why})" if approval.why else ""
        approval_id = approval.id
    attempt = ladder.next_attempt(s.own_runs)
    reason = f"{what}: {because}"
    return Decision("act", reason, answers, plan, attempt=attempt, approval_id=approval_id)


def _unapproved(s: Situation, plan: Plan, answers: tuple[GuardAnswer, ...]) -> Decision:
    """Ask people; what was rejected is not asked again, what nobody answered is told as failed."""
    what, asked = ladder.describe(plan), s.approval
    if asked is not None and asked.ending is Ending.REJECTED:
        return Decision("ignore", f"rejected: {asked.why}", answers, plan)
    if asked is not None and asked.open and s.now >= asked.expires_at:
        late = "was approved too late" if asked.approved_by else "was not approved in time"
        return Decision("refuse", f"{what} {late}", answers, plan, escalates=True)
    lasts = s.policy.approve_within.seconds if s.policy is not None else 0.0
    expires_at = s.now + lasts
    if asked is not None and asked.open and asked.plan.hash == plan.hash:
        expires_at = asked.expires_at
    due = min(s.now + ASK_AGAIN_S, expires_at)
    reason = f"a person has to approve: {what}"
    return Decision("ask", reason, answers, plan, due_at=due, expires_at=expires_at)
