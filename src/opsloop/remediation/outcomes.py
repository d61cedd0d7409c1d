"""What the end of an action means for its run: what is known, and in which words it is told."""

from __future__ import annotations

from typing import Final

from opsloop.errors import DriverError
from opsloop.remediation.plan import Run
from opsloop.remediation.ports import Finished, StepResult

HANG_MARGIN_S: Final = 30.0  # beyond an action's own limit, before its outcome is unknown


def untouched(run: Run, count: int) -> bool:
    """Whether the first `count` actions of a run change nothing: what only looked did not act.

    A wait counts as the step that it is.
    """
    return all(a.kind == "check" for a in run.plan.actions[:count])


def undoes(run: Run, index: int) -> bool:
    """Whether an action takes back what its step did."""
    return index >= len(run.plan.forward)


def ended_by(run: Run, index: int, result: StepResult) -> str:
    """Why a run has failed with the end of this action."""
    action = run.plan.actions[index]
    if undoes(run, index):
        word = "undone" if result.ok else f"its undo failed: {result.output}"
        return f"made it worse; {word}"
    if action.kind == "check":
        side = "before" if untouched(run, index) else "after"
        return f"a condition {side} the step: {result.output}"
    return f"{action.kind} {action.target} failed: {result.output}"


def patience(run: Run, index: int) -> float:
    """Seconds after which an action that has not ended is given up."""
    action = run.plan.actions[index]
    return action.limit_s + action.stop_wait_s + HANG_MARGIN_S


def outcome(finished: Finished) -> tuple[StepResult | None, str]:
    """The result of an action; None with the reason when it is not known."""
    if isinstance(finished.value, StepResult) and finished.error is None:
        return finished.value, ""
    error = finished.error
    if isinstance(error, DriverError) and not error.started:
        return StepResult(ok=False, started=False, output=str(error)), ""
    if isinstance(error, DriverError):
        return None, str(error)
    # A bug in a driver says nothing about what was done before it.
    return None, f"its driver broke: {error!r}"
