"""The engine: one tick looks at what is due, decides, acts, verifies and tells people."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Final

from opsloop.catalog.facts import EngineInput
from opsloop.errors import StoreError
from opsloop.remediation.episode import Episode
from opsloop.remediation.episodes import Episodes
from opsloop.remediation.escalation import Notices
from opsloop.remediation.evidence import Witness
from opsloop.remediation.gather import Gatherer
from opsloop.remediation.ports import Alerts, Fleet, Metrics, Signals, Store, Workers
from opsloop.remediation.reconcile import Reconciler
from opsloop.remediation.runs import Runs
from opsloop.remediation.scaling import ScaleIn

LEASE_S: Final = 15.0
LEASE_RENEW_S: Final = 5.0
BATCH: Final = 50  # episodes decided in one tick, so that what they rest on stays fresh
LONGEST_WAIT_S: Final = 60.0  # a next time beyond it means that the clock went back
FIRST_BACKOFF_S: Final = 1.0
LAST_BACKOFF_S: Final = 60.0
TROUBLE_WAKE_S: Final = 1.0
FAILING_TICKS: Final = 3  # one bad turn is no sign yet
HIDDEN_EVERY_S: Final = 1.0  # how often the list is read while the engine's own alerts inhibit
CLOCK_SLACK_S: Final = 1.0
PRUNE_EVERY_S: Final = 3600.0
PRUNE_PAUSE_S: Final = 0.2  # between two steps, so that alerts are not kept waiting
PRUNE_ROWS: Final = 200
LEAP_S: Final = 300.0  # a clock that leaps ahead may be wrong, and age with it
SHORTEST_WAIT_S: Final = 0.01  # whatever is wrong, the loop does not spin

log = logging.getLogger("opsloop.engine")


class Engine:
    """One thread calls `tick`, at the time that the last one returned or when woken earlier
    (an alert was taken in, a worker finished, a person paused or resumed).

    holder names this engine in the store's lease: only one of several is active.
    """

    def __init__(
        self,
        given: EngineInput,
        *,
        store: Store,
        metrics: Metrics,
        alerts: Alerts,
        fleet: Fleet,
        workers: Workers,
        signals: Signals,
        holder: str,
    ) -> None:
        self.given = given
        self.active = False
        self._store = store
        self._signals = signals
        self._holder = holder
        self._leased_at: float | None = None
        self._witness = Witness(metrics, alerts, fleet)
        self._gatherer = Gatherer(given, store, self._witness)
        self._notices = Notices(store, alerts, signals)
        self._runs = Runs(
            self._gatherer, store, self._witness, fleet, workers, self._notices, signals
        )
        self._reconciler = Reconciler(self._gatherer, store, self._witness, signals)
        self._scale_in = ScaleIn(given, store)
        self._episodes = Episodes(
            self._gatherer,
            store,
            self._witness,
            self._runs,
            self._scale_in,
            self._notices,
            signals,
        )
        self._bugs: dict[int, int] = {}
        # Due episodes that are not looked at yet: (until, the due_at that this was said of).
        self._held: dict[int, tuple[float, float | None]] = {}
        self._trouble = False
        self._troubled_ticks = 0
        self._last_trouble = ""
        self._ticked_at = 0.0
        self._prune_at = 0.0

    def tick(self, now: float) -> float:
        """Do all that is due at `now` (unix seconds); returns when to be called again.

        Never raises for what a source or the store does: it waits and tries again.
        """
        self._troubled_ticks = self._troubled_ticks + 1 if self._trouble else 0
        self._trouble = False
        if now < self._ticked_at - CLOCK_SLACK_S:
            # What is due would wait for as long as the jump: all is looked at anew.
            log.warning("the clock went back by %.0f s", self._ticked_at - now)
            self.active = False
            self._held.clear()
        if abs(now - self._ticked_at) > LEAP_S:  # the first tick, too
            self._prune_at = now + PRUNE_EVERY_S
        self._ticked_at = now
        if not self._stage("lease", lambda: self._lease(now)) or not self.active:
            return now + LEASE_RENEW_S if not self._trouble else now + TROUBLE_WAKE_S
        self._witness.new_turn()
        self._stage("runs", lambda: self._advance_runs(now))
        if not now < self._reconciler.next_at <= now + LONGEST_WAIT_S:
            self._stage("reconcile", lambda: self._reconciler.run(now))
        more = self._consider_due(now)
        if not now < self._scale_in.next_at <= now + LONGEST_WAIT_S:
            self._stage("scale-in", lambda: self._consider_scale_in(now))
        self._stage(
            "people", lambda: self._notices.people(now, lambda e: self._episodes.is_over(e, now))
        )
        self._stage("ask", lambda: self._notices.ask(self._episodes.waiting_for_people(), now))
        self._stage("post", lambda: self._notices.flush(now))
        if now >= self._prune_at:
            self._stage("prune", lambda: self._prune(now))
        if now < self._notices.hides_until:
            # Inhibition holds for every receiver: the list is the only way to hear of such an
            # alert's end, and of its coming back.
            self._reconciler.next_at = min(self._reconciler.next_at, now + HIDDEN_EVERY_S)
        return now if more else self._next_wake(now)

    def _prune(self, now: float) -> None:
        """Forget a little of what is older than the catalog keeps."""
        self._prune_at = now + PRUNE_EVERY_S
        keep = self.given.catalog.remediation.keep.seconds
        if self._store.prune(now - keep, PRUNE_ROWS, now):
            self._prune_at = now + PRUNE_PAUSE_S

    @property
    def failing(self) -> str:
        """What has gone wrong in tick after tick; empty when the last ones went well."""
        return self._last_trouble if self._troubled_ticks >= FAILING_TICKS else ""

    def reconcile_soon(self) -> None:
        """A webhook left alerts out: read Alertmanager's list at the next tick. Any thread."""
        self._reconciler.next_at = 0.0

    def _stage(self, name: str, work: Callable[[], None]) -> bool:
        """Do one part of a tick; what breaks in it does not stop the others."""
        try:
            work()
        except StoreError as error:
            self._trouble, self._last_trouble = True, f"{name}: {error}"
            self._signals.count("store_errors", where=name)
            log.error("%s: %s", name, error, extra={"action": name})
        except Exception as bug:
            self._trouble, self._last_trouble = True, f"{name}: {type(bug).__name__}"
            self._signals.count("errors", where=name)
            log.exception("a bug stopped %s", name, extra={"action": name})
        else:
            return True
        return False

    def _next_wake(self, now: float) -> float:
        times = [now + LEASE_RENEW_S, self._reconciler.next_at, self._scale_in.next_at]
        times.append(self._prune_at)
        try:
            due = self._store.next_due()
        except StoreError:
            due, self._trouble = None, True
        if due is not None:
            # What is due still is held up, or came meanwhile and wakes the engine by itself.
            times.append(due if due > now else now + TROUBLE_WAKE_S)
        times += [until for until, _ in self._held.values()]
        times += [t for t in (self._runs.next_at(now), self._notices.next_at(now)) if t is not None]
        return max(min(times), now + (TROUBLE_WAKE_S if self._trouble else SHORTEST_WAIT_S))

    def _lease(self, now: float) -> None:
        age = now - (now if self._leased_at is None else self._leased_at)
        if self.active and self._leased_at is not None and 0 <= age < LEASE_RENEW_S:
            return
        held = self._store.lease(self._holder, now, LEASE_S)
        if held and not self.active:
            log.info("this engine is active", extra={"action": "lease", "holder": self._holder})
            self._reconciler.next_at = now
            self._episodes.recover(now)
        elif self.active and not held:
            log.warning("another engine is active", extra={"action": "lease"})
            self._runs.forget()
        self.active, self._leased_at = held, now

    def _consider_due(self, now: float) -> bool:
        """Decide what is due; True when there is more of it."""
        self._held = {e: held for e, held in self._held.items() if now < held[0]}
        due: list[Episode] = []
        self._stage("due", lambda: due.extend(self._store.due(now, BATCH + len(self._held))))
        ready = [e for e in due if not self._is_held(e)]
        for episode in ready:
            self._guarded(episode, now, self._consider)
            self._settle_ended(now)
        self._stage("write", lambda: self._episodes.write(now))
        return len(ready) >= BATCH and not self._trouble

    def _is_held(self, episode: Episode) -> bool:
        """Something that happened to it (its end, a person) gives it another due_at."""
        return self._held.get(episode.id, (0.0, None))[1] == episode.due_at

    def _consider(self, episode: Episode, now: float) -> None:
        until = self._episodes.consider(episode, now)
        if until is not None:
            self._held[episode.id] = (until, episode.due_at)

    def _guarded(
        self, episode: Episode, now: float, work: Callable[[Episode, float], None]
    ) -> None:
        """A bug, or a store that refuses, in one episode does not stop the others."""
        try:
            work(episode, now)
            self._bugs.pop(episode.id, None)
        except Exception as error:
            count = self._bugs[episode.id] = self._bugs.get(episode.id, 0) + 1
            until = now + min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(count - 1, 10))
            self._held[episode.id] = (until, episode.due_at)
            if isinstance(error, StoreError):
                self._signals.count("store_errors", where="episode")
                log.error("episode %d: %s", episode.id, error, extra={"episode": episode.id})
                return
            reason = f"a bug: {error!r}"
            self._signals.count("errors", where="episode")
            log.exception(
                "a bug stopped episode %d", episode.id, extra={"episode": episode.id, "try": count}
            )
            self._stage(
                "hold",
                lambda: self._store.set_episode(
                    episode.id, episode.state, reason, until, now, firing=episode.firing
                ),
            )

    def _advance_runs(self, now: float) -> None:
        try:
            self._runs.advance(now)
        finally:
            self._settle_ended(now)

    def _settle_ended(self, now: float) -> None:
        for run in self._runs.take_ended():
            # While RemediationRunning inhibits an alert, Alertmanager tells nobody of its end.
            self.reconcile_soon()
            episode = self._store.episode(run.episode_id)
            self._guarded(episode, now, functools.partial(self._episodes.after, run))

    def _consider_scale_in(self, now: float) -> None:
        for episode in self._scale_in.candidates(now):
            self._guarded(episode, now, self._episodes.scale_in)
            self._settle_ended(now)
