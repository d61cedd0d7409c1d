"""The form of promtool's unit tests: series, their values, and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    parts: list[str] = []
    at = 0
    while at < len(counts):
        run = 1
        while at + run < len(counts) and counts[at + run] == counts[at]:
            run += 1
        value = counts[at]
        if value is None:
            parts.append(f"_x{run}" if run > 1 else "_")
        elif value == STALE:
            parts += ["stale"] * run
        else:
            parts.append(f"{number(value)}x{run - 1}" if run > 1 else number(value))
        at += run
    return " ".join(parts)
