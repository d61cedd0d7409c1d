"""Evidence: what Prometheus, Alertmanager and the fleet say in one turn of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from opsloop.catalog.facts import AlertFacts
from opsloop.errors import SourceError
from opsloop.remediation.episode import Alert
from opsloop.remediation.plan import SCALES, Plan
from opsloop.remediation.ports import Alerts, Fleet, Inventory, Metrics, Sample
from opsloop.remediation.situation import Confirmation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is seen of an episode's fault at one moment. None: not known, `reason` says why.

    condition: whether the alert's own expression holds; value: its value, where it does.
    fresh_at: unix time of the newest sample that this rests on. sli: the service's own
    measure. answering: whether what a plan acted on runs, as its process manager says.
    """

    condition: bool | None = None
    value: float | None = None
    fresh_at: float | None = None
    sli: float | None = None
    answering: bool | None = None
    worse: bool = False  # whether what a step's undo waits for is there
    reason: str = ""

    def as_detail(self) -> dict[str, object]:
        """For people: kept with the run."""
        return {
            "condition": self.condition,
            "value": self.value,
            "fresh_at": self.fresh_at,
            "sli": self.sli,
            "answering": self.answering,
            "reason": self.reason,
        }


def agrees(series: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a series is about these labels: every label that both have has one value.

    An empty value is an absent label, as everywhere in Prometheus.
    """
    return all(
        not value or not labels.get(name) or labels[name] == value for name, value in series.items()
    )


def matching(samples: list[Sample], labels: Mapping[str, str]) -> list[float]:
    """The values of the series that agree with `labels`; NaN is no value."""
    return [s.value for s in samples if agrees(s.labels, labels) and not math.isnan(s.value)]


def answering(plan: Plan, inventory: Inventory) -> bool:
    """Whether everything that the plan acted on runs now."""
    if plan.main.kind in SCALES:
        wanted = [i for i in inventory.instances if i.wanted]
        return len(wanted) == plan.main.wanted and all(i.running for i in wanted)
    targets = _instances_of(plan)
    found = [i for i in inventory.instances if i.target in targets]
    return len(found) == len(targets) and all(i.running for i in found)


def _instances_of(plan: Plan) -> frozenset[str]:
    """The instances that a plan acts on, as `api:api-0`; a restart's own, else what it holds."""
    if plan.main.kind in ("restart", "start"):
        return frozenset(a.target for a in plan.forward if a.kind == plan.main.kind)
    return frozenset(r for r in plan.resources if ":" in r)


class Witness:
    """Asks the sources, each question once in a turn; a source that failed is not asked again
    in that turn, so that one that hangs costs one time-out and not one for each episode."""

    def __init__(self, metrics: Metrics, alerts: Alerts, fleet: Fleet) -> None:
        self._metrics = metrics
        self._alerts = alerts
        self._fleet = fleet
        self._answers: dict[tuple[str, str], object] = {}
        self._down: dict[str, SourceError] = {}

    def new_turn(self) -> None:
        self._answers.clear()
        self._down.clear()

    def query(self, expr: str) -> list[Sample]:
        """Raises PrometheusError."""
        return self._ask("prometheus", expr, lambda: self._metrics.query(expr))

    def listed(self) -> list[Alert]:
        """All alerts of Alertmanager. Raises AlertmanagerError."""
        return self._ask("alertmanager", "", self._alerts.alerts)

    def inventory(self, service: str) -> Inventory:
        """Raises DriverError."""
        return self._ask(f"fleet {service}", service, lambda: self._fleet.inventory(service))

    def confirm(
        self, facts: AlertFacts, labels: Mapping[str, str], now: float, stale_after_s: float
    ) -> Confirmation:
        """Whether the fault is there, on samples that are not stale."""
        seen = self.look(facts, labels, sli=False)
        if seen.condition is None:
            return Confirmation("unknown", seen.reason)
        if seen.fresh_at is None:
            return Confirmation("unknown", f"no sample that {facts.alert} rests on")
        age = now - seen.fresh_at
        if age > stale_after_s:
            return Confirmation(
                "unknown",
                f"the newest sample is older than {stale_after_s:g} s",
                seen.fresh_at,
                seen.value,
            )
        if seen.condition:
            value = "" if seen.value is None else f" (value {seen.value:.4g})"
            reason = f"{facts.alert} holds on a sample {max(age, 0.0):.1f} s old{value}"
            return Confirmation("yes", reason, seen.fresh_at, seen.value)
        # Without the age: the same answer again is the same reason, and no new audit row.
        return Confirmation("no", f"{facts.alert} does not hold on fresh data", seen.fresh_at)

    def look(
        self,
        facts: AlertFacts,
        labels: Mapping[str, str],
        *,
        sli: bool = True,
        plan: Plan | None = None,
    ) -> Evidence:
        """What is seen of a fault now. A source that does not answer leaves None, and a reason."""
        try:
            holds = matching(self.query(facts.condition), labels)
            fresh = matching(self.query(facts.fresh), labels)
            measured = matching(self.query(facts.sli), labels) if sli else []
            worse = bool(plan is not None and plan.worse and self.query(plan.worse))
        except SourceError as error:
            return Evidence(reason=str(error))
        reason, up = "", None
        if plan is not None and plan.main.kind not in SCALES and not _instances_of(plan):
            up = True  # it acted on no instance
        elif plan is not None:
            try:
                up = answering(plan, self.inventory(plan.service))
            except SourceError as error:
                reason = str(error)
        return Evidence(
            condition=bool(holds),
            value=holds[0] if holds else None,
            # Of several series each must be fresh, so the oldest counts.
            fresh_at=min(fresh, default=None),
            sli=measured[0] if measured else None,
            answering=up,
            worse=worse,
            reason=reason,
        )

    def _ask(self, source: str, question: str, ask: Callable[[], T]) -> T:
        key = (source, question)
        if key in self._answers:
            return self._answers[key]  # type: ignore[return-value]
        if source in self._down:
            raise self._down[source]
        try:
            answer = ask()
        except SourceError as error:
            self._down[source] = error
            raise
        self._answers[key] = answer
        return answer
