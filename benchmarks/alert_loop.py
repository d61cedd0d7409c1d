"""What the engine would post while it acts: a model of the loop, made of the built engine.json.

It acts a second after it is told, as long as nothing inhibits the alert; it repairs nothing. People
are told by RemediationFailed when the grace is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.alert_catalog import Built
from benchmarks.alert_people import People
from benchmarks.alert_replay import Firing
from opsloop import names
from opsloop.catalog.facts import EngineInput

REACTS_S = 1.0
LOOKS_S = 5.0  # between two looks at whether an alert is inhibited still


class Loop:
    """The engine of one catalog, for the policies that act by themselves."""

    def __init__(self, built: Built, people: People) -> None:
        facts = EngineInput.model_validate_json(built.files[names.ENGINE_JSON]).facts
        self._grace = {(f.alert, f.policy): f.grace_s for f in facts if f.grace_s}
        self._people = people

    def posts(self, firings: Sequence[Firing]) -> list[Firing]:
        """The engine's alerts beside these."""
        return [post for firing in firings for post in self._of(firing, firings)]

    def _of(self, firing: Firing, every: Sequence[Firing]) -> Iterator[Firing]:
        grace = self._grace.get((firing.alert, firing.labels.get(names.POLICY, "")))
        if grace is None:
            return
        begin = firing.begin + REACTS_S
        while begin < firing.end and self._people.inhibited(firing, every, begin):
            begin += LOOKS_S
        until = firing.begin + grace
        if begin < min(until, firing.end):
            yield _post(names.REMEDIATION_RUNNING, firing, begin, min(until, firing.end))
        if max(begin, until) < firing.end:
            yield _post(names.REMEDIATION_FAILED, firing, max(begin, until), firing.end)


def _post(alert: str, of: Firing, begin: float, end: float) -> Firing:
    labels = {**of.labels, "alertname": alert, names.ORIGINAL: of.alert}
    return Firing(alert, labels, begin, end)
