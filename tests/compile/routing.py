"""Alertmanager's routing tree, followed for one alert: receivers, and when they are told.

amtool shows receivers only; the tests hold this against it, and then trust it with the times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_MATCHER = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)(".*")')
_INHERITED = ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval")


@dataclass(frozen=True, slots=True)
class Reached:
    """One receiver of an alert, by the route that leads to it."""

    receiver: str
    group_by: tuple[str, ...]
    wait: str
    interval: str
    repeat: str
    muted: tuple[str, ...]


def reached(route: Mapping[str, Any], labels: Mapping[str, str]) -> list[Reached]:
    """The receivers of an alert with these labels, in the order of their routes."""
    return [
        Reached(
            receiver=node["receiver"],
            group_by=tuple(node["group_by"]),
            wait=node["group_wait"],
            interval=node["group_interval"],
            repeat=node["repeat_interval"],
            muted=tuple(node.get("mute_time_intervals", ())),
        )
        for node in _follow(route, {}, labels)
    ]


def _follow(
    node: Mapping[str, Any], above: Mapping[str, Any], labels: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    if not all(matches(m, labels) for m in node.get("matchers", ())):
        return
    whole = {k: above[k] for k in _INHERITED if k in above} | dict(node)
    told = False
    for child in node.get("routes", ()):
        found = list(_follow(child, whole, labels))
        yield from found
        told = told or bool(found)
        if found and not child.get("continue", False):
            break
    if not told:
        yield whole


def matches(matcher: str, labels: Mapping[str, str]) -> bool:
    name, wanted, met = _parsed(matcher)
    return (wanted.fullmatch(labels.get(name, "")) is not None) is met


@lru_cache(maxsize=10_000)
def _parsed(matcher: str) -> tuple[str, re.Pattern[str], bool]:
    """(label, what its value must match, whether it must)."""
    found = _MATCHER.fullmatch(matcher)
    assert found, matcher
    name, operator, quoted = found.groups()
    text = json.loads(quoted)
    pattern = re.compile(text if "~" in operator else re.escape(text))
    return name, pattern, not operator.startswith("!")
