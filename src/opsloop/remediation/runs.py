"""Driving open runs: begin actions, take their results, verify; honest after a crash."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Final

from opsloop.errors import Conflict, Paused, StoreError
from opsloop.remediation.episode import Episode
from opsloop.remediation.escalation import Notices
from opsloop.remediation.evidence import Witness
from opsloop.remediation.gather import Gatherer
from opsloop.remediation.ladder import SCALE_IN_RUNG
from opsloop.remediation.outcomes import ended_by, outcome, patience, undoes, untouched
from opsloop.remediation.plan import SCALES, Run, RunState
from opsloop.remediation.ports import Finished, Fleet, Signals, StepResult, Store, Workers
from opsloop.remediation.situation import Confirmation
from opsloop.remediation.verify import judge

LOOK_EVERY_S: Final = 1.0  # between two looks at a run that is verified
BROKEN_LOOK_S: Final = 10.0  # after a bug

log = logging.getLogger("opsloop.engine")


@dataclass(slots=True)
class _Busy:
    """An action that a worker does now."""

    run: Run
    index: int
    since: float


class Runs:
    """The open runs of this engine. `take_ended` gives those that ended since the last call."""

    def __init__(
        self,
        gatherer: Gatherer,
        store: Store,
        witness: Witness,
        fleet: Fleet,
        workers: Workers,
        notices: Notices,
        signals: Signals,
    ) -> None:
        self._gatherer = gatherer
        self._store = store
        self._witness = witness
        self._fleet = fleet
        self._workers = workers
        self._notices = notices
        self._signals = signals
        self._busy: dict[str, _Busy] = {}
        self._results: list[Finished] = []
        self._look_at: dict[int, float] = {}
        self._before: dict[int, Confirmation] = {}
        self._ended: list[Run] = []

    def start(self, run: Run, episode: Episode, before: Confirmation, now: float) -> None:
        """Begin a run that was just recorded."""
        self._before[run.id] = before
        self._begin(run, 0, now)
        if run.id in {busy.run.id for busy in self._busy.values()}:
            self._signals.observe("intake_to_action_seconds", max(0.0, now - episode.first_seen))
            self._post_running(run, episode, now)

    def cancel(self, run: Run, reason: str, now: float) -> None:
        """End a run that has not begun."""
        self._end(run, RunState.CANCELLED, reason, now)

    def advance(self, now: float) -> None:
        """Take the workers' results, then move each open run on as far as it goes."""
        self._results += self._workers.done()
        while self._results:
            try:
                self._take_result(self._results[0], now)
            except StoreError:
                raise  # the result is kept until it is in the store
            except Exception:
                # Without a result the run is unknown, and is checked against the world.
                self._busy.pop(self._results[0].key, None)
                self._signals.count("errors", where="result")
                log.exception("a bug stopped the result of %s", self._results[0].key)
            self._results.pop(0)
        for run in self._store.open_runs():
            try:
                self._advance(run, now)
            except Conflict as error:
                log.warning("run %d moved meanwhile: %s", run.id, error)
            except StoreError:
                raise
            except Exception:
                self._look_at[run.id] = now + BROKEN_LOOK_S
                self._signals.count("errors", where="run")
                log.exception("a bug stopped run %d", run.id)

    def take_ended(self) -> list[Run]:
        ended, self._ended = self._ended, []
        return ended

    def next_at(self, now: float) -> float | None:
        """When a run is to be looked at again, unix seconds. Results wake the engine by themselves."""
        times = list(self._look_at.values())
        if self._results:
            times.append(now + LOOK_EVERY_S)
        times += [b.since + patience(b.run, b.index) for b in self._busy.values()]
        return min(times, default=None)

    def forget(self) -> None:
        """Another engine took over: what runs here is no longer ours to record."""
        self._busy.clear()
        self._results.clear()
        self._look_at.clear()
        self._before.clear()

    # Acting

    def _begin(self, run: Run, index: int, now: float) -> None:
        action = run.plan.actions[index]
        try:
            self._store.begin_action(run, index, now)
        except Paused as error:
            if untouched(run, index):
                self._end(run, RunState.CANCELLED, str(error), now)
            elif undoes(run, index):
                self._end(run, RunState.FAILED, f"made it worse; not undone: {error}", now)
            else:
                self._verify_from(run, f"{error}, after action {index} of the plan", now)
            return
        except Conflict as error:
            state = RunState.CANCELLED if untouched(run, index) else RunState.FAILED
            self._end(run, state, str(error), now)
            return
        key = f"run-{run.id}-{index}"
        self._busy[key] = _Busy(run, index, now)
        log.info(
            "%s %s begins",
            action.kind,
            action.target,
            extra={"action": action.kind, "run": run.id, "episode": run.episode_id},
        )
        self._workers.submit(key, functools.partial(self._fleet.perform, action, run.token))

    def _take_result(self, finished: Finished, now: float) -> None:
        busy = self._busy.get(finished.key)
        if busy is None:
            log.warning("the result of %s came too late and is not counted", finished.key)
            return
        run, index = busy.run, busy.index
        action = run.plan.actions[index]
        result, hidden = outcome(finished)
        if result is None and untouched(run, index + 1):
            result = StepResult(ok=False, started=False, output=hidden)  # it only looked
        try:
            if result is None:
                self._hide(run, hidden, now)
            else:
                if result.ok and action.kind in SCALES:
                    self._store.set_wanted(action.service, action.wanted, now)
                self._store.end_action(run, index, result, now)
                self._after_action(run, index, result, now)
        except Conflict as error:
            log.warning("the result of %s is not counted: %s", finished.key, error)
        del self._busy[finished.key]

    def _after_action(self, run: Run, index: int, result: StepResult, now: float) -> None:
        action = run.plan.actions[index]
        log.info(
            "%s %s %s",
            action.kind,
            action.target,
            "done" if result.ok else "failed",
            extra={"action": action.kind, "run": run.id, "episode": run.episode_id},
        )
        if undoes(run, index) or not result.ok:
            self._end(run, RunState.FAILED, ended_by(run, index, result), now)
        elif index + 1 == len(run.plan.forward):
            self._verify_from(run, "acted; looks at fresh data", now)
        elif self._store.episode(run.episode_id).firing:
            self._begin(run, index + 1, now)
        elif untouched(run, index + 1):
            self._end(run, RunState.CANCELLED, "the alert resolved before the step began", now)
        else:
            self._verify_from(run, f"the alert resolved after action {index + 1}", now)

    # Moving on

    def _advance(self, run: Run, now: float) -> None:
        if run.state is RunState.PLANNED:
            self._end(run, RunState.CANCELLED, "the engine stopped before it began", now)
        elif run.state is RunState.ACTING:
            busy = next((b for b in self._busy.values() if b.run.id == run.id), None)
            if busy is None:
                self._recover(run, now)
            elif now - busy.since >= patience(busy.run, busy.index):
                del self._busy[f"run-{run.id}-{busy.index}"]
                self._hide(run, "its action did not end within its limit", now)
            else:
                busy.since = min(busy.since, now)  # a clock that went back
                self._post_running(run, self._store.episode(run.episode_id), now)
        elif not now < self._look_at.get(run.id, now) <= now + BROKEN_LOOK_S:
            self._look_at[run.id] = now + LOOK_EVERY_S
            self._verify(run, now)

    def _recover(self, run: Run, now: float) -> None:
        """A run that acts, and no worker of ours does it: the engine had stopped."""
        records = self._store.actions(run.id)
        if untouched(run, len(records)):
            self._end(run, RunState.CANCELLED, "the engine stopped before the step began", now)
        elif any(record.result is None for record in records) or not records:
            self._hide(run, "the engine stopped during its action", now)
        elif records[-1].result is not None and not records[-1].result.ok:
            self._end(run, RunState.FAILED, records[-1].result.output, now)
        elif undoes(run, len(records) - 1):
            word = "undone" if len(records) == len(run.plan.actions) else "undone in part"
            self._end(run, RunState.FAILED, f"made it worse; {word}, then the engine stopped", now)
        else:
            count = f"{len(records)} of {len(run.plan.actions)}"
            self._verify_from(run, f"the engine stopped after action {count}", now)

    def _hide(self, run: Run, reason: str, now: float) -> None:
        """Whether it took effect is not known: the world is asked, and nothing is done again."""
        self._look_at[run.id] = now
        self._store.move_run(run, RunState.UNKNOWN, reason, now, detail=self._detail(run))
        log.warning("the outcome of run %d is not known: %s", run.id, reason)

    def _verify_from(self, run: Run, reason: str, now: float) -> None:
        self._look_at[run.id] = now
        self._store.move_run(run, RunState.VERIFYING, reason, now, detail=self._detail(run))

    def _verify(self, run: Run, now: float) -> None:
        episode = self._store.episode(run.episode_id)
        facts, policy = self._gatherer.facts(episode), self._gatherer.policy(run.policy)
        if facts is None or policy is None:
            reason = f"policy {run.policy} is no longer in the catalog, so nothing can verify it"
            self._end(run, RunState.FAILED, reason, now)
            return
        seen = self._witness.look(facts, episode.labels, plan=run.plan)
        verdict = judge(run, facts, seen, policy, now)
        if verdict.state == "pending":
            if verdict.good_since != run.good_since:
                self._store.move_run(
                    run, run.state, verdict.reason, now, good_since=verdict.good_since
                )
            self._post_running(run, episode, now)
            return
        if verdict.state == "worse":
            log.warning("run %d %s", run.id, verdict.reason, extra={"run": run.id})
            detail: dict[str, object] = {"after": seen.as_detail()}
            self._store.move_run(run, run.state, verdict.reason, now, detail=detail)
            self._look_at.pop(run.id, None)  # its undo is waited for, not looked at
            self._begin(run, len(run.plan.forward), now)
            return
        state = RunState.VERIFIED if verdict.state == "good" else RunState.FAILED
        self._end(
            run,
            state,
            verdict.reason,
            now,
            good_since=verdict.good_since,
            detail={"after": seen.as_detail()},
        )

    def _end(
        self,
        run: Run,
        state: RunState,
        reason: str,
        now: float,
        *,
        good_since: float | None = None,
        detail: dict[str, object] | None = None,
    ) -> None:
        self._look_at.pop(run.id, None)
        self._before.pop(run.id, None)
        ended = self._store.move_run(run, state, reason, now, good_since=good_since, detail=detail)
        self._ended.append(ended)
        self._notice_end(ended, now)
        self._signals.count("runs", policy=run.policy, outcome=state.value)
        self._signals.observe("run_seconds", max(0.0, now - run.created_at), outcome=state.value)
        log.info(
            "run %d %s: %s",
            run.id,
            state.value,
            reason,
            extra={"action": "run-ended", "run": run.id, "episode": run.episode_id},
        )

    def _post_running(self, run: Run, episode: Episode, now: float) -> None:
        facts = self._gatherer.facts(episode)
        if facts is not None and episode.firing:
            self._notices.running(run, episode, facts.grace_s, now)

    def _notice_end(self, run: Run, now: float) -> None:
        episode = self._store.episode(run.episode_id)
        facts = self._gatherer.facts(episode)
        healed = run.state is RunState.VERIFIED and run.plan.rung != SCALE_IN_RUNG
        if healed and facts is not None:
            self._notices.healed(run, episode, facts.grace_s, now)
        else:
            self._notices.run_ended(run.id, now)

    def _detail(self, run: Run) -> dict[str, object]:
        before = self._before.get(run.id)
        if before is None:
            return {}
        return {
            "before": {
                "condition": before.answer == "yes",
                "value": before.value,
                "fresh_at": before.fresh_at,
                "reason": before.reason,
            }
        }
