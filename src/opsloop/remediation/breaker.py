"""The breaker: after failures in a row a policy stops, on one target or everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from opsloop.catalog.policy import Policy
from opsloop.remediation import past
from opsloop.remediation.ports import PastRun

FAILURES: Final = 3  # in a row on one target; twice as many for a whole policy
MEMORY_S: Final = 3600.0  # failures older than this no longer hold it open


def limit_of(policy: Policy) -> int:
    """How many failures in a row open it: a whole ladder may fail once."""
    return max(FAILURES, len(policy.steps))


def failures_on(history: Iterable[PastRun], resources: Iterable[str], now: float) -> int:
    """How many of the newest runs on any of these failed without a verified one between."""
    wanted = set(resources)
    return past.failures_in_a_row(r for r in _recent(history, now) if wanted & set(r.resources))


def failures_of(history: Iterable[PastRun], policy: str | None, now: float) -> int:
    """The same for the runs of a policy, wherever they were."""
    return past.failures_in_a_row(r for r in _recent(history, now) if r.policy == policy)


def open_by_policy(
    policies: Mapping[str, Policy], history: Sequence[PastRun], now: float
) -> dict[str, int]:
    """For each policy: on how many targets its breaker is open; one more when it is everywhere."""
    found: dict[str, int] = {}
    for name, policy in policies.items():
        limit = limit_of(policy)
        mine = [r for r in _recent(history, now) if r.policy == name]
        touched = {resource for run in mine for resource in run.resources}
        count = sum(failures_on(history, [resource], now) >= limit for resource in touched)
        found[name] = count + (failures_of(history, name, now) >= 2 * limit)
    return found


def _recent(history: Iterable[PastRun], now: float) -> list[PastRun]:
    """A run in the future counts: a clock that goes back opens nothing."""
    return [r for r in history if r.created_at > now - MEMORY_S]
