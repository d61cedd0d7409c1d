"""What a unit test is made of: its subject, its series, and checks tick by tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.alerts import AlertRule, interval_of
from opsloop.compile.conditions import Clause
from opsloop.compile.prometheus import OWN_TEAM, labels_of, service_labels
from opsloop.compile.selectors import quote

Labels: TypeAlias = Mapping[str, str]
Phase: TypeAlias = tuple[float, int]  # what is added at each tick, for how many ticks
Check: TypeAlias = tuple[int, float | None]  # at this tick: fires with this value, or does not
EVENTS = 100_000  # a tick, so that shares can be set finely
INSTANCE_A, INSTANCE_B = "10.0.0.1:8000", "10.0.0.2:8000"
STRANGER = "nobody-declared-this"
START = 1_000_000  # a counter near zero would be extrapolated to zero


@dataclass(frozen=True, slots=True)
class Subject:
    """What a test is about: a rule's clause, and one service or host of it."""

    catalog: Catalog
    rule: AlertRule
    clause: Clause
    name: str

    @property
    def target(self) -> Labels:
        """The labels of its targets, without instance and job."""
        if self.rule.about == "host":
            return labels_of(self.catalog, self.name, self.catalog.hosts[self.name].team)
        if self.rule.about == "service":
            return service_labels(self.catalog, self.name)
        return labels_of(self.catalog, self.name, OWN_TEAM)

    @property
    def kept(self) -> Labels:
        """The labels that the alert keeps of its series, without instance."""
        if self.rule.about == "declared":
            return {}
        return {k: self.target[k] for k in names.SERVICE_LABELS}


def rhythm(s: Subject) -> tuple[Duration, int]:
    """(tick, ticks of `for`): a long `for` is tested in few ticks."""
    if not s.rule.for_:
        return interval_of(s.catalog, s.rule), 0
    return Duration(int(s.rule.for_) // 4), 4


@dataclass(frozen=True, slots=True)
class Line:
    """One input series: its name with labels, and its values in promtool's notation."""

    series: str
    values: str

    @classmethod
    def of(cls, metric: str, labels: Labels, values: str) -> Line:
        inside = ",".join(f"{k}={quote(v)}" for k, v in sorted(labels.items()))
        return cls(f"{metric}{{{inside}}}", values)


@dataclass(frozen=True, slots=True)
class Case:
    """One unit test. `labels` are those that the series give the alert."""

    name: str
    tick: Duration
    labels: Labels = field(default_factory=dict)
    series: Sequence[Line] = ()
    checks: Sequence[Check] = ()


def renamed(case: Case, name: str) -> Case:
    return replace(case, name=name)


def counter(phases: Sequence[Phase], start: float = START) -> str:
    """Values of a counter that grows by each phase's step."""
    parts, value = [number(start)], start
    for step, ticks in phases:
        if ticks:
            first = value + step
            parts.append(f"{number(first)}+{number(step)}x{ticks - 1}")
            value += step * ticks
    return " ".join(parts)


def gauge(phases: Sequence[Phase]) -> str:
    """Values that stay as they are for each phase's ticks."""
    return " ".join(f"{number(value)}x{ticks - 1}" for value, ticks in phases if ticks)


def number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def steps(phases: Sequence[Phase]) -> list[float]:
    """What each tick added; tick 0 added nothing."""
    return [0.0, *(step for step, ticks in phases for _ in range(ticks))]


def over(added: Sequence[float], at: int, window: int) -> float:
    """What the last `window` ticks before and at `at` added."""
    return sum(added[max(0, at - window + 1) : at + 1])


def turns(conditions: Sequence[float | None], wait_ticks: int, from_tick: int = 0) -> list[Check]:
    """Checks right before and at each turn from not firing to firing and back.

    conditions: by tick, the value while the condition holds; wait_ticks: how long it must.
    """
    firing: list[float | None] = []
    since: int | None = None
    for at, value in enumerate(conditions):
        since = None if value is None else (at if since is None else since)
        firing.append(value if since is not None and at - since >= wait_ticks else None)
    found: list[Check] = []
    for at in range(max(1, from_tick), len(firing)):
        if (firing[at] is None) != (firing[at - 1] is None):
            found += [(at - 1, firing[at - 1]), (at, firing[at])]
    return found


def ticks_in(duration: Duration, tick: Duration) -> int:
    """Whole ticks that cover a duration."""
    return -(-int(duration) // int(tick))


def never(last: int) -> list[tuple[int, float | None]]:
    """Checks that nothing fires at any tick up to `last`."""
    return [(at, None) for at in range(last + 1)]
