"""The form of promtool's unit tests: series, their values, and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from opsloop.catalog.units import Duration
from opsloop.compile.selectors import quote
from opsloop.compile.slo_expected import Count
from opsloop.compile.testseries import number
from opsloop.compile.yamltext import dump

NOTE = "Written by opsloop build; run by promtool test rules."
UNDER_TEST = "under-test"  # an SLI that no tile rule writes
STALE = float("inf")  # stands for promtool's `stale`: the target could not be scraped


def test_file(tests: list[dict[str, Any]], tick: Duration, *groups: str) -> str:
    """A file of tests of these groups, evaluated each tick in this order."""
    value = {
        "rule_files": [f"../rules/{group}.yml" for group in groups],
        "evaluation_interval": str(tick),
        "group_eval_order": list(groups),
        "tests": tests,
    }
    return dump(value, NOTE)


def series(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f"{k}={quote(v)}" for k, v in sorted(labels.items()))
    return f"{name}{{{inside}}}"


def values(counts: Sequence[Count]) -> str:
    """promtool's notation, with runs of equal values in short."""
    return " ".join(_run(value, len(list(run))) for value, run in groupby(counts))


def values_at(found: Mapping[int, float]) -> str:
    """Values at these ticks (0, 1, ...), and nothing between them."""
    parts: list[str] = []
    ticks = sorted(found)
    at = then = 0
    while then < len(ticks):
        first = then
        if ticks[first] > at:
            parts.append(_run(None, ticks[first] - at))
        at = ticks[first]
        while then < len(ticks) and ticks[then] == at and found[at] == found[ticks[first]]:
            at, then = at + 1, then + 1
        parts.append(_run(found[ticks[first]], then - first))
    return " ".join(parts)


def _run(value: Count, length: int) -> str:
    if value is None:
        return f"_x{length}" if length > 1 else "_"
    if value == STALE:
        return " ".join(["stale"] * length)
    return f"{number(value)}x{length - 1}" if length > 1 else number(value)
