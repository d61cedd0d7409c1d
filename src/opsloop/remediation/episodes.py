"""What becomes of an episode: it is decided, acted on, told to people, closed."""

from __future__ import annotations

import logging
from typing import Final

from opsloop.errors import Conflict, Paused, StoreError, StoreUnusable
from opsloop.remediation.approval import Approval, Ending
from opsloop.remediation.decide import Decision, decide, stops_early
from opsloop.remediation.episode import Episode, EpisodeState
from opsloop.remediation.escalation import Notices, failed_labels, tell
from opsloop.remediation.evidence import Witness
from opsloop.remediation.gather import Gatherer, blind
from opsloop.remediation.guards import HEALED_RECHECK_S
from opsloop.remediation.ladder import SCALE_IN_RUNG
from opsloop.remediation.plan import Plan, Run, RunState
from opsloop.remediation.ports import Escalation, Signals, Store, Written
from opsloop.remediation.runs import Runs
from opsloop.remediation.scaling import ScaleIn
from opsloop.remediation.situation import Situation

OPEN_RECHECK_S: Final = 60.0  # a safety net under episodes that a run works on
CONFLICT_RECHECK_S: Final = 1.0
REFUSED_RECHECK_S: Final = 60.0  # of a refusal that pages nobody
LINGER_S: Final = 3600.0  # how long people are told of a failure whose alert has resolved

log = logging.getLogger("opsloop.engine")


