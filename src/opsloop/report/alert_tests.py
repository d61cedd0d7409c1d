"""Which alert is tested for what: the unit tests of a bundle as a table, alert by kind of case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from opsloop.catalog.units import Duration

Kind = Literal["fires", "just below", "moment", "resolves", "no data", "restart", "quiet"]
KINDS: tuple[Kind, ...] = (
    "fires",
    "just below",
    "moment",
    "resolves",
    "no data",
    "restart",
    "quiet",
)
RULES, TESTS = "prometheus/rules/", "prometheus/tests/"
# What a test's name tells of the data that it shows. Firing, resolving and quiet are read from
# its checks.
_TOLD: dict[Kind, re.Pattern[str]] = {
    "just below": re.compile(
        r"\b(below|within|under) its\b|\bfewer than\b|at the factor|an error is left|a few errors|"
        r"\bhandful\b|\bslower pace\b|\bthere is room\b|\bfire for one\b|cannot tell"
    ),
    "moment": re.compile(r"\bmoment|\bburst|\bflap|\bspike|\bblip|for a short|\bonce\b"),
    "no data": re.compile(
        r"\bno (data|traffic|events|series)\b|without any data|\bthe series end|\bgone\b|"
        r"data that stops|\babsent|\bmissing|\bidle\b|\bnever (ran|was|heard)\b|nearly empty|"
        r"\bno longer (there|told)\b|\bheard no more\b|\bnot scraped\b"
    ),
    "restart": re.compile(r"\brestart|counter (starts|begins|is reset)|\breset\b"),
}
_ASKED = re.compile(r'ALERTS\{[^}]*alertname="([A-Za-z0-9_]+)"')


@dataclass(frozen=True, slots=True)
class Case:
    """One unit test, as far as it is about one alert. `path`: its file in the bundle."""

    alert: str
    path: str
    name: str
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One alert: how many of its tests are of each kind (one may be of several), and in all."""

    alert: str
    counts: Mapping[Kind, int]
    tests: int
    failed: tuple[str, ...] = ()  # names of tests
    failed_kinds: Mapping[Kind, int] = field(default_factory=dict)

    def cell(self, kind: Kind) -> str:
        count, bad = self.counts.get(kind, 0), self.failed_kinds.get(kind, 0)
        return f"{count} ({bad} failed)" if bad else str(count or "-")


def cases_of(files: Mapping[str, str]) -> list[Case]:
    """Every test of the bundle's test files that checks an alert. files: path -> text."""
    found: list[Case] = []
    for path in sorted(files):
        if path.startswith(TESTS):
            for test in _read(files[path]).get("tests", []):
                found += _cases(path, test)
    return found


def alerts_of(files: Mapping[str, str]) -> list[str]:
    """The names of all alerting rules of the bundle."""
    return sorted(
        {
            str(rule["alert"])
            for path, text in files.items()
            if path.startswith(RULES)
            for group in _read(text)["groups"]
            for rule in group["rules"]
            if "alert" in rule
        }
    )


def table(
    files: Mapping[str, str], failed: Mapping[str, frozenset[str]] | None = None
) -> list[Row]:
    """A row for each alert of the bundle, also for one without a test.

    failed: test file -> names of its tests that failed; empty where the names are not known, and
    then all of the file's tests count as failed.
    """
    failed = failed or {}
    by_alert: dict[str, list[Case]] = {alert: [] for alert in alerts_of(files)}
    for case in cases_of(files):
        by_alert.setdefault(case.alert, []).append(case)
    rows = []
    for alert, cases in sorted(by_alert.items()):
        bad = [c for c in cases if _failed(c, failed)]
        rows.append(Row(alert, _count(cases), len(cases), tuple(c.name for c in bad), _count(bad)))
    return rows


def lines(rows: Iterable[Row]) -> tuple[list[str], list[list[str]]]:
    """(headers, cells) of the table as people read it, with the sum as its last row."""
    rows = list(rows)
    headers = ["alert", *KINDS, "tests", "result"]
    cells = [
        [row.alert, *(row.cell(k) for k in KINDS), str(row.tests), _result(row)] for row in rows
    ]
    sums = [str(sum(row.counts.get(k, 0) for row in rows)) for k in KINDS]
    bad = sum(len(row.failed) for row in rows)
    tests = sum(row.tests for row in rows)
    word = f"{bad} failed" if bad else "ok"
    return headers, [*cells, [f"{len(rows)} alerts", *sums, str(tests), word]]


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The table for programs: one object for each alert."""
    return [
        {
            "alert": row.alert,
            "kinds": {kind: row.counts.get(kind, 0) for kind in KINDS},
            "tests": row.tests,
            "failed": list(row.failed),
        }
        for row in rows
    ]


def _result(row: Row) -> str:
    if row.failed:
        return f"{len(row.failed)} failed"
    return "ok" if row.tests else "untested"


def _count(cases: Iterable[Case]) -> dict[Kind, int]:
    counts: dict[Kind, int] = {}
    for case in cases:
        for kind in case.kinds:
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _failed(case: Case, failed: Mapping[str, frozenset[str]]) -> bool:
    names = failed.get(case.path)
    return names is not None and (not names or case.name in names)


def _cases(path: str, test: Mapping[str, Any]) -> Iterator[Case]:
    name = str(test.get("name", ""))
    checks: dict[str, list[tuple[Duration, bool]]] = {}
    for check in test.get("alert_rule_test") or ():
        at = Duration.parse(str(check["eval_time"]))
        checks.setdefault(check["alertname"], []).append((at, bool(check.get("exp_alerts"))))
    for check in test.get("promql_expr_test") or ():
        if asked := _ASKED.search(check["expr"]):
            at = Duration.parse(str(check["eval_time"]))
            checks.setdefault(asked.group(1), []).append((at, bool(check.get("exp_samples"))))
    for alert, found in sorted(checks.items()):
        yield Case(alert, path, name, _kinds(name, [firing for _, firing in sorted(found)]))


def _kinds(name: str, firing: list[bool]) -> tuple[Kind, ...]:
    """firing: at each check, in the order of time."""
    kinds: set[Kind] = {kind for kind, told in _TOLD.items() if told.search(name)}
    if any(firing):
        kinds.add("fires")
        if not all(firing[firing.index(True) :]):
            kinds.add("resolves")
    elif not kinds:
        kinds.add("quiet")
    return tuple(k for k in KINDS if k in kinds)


def _read(text: str) -> Any:
    # The same safe loader in C, where PyYAML was built with it.
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
