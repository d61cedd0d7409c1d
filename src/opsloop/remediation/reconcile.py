"""Reconciling: what Alertmanager lists is taken in; what it no longer lists may have ended."""

from __future__ import annotations

import logging
from typing import Final

from opsloop import names
from opsloop.errors import SourceError
from opsloop.remediation.episode import Alert, Episode
from opsloop.remediation.evidence import Witness
from opsloop.remediation.gather import Gatherer
from opsloop.remediation.ports import Signals, Store
from opsloop.remediation.situation import OWN_ALERTS

EVERY_S: Final = 60.0
RETRY_S: Final = 5.0
# The Watchdog only shows that the way works; what only inhibits is nobody's fault to mend.
NO_EPISODES: Final = OWN_ALERTS | {names.WATCHDOG, *names.ONLY_INHIBITS}
SAME_START_S: Final = 0.001  # both interfaces of Alertmanager agree on milliseconds

log = logging.getLogger("opsloop.engine")


class Reconciler:
    """The level beside the webhooks: nothing depends on a webhook having come."""

    def __init__(
        self, gatherer: Gatherer, store: Store, witness: Witness, signals: Signals
    ) -> None:
        self._gatherer = gatherer
        self._store = store
        self._witness = witness
        self._signals = signals
        self._missed: dict[int, int] = {}  # how often in a row an episode was not listed
        self.next_at = 0.0

    def run(self, now: float) -> None:
        """Read the list and apply it. When Alertmanager does not answer, nothing changes."""
        try:
            listed = self._witness.listed()
        except SourceError as error:
            self.next_at = now + RETRY_S
            self._signals.count("reconcile_errors")
            log.warning("the alerts could not be read: %s", error)
            return
        self.next_at = now + EVERY_S
        theirs = [a for a in listed if a.name not in NO_EPISODES and a.firing]
        self._store.intake(theirs, now)
        starts = _starts(theirs)
        missing = [e for e in self._store.firing() if not _is_listed(e, starts)]
        self._missed = {e.id: self._missed.get(e.id, 0) + 1 for e in missing}
        gone = [e.id for e in missing if self._is_gone(e, starts, now)]
        if gone:
            self._store.end_episodes(gone, now)
            log.info("%d episodes are over: no longer listed, and not there", len(gone))

    def _is_gone(self, episode: Episode, starts: dict[str, list[float]], now: float) -> bool:
        """An empty list alone ends nothing: Alertmanager forgets all when it restarts."""
        if any(at > episode.starts_at for at in starts.get(episode.fingerprint, ())):
            return True  # the same alert fires again under a new start
        facts = self._gatherer.facts(episode)
        if facts is None:
            return self._missed[episode.id] >= 2
        stale_after = self._gatherer.stale_after(episode)
        return self._witness.confirm(facts, episode.labels, now, stale_after).answer == "no"


def _starts(alerts: list[Alert]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for alert in alerts:
        found.setdefault(alert.fingerprint, []).append(alert.starts_at)
    return found


def _is_listed(episode: Episode, starts: dict[str, list[float]]) -> bool:
    return any(
        abs(at - episode.starts_at) <= SAME_START_S for at in starts.get(episode.fingerprint, ())
    )