class Episodes:
    """Takes one episode at a time as far as it goes now; the store holds where it stands."""

    def __init__(
        self,
        gatherer: Gatherer,
        store: Store,
        witness: Witness,
        runs: Runs,
        scale_in: ScaleIn,
        notices: Notices,
        signals: Signals,
    ) -> None:
        self._gatherer = gatherer
        self._store = store
        self._witness = witness
        self._runs = runs
        self._scale_in = scale_in
        self._notices = notices
        self._signals = signals
        self._unknown_since: dict[int, float] = {}
        self._last_word: dict[int, tuple[str, str]] = {}  # (kind, reason) of the last decision
        self._unwritten: list[Written] = []  # decisions without an effect, for one transaction

    def recover(self, now: float) -> None:
        """After a stop of any kind: what was under way is looked at again, soon."""
        self._last_word.clear()
        self._unknown_since.clear()
        self._unwritten.clear()
        self._store.decide_again(now)

    def consider(self, episode: Episode, now: float) -> float | None:
        """Decide an episode that is due.

        Returns until when it waits for the reason that is on record already: such a wait is
        not written again, so that a storm of waiting episodes does not write in a circle.
        """
        if any(run.episode_id == episode.id for run in self._store.open_runs()):
            self._set(episode, EpisodeState.RUNNING, episode.reason, now + OPEN_RECHECK_S, now)
        elif not episode.firing:
            self._close(episode, now)
        elif episode.state in (EpisodeState.ESCALATED, EpisodeState.CLOSED):
            self._set(episode, episode.state, episode.reason, None, now)
        else:
            situation = self._gatherer.known(episode, now)
            decision = stops_early(situation)
            if decision is None:
                situation = self._gatherer.asked(situation, self._unknown_since.get(episode.id))
                decision = decide(situation)
                self._note_blindness(situation, now)
            return self._apply(situation, decision, now)
        return None

    def _note_blindness(self, situation: Situation, now: float) -> None:
        if blind(situation):
            self._unknown_since.setdefault(situation.episode.id, now)
        else:
            self._unknown_since.pop(situation.episode.id, None)

    def _apply(self, situation: Situation, decision: Decision, now: float) -> float | None:
        episode = situation.episode
        if decision.kind == "act":
            self._act(situation, decision, now)
            return None
        if decision.kind != "wait" or decision.stopped_by == "paused":
            self._notices.not_acting(episode, now)
        elif situation.mode == "auto" and situation.facts is not None:
            self._notices.waiting(episode, decision.reason, situation.facts.grace_s, now)
        due = decision.due_at
        if decision.kind == "wait":
            healed = episode.state is EpisodeState.HEALED
            state = EpisodeState.HEALED if healed else EpisodeState.NEW
        elif decision.kind == "ask":
            state = EpisodeState.ASKED
        elif decision.escalates:
            state = EpisodeState.ESCALATED
            self._end_approval(episode, Ending.EXPIRED, now)
            self._escalate(episode, decision.reason, decision.plan, now)
        else:
            state = EpisodeState.WATCHED
            due = now + REFUSED_RECHECK_S if decision.kind == "refuse" else None
        said_before = self._last_word.get(episode.id) == (decision.kind, decision.reason)
        if decision.kind == "ask" and not _is_asked(situation, decision):
            said_before = False  # another plan, in the same words
        if said_before and due is not None and episode.state is state:
            return due
        if said_before:
            self._set(episode, state, decision.reason, due, now)
        else:
            self._write(situation, decision, state, due, now)
        return None

    def waiting_for_people(self) -> list[tuple[Approval, Episode]]:
        """The open approvals, with what they are about."""
        return [(a, self._store.episode(a.episode_id)) for a in self._store.approvals()]

    def _write(
        self,
        situation: Situation,
        decision: Decision,
        state: EpisodeState,
        due: float | None,
        now: float,
    ) -> Run | None:
        episode, run = situation.episode, None
        written = Written(
            episode=episode,
            kind=decision.kind,
            reason=decision.reason,
            guards=tuple((a.guard, a.answer, a.reason) for a in decision.guards),
            state=state,
            due_at=due,
            plan=decision.plan,
            attempt=decision.attempt,
            approval_id=decision.approval_id,
            expires_at=decision.expires_at,
            situation=situation.to_json(),
        )
        if decision.kind in ("wait", "ignore"):
            self._unwritten.append(written)
        else:
            run = self._store.record(written, now)
        self._last_word[episode.id] = (decision.kind, decision.reason)
        self._signals.count("decisions", kind=decision.kind, guard=decision.stopped_by or "none")
        log.info(
            "%s on %s: %s: %s",
            episode.alert,
            episode.service or "no service",
            decision.kind,
            decision.reason,
            extra={"action": decision.kind, "episode": episode.id},
        )
        return run

    def write(self, now: float) -> None:
        """Record what was decided and has no effect, in one transaction.

        Lost with a crash, it is decided again: its episode is due still. Raises StoreError when
        some could not be written; one that is to blame takes no other with it.
        """
        written, self._unwritten = self._unwritten, []
        if not written:
            return
        try:
            self._store.record_all(written, now)
        except StoreError as error:
            alone = [] if isinstance(error, StoreUnusable) else written
            failed = [w for w in alone if not self._is_written(w, now)] if alone else written
            for one in failed:
                self._last_word.pop(one.episode.id, None)
            if failed:
                raise

    def _is_written(self, one: Written, now: float) -> bool:
        try:
            self._store.record(one, now)
        except StoreError as error:
            log.error("%s", error, extra={"action": one.kind, "episode": one.episode.id})
            return False
        return True

    def _act(self, situation: Situation, decision: Decision, now: float) -> None:
        episode = situation.episode
        try:
            run = self._write(situation, decision, EpisodeState.RUNNING, now + OPEN_RECHECK_S, now)
        except (Conflict, Paused) as error:
            self._set(episode, episode.state, str(error), now + CONFLICT_RECHECK_S, now)
            return
        if run is None:
            return
        current = self._store.episode(episode.id)
        if current.firing != episode.firing:
            self._runs.cancel(run, "the alert changed before it began", now)
        else:
            self._runs.start(run, current, situation.confirmation, now)

    # After a run

    def after(self, run: Run, episode: Episode, now: float) -> None:
        """What the end of a run means for its episode."""
        self._last_word.pop(episode.id, None)
        if not episode.firing:
            self._close(episode, now)
        elif run.state is RunState.VERIFIED and run.plan.rung != SCALE_IN_RUNG:
            self._set(episode, EpisodeState.HEALED, run.reason, now + HEALED_RECHECK_S, now)
        else:
            due = now + CONFLICT_RECHECK_S if run.state is RunState.CANCELLED else now
            self._set(episode, EpisodeState.NEW, run.reason, due, now)

    def _close(self, episode: Episode, now: float) -> None:
        """The alert resolved. A run that failed all the same is told: an alert can also end
        because nothing is measured any more."""
        self._unknown_since.pop(episode.id, None)
        self._last_word.pop(episode.id, None)
        self._end_approval(episode, Ending.OVER, now)
        if episode.state is EpisodeState.ESCALATED:
            self._set(episode, episode.state, episode.reason, None, now)  # until it is over
            return
        runs = self._store.runs_of(episode.id)
        last = runs[-1] if runs else None
        failed = last if last is not None and last.state is RunState.FAILED else None
        if failed and failed.plan.rung != SCALE_IN_RUNG and not self._is_well(episode):
            reason = f"the alert resolved, but run {failed.id} is not verified: {failed.reason}"
            self._escalate(episode, reason, None, now)
            self._set(episode, EpisodeState.ESCALATED, reason, None, now)
            return
        healed = last is not None and last.state is RunState.VERIFIED
        self._set(episode, EpisodeState.CLOSED, "healed" if healed else "resolved", None, now)

    def _end_approval(self, episode: Episode, ending: Ending, now: float) -> None:
        approval = self._store.approval_of(episode.id)
        if approval is not None and approval.open:
            self._store.end_approval(approval.id, ending, now)

    def _is_well(self, episode: Episode) -> bool:
        """Whether the fault is seen to be gone, and the service to be measured."""
        facts = self._gatherer.facts(episode)
        if facts is None:
            return True
        seen = self._witness.look(facts, episode.labels)
        return seen.condition is False and seen.sli is not None

    # People

    def _escalate(self, episode: Episode, reason: str, plan: Plan | None, now: float) -> None:
        runs = self._store.runs_of(episode.id)
        actions = {run.id: self._store.actions(run.id) for run in runs}
        run_id = runs[-1].id if runs else None
        words = tell(episode, reason, runs, actions, plan)
        labels = failed_labels(episode, run_id)
        if self._store.escalate(episode, run_id, reason, labels, words, now):
            self._signals.count("escalations", policy=episode.policy or "none")
            log.warning(
                "people are told of %s: %s",
                episode.alert,
                reason,
                extra={"action": "escalate", "episode": episode.id},
            )

    def is_over(self, escalation: Escalation, now: float) -> bool:
        """Whether people need not be told any more: the episode ended, and the service is
        measured and well; or a person closed it."""
        episode = self._store.episode(escalation.episode_id)
        if episode.state is EpisodeState.CLOSED:
            return True
        if episode.firing or episode.ended_at is None:
            return False
        if abs(now - episode.ended_at) < LINGER_S and not self._is_well(episode):
            return False
        self._set(episode, EpisodeState.CLOSED, "resolved", None, now)
        return True

    # Scaling in

    def scale_in(self, episode: Episode, now: float) -> None:
        """Decide whether the service of an episode that ended scales in."""
        situation = self._gatherer.known(episode, now, "scale_in")
        decision = stops_early(situation)
        if decision is None:
            situation = self._gatherer.asked(situation, None)
            decision = decide(situation)
        if decision.kind == "act":
            self._act(situation, decision, now)
        elif situation.confirmation.answer == "yes":
            self._scale_in.loud(episode, now)

    def _set(
        self, episode: Episode, state: EpisodeState, reason: str, due: float | None, now: float
    ) -> None:
        self._store.set_episode(episode.id, state, reason, due, now, firing=episode.firing)


def _is_asked(situation: Situation, decision: Decision) -> bool:
    """Whether this very plan is before people already."""
    asked, plan = situation.approval, decision.plan
    return asked is not None and plan is not None and asked.open and asked.plan.hash == plan.hash
