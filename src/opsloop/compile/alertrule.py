"""One alerting rule: what it asks, whom it is about, which policy meets it, what people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.conditions import Clause
from opsloop.compile.wording import Wording

OWN = "own"  # the shape of a user's alerts; a shipped alert's shape is its name

SEVERITY = {
    names.SERVICE_DOWN: "P0",
    names.HIGH_ERROR_RATE: "P0",
    names.HOST_DOWN: "P0",
    names.ENGINE_DOWN: "P0",  # nothing is healed, and nobody is told so by anything else
    names.HIGH_LATENCY: "P1",
    names.CONNECTIONS_HIGH: "P1",
    names.PROBE_FAILING: "P1",
    names.DISK_FULL: "P1",
    names.DISK_WILL_FILL: "P1",
    names.MEMORY_HIGH: "P1",
    names.CLOCK_SKEW: "P1",
    names.EXPORTER_DOWN: "P1",
    names.MONITORING_DOWN: "P1",
    names.ENGINE_STUCK: "P1",  # people are told after the grace all the same
    names.POLICY_STOPPED: "P1",
    names.SAMPLES_DROPPED: "P1",
    names.RULES_FAILING: "P1",
    names.RULES_MISSED: "P1",
    names.NOTIFICATIONS_FAILING: "P1",
    names.TSDB_TROUBLE: "P1",
    names.CONFIG_REJECTED: "P1",
    names.SCRAPE_SLOW: "P2",
    names.BACKUP_FAILED: "P2",
    names.BACKUP_STALE: "P2",
    names.BACKUP_MISSING: "P2",
    names.CERTIFICATE_EXPIRING: "P2",
    names.CERTIFICATE_UNREADABLE: "P2",
}


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule: a shape, the policy that meets it (or none), and its clauses.

    about: what its subjects are, which says what labels their targets have; a rule about
    something declared has all its labels itself, and is told apart by `part`.
    """

    shape: str
    alert: str
    severity: str  # empty: nobody is told of it
    policy: str | None
    scope: Literal["instance", "service"]
    clauses: tuple[Clause, ...]
    for_: Duration
    labels: Mapping[str, str]
    annotations: Mapping[str, Wording]
    about: Literal["service", "host", "part", "declared"] = "service"
    part: str = ""

    @property
    def urgent(self) -> bool:
        """Whether it is evaluated each second: the loop's alerts about services are. A disk, a
        certificate or a backup has the time of the others."""
        return self.policy is not None and self.about == "service"

    @property
    def stem(self) -> str:
        """What its test files are named after; no two rules share it."""
        return ".".join(x for x in (self.alert, self.policy, self.part) if x)

    @property
    def expr(self) -> str:
        if len(self.clauses) == 1:
            return self.clauses[0].expr
        return "\nor\n".join(f"(\n{c.expr}\n)" for c in self.clauses)

    @property
    def sli(self) -> str:
        return "\nor\n".join(c.sli for c in self.clauses)

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(sorted(s for c in self.clauses for s in c.subjects))

    @property
    def window(self) -> Duration:
        """The longest look-back."""
        return Duration(max(int(c.window) for c in self.clauses))

    def as_rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"alert": self.alert, "expr": self.expr}
        if self.for_:
            rule["for"] = str(self.for_)
        rule["labels"] = dict(self.labels)
        rule["annotations"] = {k: w.template() for k, w in self.annotations.items()}
        return rule


def labels(severity: str, policy: str | None) -> dict[str, str]:
    return {names.SEVERITY: severity} | ({names.POLICY: policy} if policy else {})


def wait(catalog: Catalog, policy: str | None, least: int = 0) -> Duration:
    """How long a condition must hold: with a policy not at all, as the engine looks again before
    it acts; without one two evaluations, and at least so many milliseconds."""
    return Duration(0 if policy else max(least, 2 * int(catalog.stack.evaluation_interval)))
