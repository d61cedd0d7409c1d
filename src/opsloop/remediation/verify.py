"""Verification: whether a run helped, judged on data newer than its action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from opsloop.catalog.facts import AlertFacts
from opsloop.catalog.policy import Policy
from opsloop.remediation.evidence import Evidence
from opsloop.remediation.ladder import SCALE_IN_RUNG
from opsloop.remediation.plan import Run, RunState

CLOCK_SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """good: verified; failed: did not help, or cannot be told in time; worse: it is to be undone;
    pending: look again.

    good_since: since when all is good without a break, unix seconds; None while it is not.
    """

    state: Literal["pending", "good", "failed", "worse"]
    reason: str
    good_since: float | None = None


def judge(run: Run, facts: AlertFacts, seen: Evidence, policy: Policy, now: float) -> Verdict:
    """Judge a run that has acted (or, after a crash, may have) at `run.acted_at`.

    Good means: on samples newer than the action the condition is gone, the service is
    measured (no data is not success), what was acted on runs, and all this for
    `verify.hold`, with a sample newer than its beginning. What is not good by
    `verify.timeout` has failed; a wait has its own time. What the step's undo calls worse, on
    such samples, ends it at once; after a crash it is only failed: nobody knows what was done.
    """
    acted_at = run.acted_at if run.acted_at is not None else run.created_at
    if now < acted_at - CLOCK_SLACK_S:
        return Verdict("failed", "the clock went back, so no sample can be called newer")
    hold, timeout = policy.verify.hold.seconds, policy.verify.timeout.seconds
    if run.plan.main.kind == "wait":
        timeout = run.plan.main.limit_s
    if seen.worse and seen.fresh_at is not None and seen.fresh_at > acted_at:
        if run.state is RunState.UNKNOWN:
            return Verdict("failed", "it is worse, and whether the step took effect is not known")
        return Verdict("worse", f"made it worse: {run.plan.worse}")
    lacking = _lacking(seen, acted_at)
    if not lacking:
        since = now if run.good_since is None or run.good_since > now else run.good_since
        sampled = seen.fresh_at is not None and seen.fresh_at >= since
        if now - since >= hold and (sampled or hold == 0):
            return Verdict("good", f"good for {now - since:.1f} s on fresh data", since)
        if now - acted_at < timeout + hold:
            return Verdict("pending", f"good since {now - since:.1f} s of {hold:g} s", since)
        lacking = f"no sample newer than {since - acted_at:.0f} s after the action"
    if seen.condition and seen.fresh_at is not None:
        told = seen.fresh_at > acted_at + facts.window_s
        if told and run.state is RunState.UNKNOWN:
            return Verdict("failed", "the fault is still there, seen after the crash")
        if told and run.plan.rung == SCALE_IN_RUNG:
            return Verdict("failed", "the fault came back after scaling in")
    if now - acted_at >= timeout:
        return Verdict("failed", f"not verified within {timeout:g} s: {lacking}")
    # What could not be read says nothing against what was seen before; what was seen does.
    unread = seen.condition is None or (seen.answering is None and bool(seen.reason))
    return Verdict("pending", lacking, run.good_since if unread else None)


def _lacking(seen: Evidence, acted_at: float) -> str:
    """What is missing for good; empty when nothing is."""
    if seen.condition is None:
        return seen.reason or "the fault cannot be looked at"
    if seen.fresh_at is None:
        return "no sample yet"
    if seen.fresh_at <= acted_at:
        return "no sample newer than the action yet"
    if seen.condition:
        return "the fault is still there"
    if seen.sli is None:
        return "the service is not measured; no data is not success"
    if seen.answering is None:
        return seen.reason or "whether it runs is not known"
    if not seen.answering:
        return "what was acted on does not run"
    return ""
