"""What Prometheus scrapes and evaluates, as it lists it: targets and every rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from opsloop.drivers.wire import parse_time


@dataclass(frozen=True, slots=True)
class Target:
    """One address. health: up, down or unknown; scraped_at: unix seconds, None before the first."""

    job: str
    instance: str
    health: str
    url: str
    error: str = ""
    scraped_at: float | None = None
    took_s: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluatedRule:
    """One rule of any kind. state: of an alert (firing, pending, inactive), empty for a recording.

    health: ok, err or unknown; took_s: its last evaluation.
    """

    group: str
    name: str
    kind: str
    expr: str
    health: str
    state: str = ""
    error: str = ""
    evaluated_at: float | None = None
    took_s: float = 0.0
    interval_s: float = 0.0


class _Target(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    health: str = "unknown"
    scrape_url: str = ""
    last_error: str = ""
    last_scrape: str = ""
    last_scrape_duration: float = 0.0


class _Active(msgspec.Struct, rename="camel"):
    active_targets: list[_Target] = []


class _Targets(msgspec.Struct):
    data: _Active


class _Rule(msgspec.Struct, rename="camel"):
    name: str
    query: str = ""
    type: str = ""
    health: str = "unknown"
    state: str = ""
    last_error: str = ""
    last_evaluation: str = ""
    evaluation_time: float = 0.0


class _Group(msgspec.Struct):
    name: str
    interval: float = 0.0
    rules: list[_Rule] = []


class _Groups(msgspec.Struct):
    groups: list[_Group]


class _Rules(msgspec.Struct):
    data: _Groups


_targets = msgspec.json.Decoder(_Targets)
_rules = msgspec.json.Decoder(_Rules)


def targets(body: bytes) -> list[Target]:
    """Decode /api/v1/targets?state=active, what is down first. Raises ValueError."""
    found = [
        Target(
            job=t.labels.get("job", ""),
            instance=t.labels.get("instance", ""),
            health=t.health,
            url=t.scrape_url,
            error=t.last_error,
            scraped_at=parse_time(t.last_scrape) if t.last_scrape else None,
            took_s=t.last_scrape_duration,
            labels=t.labels,
        )
        for t in _targets.decode(body).data.active_targets
    ]
    return sorted(found, key=lambda t: (t.health == "up", t.job, t.instance))


def evaluated(body: bytes) -> list[EvaluatedRule]:
    """Decode /api/v1/rules, in its order. Raises ValueError."""
    return [
        EvaluatedRule(
            group=group.name,
            name=r.name,
            kind=r.type,
            expr=r.query,
            health=r.health,
            state=r.state,
            error=r.last_error,
            evaluated_at=parse_time(r.last_evaluation) if r.last_evaluation else None,
            took_s=r.evaluation_time,
            interval_s=group.interval,
        )
        for group in _rules.decode(body).data.groups
        for r in group.rules
    ]
