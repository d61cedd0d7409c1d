"""Alertmanager's inhibitions, followed for one alert that fires beside one other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.compile.routing import matches

Labels = Mapping[str, str]


def inhibited(rules: Iterable[Mapping[str, Any]], source: Labels, target: Labels) -> bool:
    """Whether `source` keeps `target` from everybody, by one of `inhibit_rules`.

    Two alerts that are both sides of a rule do not inhibit each other by it.
    """
    return any(
        _all(rule["source_matchers"], source)
        and _all(rule["target_matchers"], target)
        and not (_all(rule["source_matchers"], target) and _all(rule["target_matchers"], source))
        and all(source.get(k, "") == target.get(k, "") for k in rule.get("equal", ()))
        for rule in rules
    )


def _all(matchers: Iterable[str], labels: Labels) -> bool:
    return all(matches(m, labels) for m in matchers)
