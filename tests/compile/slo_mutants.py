"""SLO rules broken on purpose: each mutant is one small change that a generated test must see."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opsloop.catalog.units import Duration

Rule = dict[str, Any]

_RANGE = re.compile(r"\[(\d+[a-z0-9]*)\]")
_OFFSET = re.compile(r" offset (\d[a-z0-9]*)")
# A number by itself: not in a name, a range, an offset, a string or a duration.
_NUMBER = re.compile(r"(?<![\w.\[:\"%-])(?<!offset )\d+(?:\.\d+)?(?![\w.\]%\"])")
_COMPARISON = re.compile(r" (>=|<=|>|<)( bool)? ")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
_SWAPS = (
    ("sum_over_time(", "count_over_time("),
    ("count_over_time(", "sum_over_time("),
    ("last_over_time(", "count_over_time("),
    ("max by", "min by"),
    ("group_left", "group_right"),
    (" % ", " + "),
    (" * ", " / "),
    (" / ", " * "),
    (" + ", " - "),
    (" - ", " + "),
    ("1 - ", "1 + "),
    ("\n+\n", "\n-\n"),
    ("\n/\n", "\n*\n"),
    ("\n/ ", "\n* "),
    ("\n* ", "\n/ "),
    ("\n- ", "\n+ "),
    ("    -\n", "    +\n"),
    ("(-last", "(last"),
    ("clamp_max(", "clamp_min("),
    ("clamp_min(", "clamp_max("),
    ("month(", "hour("),
)
_SETS = re.compile(r"\b(and|or|unless)\b")


@dataclass(frozen=True)
class Mutant:
    what: str
    rule: Rule


def sampled(words: str, every: int) -> bool:
    """Whether a mutant of these words is among each `every`th, whatever stands beside it."""
    return zlib.crc32(words.encode()) % every == 0


def mutants(rule: Rule) -> list[Mutant]:
    """All different mutants of a rule; of several of the same words, all but the first are told
    apart by a number: "> to >= (2)"."""
    seen = {rule["expr"]}
    found: list[Mutant] = []
    alike: Counter[str] = Counter()
    for what, expr in _expressions(rule["expr"]):
        if expr not in seen:
            seen.add(expr)
            alike[what] += 1
            words = f"{what} ({alike[what]})" if alike[what] > 1 else what
            found.append(Mutant(words, rule | {"expr": expr}))
    return [*found, *_around(rule)]


def _around(rule: Rule) -> Iterator[Mutant]:
    if "for" in rule:
        wait = Duration.parse(rule["for"])
        yield Mutant("for dropped", {k: v for k, v in rule.items() if k != "for"})
        for changed in (int(wait) + 60_000, int(wait) - 60_000):
            yield Mutant("for changed", rule | {"for": str(Duration(changed))})
    elif "alert" in rule:
        yield Mutant("for added", rule | {"for": "1m"})
    for name, value in rule.get("labels", {}).items():
        yield Mutant(f"label {name}", rule | {"labels": {**rule["labels"], name: value + "x"}})
    for name, value in rule.get("annotations", {}).items():
        changed_text = {**rule["annotations"], name: value + "."}
        yield Mutant(f"annotation {name}", rule | {"annotations": changed_text})


def _expressions(expr: str) -> Iterator[tuple[str, str]]:
    for match in _RANGE.finditer(expr):
        window = int(Duration.parse(match.group(1)))
        # One that holds its left end too; a tile or a page more and less.
        steps = (1, 60_000, -60_000) if window <= 3_600_000 else (1, 3_600_000, -3_600_000)
        for step in steps:
            if window + step > 0:
                changed = f"[{window + step}ms]"
                yield f"{match.group()} to {changed}", _spliced(expr, match, changed)
    for match in _OFFSET.finditer(expr):
        offset = int(Duration.parse(match.group(1)))
        step = 60_000 if offset <= 3_600_000 else 3_600_000
        yield f"{match.group().strip()} dropped", _spliced(expr, match, "")
        longer = f" offset {offset + step}ms"
        yield f"{match.group().strip()} longer", _spliced(expr, match, longer)
    for match in _NUMBER.finditer(expr):
        number = float(match.group())
        whole = number == int(number) and number < 1000
        for changed_to in (number + 1, number - 1) if whole else (number * 1.07, number * 0.93):
            yield f"{match.group()} to {changed_to:g}", _spliced(expr, match, f"{changed_to:.10g}")
    for match in _COMPARISON.finditer(expr):
        for other in (">", ">=", "<", "<="):
            text = f" {other}{match.group(2) or ''} "
            yield f"{match.group(1)} to {other}", _spliced(expr, match, text)
    for match in _SETS.finditer(expr):
        for other in ("and", "or", "unless"):
            yield f"{match.group()} to {other}", _spliced(expr, match, other)
    for before, after in _SWAPS:
        for nth, match in enumerate(re.finditer(re.escape(before), expr), 1):
            yield f"{before.strip()} to {after.strip()} {nth}", _spliced(expr, match, after)
    for match in _MATCHER.finditer(expr):
        label, op, value = match.groups()
        opposite = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[op]
        changed = f'{label}{opposite}"{value}"'
        yield f"{match.group()} negated", _spliced(expr, match, changed)


def _spliced(expr: str, match: re.Match[str], text: str) -> str:
    return expr[: match.start()] + text + expr[match.end() :]
