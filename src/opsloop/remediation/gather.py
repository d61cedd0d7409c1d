"""Gathering: a situation is read from the store and the sources, each with as few questions
as it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.policy import Policy
from opsloop.errors import SourceError
from opsloop.remediation import breaker
from opsloop.remediation.episode import Episode, EpisodeState
from opsloop.remediation.evidence import Witness
from opsloop.remediation.ladder import needs_inventory
from opsloop.remediation.maintenance import in_force
from opsloop.remediation.ports import Store
from opsloop.remediation.situation import (
    OWN_ALERTS,
    AlertStatus,
    Intent,
    Situation,
    Trouble,
    alert_status,
    subject_facts,
)

_DEFAULT_STALE_S: Final = 60.0


class Gatherer:
    """Makes situations. `given` is what compile wrote for the engine."""

    def __init__(self, given: EngineInput, store: Store, witness: Witness) -> None:
        self.given = given
        self._store = store
        self._witness = witness

    def policy(self, name: str | None) -> Policy | None:
        return self.given.catalog.remediation.policies.get(name or "")

    def facts(self, episode: Episode) -> AlertFacts | None:
        return self.given.facts_for(episode.alert, episode.policy or "")

    def stale_after(self, episode: Episode) -> float:
        """Seconds after which a newest sample is no fresh data."""
        service = subject_facts(self.given, episode.alert, episode.labels)
        return service.stale_after_s if service else _DEFAULT_STALE_S

    def known(self, episode: Episode, now: float, intent: Intent = "remedy") -> Situation:
        """What is known without asking any source."""
        catalog = self.given.catalog
        policy = self.policy(episode.policy)
        paused, why = self._store.paused()
        return Situation(
            now=now,
            episode=episode,
            policy_name=episode.policy,
            policy=policy,
            mode=catalog.remediation.mode_of(episode.policy or "") if policy else "off",
            facts=self.facts(episode),
            service=subject_facts(self.given, episode.alert, episode.labels),
            paused=paused,
            paused_reason=why,
            maintenance=in_force(catalog.notifications.maintenance, episode.service, now),
            intent=intent,
        )

    def asked(self, situation: Situation, unknown_since: float | None) -> Situation:
        """The same with what the sources say; one that does not answer is unknown, with why."""
        s, service, facts, policy = situation, situation.service, situation.facts, situation.policy
        if service is None or facts is None or policy is None:
            return s
        history = tuple(self._store.history(s.now - self._memory(policy, facts), s.episode.id))
        inventory, reason = None, ""
        if needs_inventory(replace(s, history=history)):
            try:
                inventory = self._witness.inventory(service.name)
            except SourceError as error:
                reason = str(error)
        confirmation = self._witness.confirm(facts, s.episode.labels, s.now, service.stale_after_s)
        return replace(
            s,
            history=history,
            inventory=inventory,
            inventory_reason=reason,
            status=self._status(s.episode),
            confirmation=confirmation,
            approval=self._store.approval_of(s.episode.id) if s.mode == "approve" else None,
            troubles=self._troubles(service.depends_on, s.now - facts.window_s),
            unknown_since=unknown_since,
        )

    def _memory(self, policy: Policy, facts: AlertFacts) -> float:
        """How far back guards look, seconds."""
        limits = policy.limits
        return max(limits.window.seconds, limits.cooldown.seconds, facts.window_s, breaker.MEMORY_S)

    def _status(self, episode: Episode) -> AlertStatus:
        try:
            return alert_status(episode, self._witness.listed())
        except SourceError as error:
            return AlertStatus(known=False, reason=str(error))

    def _troubles(self, services: tuple[str, ...], ended_since: float) -> tuple[Trouble, ...]:
        if not services:
            return ()
        # A verified repair counts before Alertmanager has heard of it.
        return tuple(
            Trouble(
                service=e.service or "",
                alert=e.alert,
                severity=e.severity,
                firing=e.firing and e.state is not EpisodeState.HEALED,
                ended_at=e.ended_at,
            )
            for e in self._store.episodes_of(services, ended_since)
            if e.alert not in OWN_ALERTS
        )


def blind(situation: Situation) -> bool:
    """Whether something that the guards need could not be read."""
    return (
        not situation.status.known
        or (situation.inventory is None and needs_inventory(situation))
        or situation.confirmation.answer == "unknown"
    )
