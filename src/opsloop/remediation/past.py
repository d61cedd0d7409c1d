"""Counts over past runs, for the budget, the breaker and the radius."""

from __future__ import annotations

from collections.abc import Iterable

from opsloop.remediation.plan import RunState
from opsloop.remediation.ports import PastRun


def runs_in_window(history: Iterable[PastRun], policy: str, service: str, since: float) -> int:
    """Runs that count against a budget: created since, or in the future (a clock went back)."""
    return sum(
        r.policy == policy
        and r.service == service
        and r.state is not RunState.CANCELLED
        and r.created_at > since
        for r in history
    )


def failures_in_a_row(runs: Iterable[PastRun]) -> int:
    """How many of the newest ended runs failed without a verified one between."""
    count = 0
    for run in sorted(runs, key=lambda r: r.run_id, reverse=True):
        if run.state is RunState.VERIFIED:
            break
        count += run.state is RunState.FAILED
    return count


def open_runs(history: Iterable[PastRun]) -> list[PastRun]:
    """Runs that have not ended, oldest first."""
    return sorted((r for r in history if r.state.open), key=lambda r: r.run_id)
