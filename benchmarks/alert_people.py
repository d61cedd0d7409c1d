"""Who would have been told, and when: a model of Alertmanager, made of the built alertmanager.yml.

Time intervals are left out: the replayed catalog has none. One node; a group that has become empty
is forgotten at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from benchmarks.alert_replay import Firing
from opsloop.catalog.units import Duration

_MATCHER = re.compile(r'^\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*$', re.DOTALL)
_WAYS = ("slack_configs", "pagerduty_configs", "email_configs")
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Told:
    """One notification to people. new: alerts that it tells of for the first time; resolved: it
    says that all is well again."""

    at: float
    receiver: str
    new: tuple[Firing, ...]
    resolved: bool


@dataclass(frozen=True)
class _Route:
    receiver: str
    group_by: tuple[str, ...]
    wait: float
    interval: float
    repeat: float


@dataclass
class _Group:
    route: _Route
    members: list[Firing] = field(default_factory=list)


class People:
    """What alertmanager.yml makes of alerts."""

    def __init__(self, text: str) -> None:
        self._config: dict[str, Any] = yaml.safe_load(text)
        self._receivers = {
            r["name"] for r in self._config["receivers"] if any(way in r for way in _WAYS)
        }

    def told(self, firings: Sequence[Firing]) -> list[Told]:
        """Every notification to a person that these alerts cause, in the order of time."""
        groups: dict[tuple[Any, ...], _Group] = {}
        for firing in sorted(firings, key=lambda f: f.begin):
            for place, route in self._routes(firing.labels):
                if route.receiver not in self._receivers:
                    continue
                by = firing.labels if "..." in route.group_by else route.group_by
                key = (place, tuple((k, firing.labels.get(k, "")) for k in sorted(by)))
                groups.setdefault(key, _Group(route)).members.append(firing)
        found = [t for g in groups.values() for t in self._of_group(g, firings)]
        return sorted(found, key=lambda t: t.at)

    def _routes(self, labels: Labels) -> Iterator[tuple[tuple[int, ...], _Route]]:
        top = {"group_by": [], "group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}
        yield from self._met(self._config["route"], top, labels, ())

    def _met(
        self,
        node: Mapping[str, Any],
        above: Mapping[str, Any],
        labels: Labels,
        place: tuple[int, ...],
    ) -> Iterator[tuple[tuple[int, ...], _Route]]:
        """The routes that take an alert, as Alertmanager walks them; place: where in the tree."""
        if not _matched(node.get("matchers", ()), labels):
            return
        own = {k: node.get(k, v) for k, v in above.items()} | {
            "receiver": node.get("receiver", above.get("receiver"))
        }
        taken = False
        for nth, child in enumerate(node.get("routes", ())):
            met = list(self._met(child, own, labels, (*place, nth)))
            yield from met
            taken = taken or bool(met)
            if met and not child.get("continue", False):
                break
        if not taken:
            yield (
                place,
                _Route(
                    own["receiver"],
                    tuple(own["group_by"]),
                    *(
                        _seconds(own[k])
                        for k in ("group_wait", "group_interval", "repeat_interval")
                    ),
                ),
            )

    def _of_group(self, group: _Group, every: Sequence[Firing]) -> Iterator[Told]:
        """Flushes of one group: it is made by its first alert, and lives until all have ended."""
        waiting = list(group.members)
        while waiting:
            at = waiting[0].begin + group.route.wait
            inside: list[Firing] = []
            told: frozenset[int] = frozenset()
            ended: frozenset[int] = frozenset()
            last = -1.0
            known: set[int] = set()
            while True:
                inside += [f for f in waiting if f.begin <= at]
                waiting = [f for f in waiting if f.begin > at]
                heard = [f for f in inside if not self.inhibited(f, every, at)]
                firing = frozenset(id(f) for f in heard if f.end > at)
                resolved = frozenset(id(f) for f in heard if f.end <= at)
                again = bool(firing) and last >= 0 and at - last > group.route.repeat
                if _worth_telling(firing, resolved, told, ended, last >= 0) or again:
                    new = tuple(f for f in heard if id(f) in firing - known)
                    yield Told(at, group.route.receiver, new, not firing)
                    told, ended, last = firing, resolved, at
                    known |= firing
                inside = [f for f in inside if f.end > at]
                if not inside and not any(f.begin <= at for f in waiting):
                    break
                at += group.route.interval

    def inhibited(self, firing: Firing, every: Sequence[Firing], at: float) -> bool:
        """Whether one of these keeps an alert from everybody at a time."""
        for rule in self._config.get("inhibit_rules", ()):
            if not _matched(rule["target_matchers"], firing.labels):
                continue
            both = _matched(rule["source_matchers"], firing.labels)
            for source in every:
                if source is firing or not source.begin <= at < source.end:
                    continue
                if not _matched(rule["source_matchers"], source.labels):
                    continue
                if both and _matched(rule["target_matchers"], source.labels):
                    continue  # two that are both sides do not silence each other
                equal = rule.get("equal", ())
                if all(source.labels.get(k, "") == firing.labels.get(k, "") for k in equal):
                    return True
        return False


def _worth_telling(
    firing: frozenset[int],
    resolved: frozenset[int],
    told: frozenset[int],
    ended: frozenset[int],
    before: bool,
) -> bool:
    """As Alertmanager's DedupStage: something new fires, all has ended, or more has ended."""
    if not before:
        return bool(firing)
    if not firing <= told:
        return True
    if not firing:
        return bool(told)
    return not resolved <= ended


def _seconds(text: str) -> float:
    return Duration.parse(text).seconds


def _matched(matchers: Sequence[str], labels: Labels) -> bool:
    return all(_one(text, labels) for text in matchers)


def _one(text: str, labels: Labels) -> bool:
    found = _MATCHER.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no matcher")
    name, sign, value = found.groups()
    value = value.replace('\\"', '"').replace("\\\\", "\\")
    is_ = labels.get(name, "")
    if sign in ("=", "!="):
        return (is_ == value) is (sign == "=")
    return (re.fullmatch(value, is_) is not None) is (sign == "=~")
