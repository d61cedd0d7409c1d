"""What compile tells the engine about each alert that a policy meets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from opsloop.catalog.model import Catalog


class AlertFacts(BaseModel):
    """One (alert, policy) pair. All PromQL returns series that carry the alert's labels.

    condition: the alert's own expression; a series that agrees with the episode's labels
        means that the fault is there.
    fresh: unix time of the newest sample that `condition` rests on, per service (and
        instance for instance scope), of instances that are meant to run.
    sli: a query with one value per service (and instance) while the service is measured;
        no value is no proof of health.
    window_s: the alert's own look-back, seconds. grace_s: how long people are not told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    alert: str
    policy: str
    scope: Literal["instance", "service"]
    severity: str
    condition: str
    fresh: str
    sli: str
    window_s: float
    interval_s: float  # the rule group's evaluation interval, seconds
    grace_s: float


class EngineInput(BaseModel):
    """`engine/engine.json` of the bundle: all that the engine reads of the catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    catalog: Catalog
    facts: list[AlertFacts]
    port_base: int = 0

    def facts_for(self, alert: str, policy: str) -> AlertFacts | None:
        return next((f for f in self.facts if f.alert == alert and f.policy == policy), None)
