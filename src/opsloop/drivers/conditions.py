"""What looks and changes nothing: conditions of a step (PromQL, or an address), and waits."""

from __future__ import annotations

import time
from typing import Final

from opsloop.drivers.probe import Look, probe
from opsloop.drivers.words import Words
from opsloop.errors import DriverError, SourceError
from opsloop.remediation.plan import Action, Work
from opsloop.remediation.ports import Metrics, StepResult

EVERY_S: Final = 0.5
PROBE_LIMIT_S: Final = 2.0


class ConditionDriver:
    """Looks until the condition holds, at least once and for at most its `within_s`."""

    def __init__(self, words: Words, metrics: Metrics) -> None:
        self._words = words
        self._metrics = metrics

    def perform(self, action: Action, token: int) -> StepResult:  # noqa: ARG002 - changes nothing
        """It never starts anything: what cannot be told does not hold."""
        if action.kind == "wait":  # its time passes while fresh data is looked at
            return StepResult(ok=True, started=False, output=f"waits for {action.limit_s:g} s")
        work = action.work
        if work is None or not (work.query or work.probe):
            raise DriverError(action.target, "there is no condition to look at")
        deadline = time.monotonic() + work.within_s
        while True:
            look = self._look(work)
            if look.ok:
                return StepResult(ok=True, started=False, output=f"holds: {look.reason}")
            if time.monotonic() + EVERY_S > deadline:
                waited = f" within {work.within_s:g} s" if work.within_s else ""
                output = f"does not hold{waited}: {look.reason}"
                return StepResult(ok=False, started=False, output=output)
            time.sleep(EVERY_S)

    def _look(self, work: Work) -> Look:
        if work.query:
            try:
                found = self._metrics.query(work.query)
            except SourceError as error:
                return Look(False, str(error))
            value = f"{found[0].value:.6g}" if found else "no series"
            return Look(bool(found), f"{work.query} returns {value}")
        address, _, path = self._words.put(work.probe).partition("/")
        look = probe(address, f"/{path}" if path else "", PROBE_LIMIT_S)
        return Look(look.ok, f"{work.probe} {'serves' if look.ok else look.reason}")
