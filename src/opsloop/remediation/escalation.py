"""Telling people: the words of the engine's own alerts, and posting them until they are over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from opsloop import names
from opsloop.errors import SourceError
from opsloop.remediation.approval import Approval
from opsloop.remediation.asking import Asking
from opsloop.remediation.episode import Episode
from opsloop.remediation.ladder import describe
from opsloop.remediation.plan import Plan, Run
from opsloop.remediation.ports import ActionRecord, Alerts, Escalation, PostedAlert, Signals, Store

RUNNING_LIFE_S: Final = 30.0  # a dead engine's RemediationRunning is over after this
RENEW_S: Final = 10.0
REPOST_S: Final = 60.0
FAILED_LIFE_S: Final = 300.0
RETRY_S: Final = 5.0
OVER_CHECK_S: Final = 5.0
MAX_OUTPUT: Final = 400  # characters of an action's output in a page

log = logging.getLogger("opsloop.engine")


def failed_labels(episode: Episode, run_id: int | None) -> dict[str, str]:
    """Labels of RemediationFailed: those of the episode, what it was, and the last run."""
    labels = {k: v for k, v in episode.labels.items() if k != "alertname"}
    labels |= {"alertname": names.REMEDIATION_FAILED, names.ORIGINAL: episode.alert}
    return labels | ({names.RUN: str(run_id)} if run_id is not None else {})


def running_labels(episode: Episode) -> dict[str, str]:
    """Labels of RemediationRunning: the same for each run of an episode, so that one follows
    the other without a gap."""
    kept = (*names.EPISODE_LABELS, *names.SERVICE_LABELS, names.SEVERITY)
    labels = {k: v for k in kept if (v := episode.labels.get(k))}
    return labels | {"alertname": names.REMEDIATION_RUNNING, names.ORIGINAL: episode.alert}


def tell(
    episode: Episode,
    reason: str,
    runs: Sequence[Run],
    actions: Mapping[int, Sequence[ActionRecord]],
    plan: Plan | None = None,
) -> dict[str, str]:
    """Annotations of RemediationFailed: what fired, what was tried and came of it, what is left.

    runs: those of the episode, oldest first; actions: by run id; plan: what waits for a person.
    """
    where = f"{episode.service or 'unknown service'}"
    if episode.instance:
        where += f" ({episode.instance})"
    tried = [line for run in runs for line in _tried(run, actions.get(run.id, ()))]
    text = "\n".join(tried) or "Nothing was tried."
    fired = episode.annotations.get("summary") or f"{episode.alert} fires"
    left = f"The loop does nothing more until {episode.alert} resolves."
    if plan is not None:
        left = f"To do: {describe(plan)}."
    if runs:
        left += f" `opsloop runs show {runs[-1].id}` shows the last run."
    kept = {k: v for k, v in episode.annotations.items() if k not in ("summary", "description")}
    return kept | {
        "summary": f"{episode.alert} on {where} needs a person: {reason}",
        "description": f"Fired: {fired}\nTried:\n{text}\nNot done: {reason}\nLeft: {left}",
        "tried": text,
        "reason": reason,
    }


def _tried(run: Run, actions: Sequence[ActionRecord]) -> list[str]:
    lines = [f"run {run.id}, {describe(run.plan)}: {run.state.value}, {run.reason}"]
    for record in actions:
        action = run.plan.actions[record.index]
        if record.result is None:
            lines.append(f"  {action.kind} {action.target}: began, its end is not known")
            continue
        outcome = "done" if record.result.ok else "failed"
        output = " ".join(record.result.output.split())[:MAX_OUTPUT]
        lines.append(
            f"  {action.kind} {action.target}: {outcome}" + (f", {output}" if output else "")
        )
    return lines


@dataclass(slots=True)
class _Told:
    """When an open escalation was posted last, and when its end was looked for last."""

    posted_at: float | None = None
    looked_at: float | None = None


@dataclass(slots=True)
class Notices:
    """The engine's own alerts on their way to Alertmanager: one post for each turn.

    What could not be posted stays queued; the newest word on an alert replaces the older.
    """

    store: Store
    alerts: Alerts
    signals: Signals
    hides_until: float = 0.0  # Alertmanager keeps alerts that the loop acts on from the engine too
    _queue: dict[frozenset[tuple[str, str]], PostedAlert] = field(default_factory=dict)
    _running: dict[int, PostedAlert] = field(default_factory=dict)  # by run
    _renewed: dict[int, float] = field(default_factory=dict)
    _settling: dict[frozenset[tuple[str, str]], PostedAlert] = field(default_factory=dict)
    _told: dict[int, _Told] = field(default_factory=dict)  # by escalation
    _ending: dict[int, Escalation] = field(default_factory=dict)
    _asking: Asking = field(default_factory=Asking)
    _retry_at: float = 0.0
    _next: float | None = None

    def running(self, run: Run, episode: Episode, grace_s: float, now: float) -> None:
        """Say that a run is open, for a little while and never beyond the episode's grace."""
        ends_at = min(now + RUNNING_LIFE_S, episode.first_seen + grace_s)
        last = self._renewed.get(run.id)
        if last is not None and 0 <= now - last < RENEW_S:
            return
        self._renewed[run.id] = now
        if ends_at <= now:
            return
        words = {
            "summary": f"The loop acts on {episode.alert}: {describe(run.plan)} (run {run.id})"
        }
        posted = PostedAlert(running_labels(episode), words, run.created_at, ends_at)
        self._running[run.id] = posted
        self._put(posted)

    def run_ended(self, run_id: int, now: float) -> None:
        """Take RemediationRunning back, if it was posted."""
        self._renewed.pop(run_id, None)
        posted = self._running.pop(run_id, None)
        if posted is not None:
            starts_at = min(posted.starts_at, now)
            self._put(PostedAlert(posted.labels, posted.annotations, starts_at, now))

    def healed(self, run: Run, episode: Episode, grace_s: float, now: float) -> None:
        """Leave RemediationRunning standing for one more grace.

        The alert's group in Alertmanager lives on for a while, and its timer with it: the same
        fault again within that time would be told at the timer's next tick, before the engine
        knows of it. A dead engine still delays that page by the grace at most.
        """
        self._renewed.pop(run.id, None)
        self._running.pop(run.id, None)
        words = {"summary": f"The loop healed {episode.alert}: {describe(run.plan)} (run {run.id})"}
        posted = PostedAlert(running_labels(episode), words, run.created_at, now + grace_s)
        self._settling = {k: p for k, p in self._settling.items() if p.ends_at > now}
        self._settling[frozenset(posted.labels.items())] = posted
        self._put(posted)

    def waiting(self, episode: Episode, reason: str, grace_s: float, now: float) -> None:
        """Keep an episode that the loop waits with from people until its own grace is over.

        An alert that joins a live group is told at that group's next tick, which may be at once:
        a restart by the loop itself would page for the instances that it takes down in turn.
        """
        ends_at = episode.first_seen + grace_s
        labels = running_labels(episode)
        key = frozenset(labels.items())
        known = self._settling.get(key)
        if ends_at <= now or (known is not None and known.ends_at >= ends_at):
            return
        words = {"summary": f"The loop waits with {episode.alert}: {reason}"}
        posted = PostedAlert(labels, words, min(episode.first_seen, now), ends_at)
        self._settling[key] = posted
        self._put(posted)

    def not_acting(self, episode: Episode, now: float) -> None:
        """The loop does not act on this episode: people are no longer kept from hearing of it."""
        posted = self._settling.pop(frozenset(running_labels(episode).items()), None)
        if posted is not None and posted.ends_at > now:
            starts_at = min(posted.starts_at, now)
            self._put(PostedAlert(posted.labels, posted.annotations, starts_at, now))

    def people(self, now: float, over: Callable[[Escalation], bool]) -> None:
        """Post each open escalation again when it is time, and end those that are over."""
        opened = self.store.escalations()
        self._next = None
        for escalation in opened:
            told = self._told.setdefault(escalation.id, _Told())
            if _passed(told.looked_at, now, OVER_CHECK_S):
                told.looked_at = now
                if over(escalation):
                    self._ending[escalation.id] = escalation
                    self._post(escalation, now, now)
                    continue
            if escalation.id not in self._ending and _passed(told.posted_at, now, REPOST_S):
                self._post(escalation, now, now + FAILED_LIFE_S)
        for gone in self._told.keys() - {e.id for e in opened}:
            del self._told[gone]
        if opened:
            self._next = now + OVER_CHECK_S

    def ask(self, waiting: Sequence[tuple[Approval, Episode]], now: float) -> None:
        """Post what waits for people's approval, and take back what no longer does."""
        for posted in self._asking.turn(waiting, now):
            self._put(posted)

    def flush(self, now: float) -> None:
        """Post what is queued. Never raises for an Alertmanager that does not answer."""
        if not self._queue or now < self._retry_at <= now + RETRY_S:
            return
        try:
            self.alerts.post(list(self._queue.values()))
        except SourceError as error:
            self._retry_at = now + RETRY_S
            self.signals.count("post_errors")
            log.warning("the engine's alerts could not be posted: %s", error)
            return
        posted, self._queue, self._retry_at = self._queue, {}, 0.0
        log.debug("posted %d alerts of the engine's own", len(posted))
        for escalation_id in list(self._ending):
            self.store.end_escalation(escalation_id, now)
            del self._ending[escalation_id]

    def next_at(self, now: float) -> float | None:
        """When there is something to post again, unix seconds."""
        times = [max(at + RENEW_S, now + 1.0) for at in self._renewed.values()]
        if self._queue:
            times.append(max(self._retry_at, now))
        times += [t for t in (self._next, self._asking.next_at()) if t is not None]
        return min(times, default=None)

    def _post(self, escalation: Escalation, now: float, ends_at: float) -> None:
        self._told[escalation.id].posted_at = now
        starts_at = min(escalation.starts_at, now)
        self._put(PostedAlert(escalation.labels, escalation.annotations, starts_at, ends_at))

    def _put(self, posted: PostedAlert) -> None:
        key = frozenset(posted.labels.items())
        self._queue.pop(key, None)
        self._queue[key] = posted
        if posted.labels["alertname"] == names.REMEDIATION_RUNNING:
            self.hides_until = max(self.hides_until, posted.ends_at)


def _passed(at: float | None, now: float, interval: float) -> bool:
    return at is None or abs(now - at) >= interval
