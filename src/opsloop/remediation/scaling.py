"""Scaling back in: which service has more instances than the catalog wants, and was quiet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opsloop.catalog.facts import EngineInput
from opsloop.catalog.policy import Policy
from opsloop.remediation.episode import Episode
from opsloop.remediation.plan import RunState
from opsloop.remediation.ports import PastRun, Store

EVERY_S: Final = 10.0


class ScaleIn:
    """Looks for services to scale in. Quiet is counted from the last sign of load: the end of
    the last episode, the last run on the service, or the fault seen by a look in between."""

    def __init__(self, given: EngineInput, store: Store) -> None:
        self._given = given
        self._store = store
        self._loud_at: dict[tuple[str, str], float] = {}
        self.next_at = 0.0

    def candidates(self, now: float) -> Iterator[Episode]:
        """The last episode of each policy and service that were quiet for scale_in_after."""
        self.next_at = now + EVERY_S
        for name, policy in self._given.catalog.remediation.policies.items():
            if policy.scale_in_after is None:
                continue
            services = self._given.catalog.services
            for service in sorted(services.keys() & set(policy.when.service or services)):
                episode = self._quiet(name, policy, service, now)
                if episode is not None:
                    yield episode

    def loud(self, episode: Episode, now: float) -> None:
        """The fault was seen, though no alert fires: quiet begins anew."""
        self._loud_at[(episode.policy or "", episode.service or "")] = now

    def _quiet(self, name: str, policy: Policy, service: str, now: float) -> Episode | None:
        wanted = self._store.wanted(service)
        if wanted is None or wanted <= self._given.catalog.services[service].instances.wanted:
            return None
        last = self._store.last_episode(name, service)
        if last is None or last.ended_at is None or policy.scale_in_after is None:
            return None
        if any(e.firing and e.policy == name for e in self._store.episodes_of([service], now)):
            return None
        quiet_for = policy.scale_in_after.seconds
        runs = [r for r in self._store.history(now - quiet_for) if r.service == service]
        if any(r.state.open for r in runs):
            return None
        signs = [last.ended_at, self._loud_at.get((name, service), last.ended_at)]
        signs += [_end(r) for r in runs if r.state is not RunState.CANCELLED]
        return last if now - max(signs) >= quiet_for else None


def _end(run: PastRun) -> float:
    return run.finished_at if run.finished_at is not None else run.created_at
