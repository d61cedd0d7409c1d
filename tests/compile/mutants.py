"""Rules broken on purpose: each mutant is one small change that a test must see."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opsloop.catalog.units import Duration

Rule = dict[str, Any]

_NUMBER = re.compile(r"(?<![\w.\[{\"/:-])\d+(?:\.\d+)?(?![\w.\]\"])")
_WINDOW = re.compile(r"\[(\d\w*)((?::\w+)?)\]")  # of a subquery with its step
_OFFSET = re.compile(r"(?<= offset )\d\w*")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)("(?:[^"\\]|\\.)*"),?')
_BY = re.compile(r"by \(([^)]*)\)")
_SWAPS = (
    (" > ", " < "),
    (" == ", " != "),
    (" < ", " > "),
    (" <= ", " >= "),
    ("\nunless\n", "\nand\n"),
    ("\nand\n", "\nor\n"),
    ("\nand\n", "\nunless\n"),
    ("sum by", "max by"),
    ("min by", "max by"),
    ("max by", "min by"),
    ("rate(", "irate("),
    (" / ", " * "),
    ("\n/\n", "\n*\n"),
    ("1 - ", "1 + "),
)


@dataclass(frozen=True)
class Mutant:
    what: str
    rule: Rule


def mutants(rule: Rule) -> Iterator[Mutant]:
    """All mutants of an alerting rule."""
    seen = {rule["expr"]}
    times: Counter[str] = Counter()
    for what, expr in _expressions(rule["expr"]):
        if expr not in seen:
            seen.add(expr)
            times[what] += 1  # the same words of another place
            yield Mutant(f"{what} ({times[what]})", rule | {"expr": expr})
    yield from _waits(rule)
    for name, value in rule["labels"].items():
        yield Mutant(f"label {name} dropped", rule | {"labels": _without(rule["labels"], name)})
        yield Mutant(
            f"label {name} changed", rule | {"labels": {**rule["labels"], name: value + "x"}}
        )
    for name, value in rule["annotations"].items():
        changed = {**rule["annotations"], name: value + "."}
        yield Mutant(f"annotation {name} changed", rule | {"annotations": changed})


def _waits(rule: Rule) -> Iterator[Mutant]:
    if "for" in rule:
        doubled = Duration(2 * int(Duration.parse(rule["for"])))
        yield Mutant("for dropped", _without(rule, "for"))
        yield Mutant("for doubled", rule | {"for": str(doubled)})
    else:
        yield Mutant("for added", rule | {"for": "10s"})


def _without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != name}


def _expressions(expr: str) -> Iterator[tuple[str, str]]:
    for match in _NUMBER.finditer(expr):
        number = float(match.group())
        for changed in (number * 1.1, number * 0.9) if number else (1.0,):
            yield f"{match.group()} to {changed:g}", _spliced(expr, match, f"{changed:g}")
    for match in _WINDOW.finditer(expr):
        window = int(Duration.parse(match.group(1)))
        for changed in (Duration(window * 2), Duration(window // 2)):
            text = f"[{changed}{match.group(2)}]"
            yield f"{match.group()} to {text}", _spliced(expr, match, text)
    # On one side alone an alert has no partner at any other time.
    for offset in sorted({m.group() for m in _OFFSET.finditer(expr)}):
        longer = Duration(2 * int(Duration.parse(offset)))
        yield f"offset {offset} to {longer}", _OFFSET.sub(str(longer), expr)
        yield f"offset {offset} dropped", expr.replace(f" offset {offset}", "")
    for before, after in _SWAPS:
        for match in re.finditer(re.escape(before), expr):
            yield f"{before.strip()} to {after.strip()}", _spliced(expr, match, after)
    for match in _MATCHER.finditer(expr):
        label, op, value = match.groups()
        opposite = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[op]
        comma = "," if match.group().endswith(",") else ""
        yield f"{match.group()} negated", _spliced(expr, match, f"{label}{opposite}{value}{comma}")
        # On one side of a division alone it would change nothing: the other side has no partner.
        matcher = re.escape(match.group().removesuffix(","))
        yield f"every {label} matcher dropped", re.sub(f"{matcher},?", "", expr).replace(",}", "}")
    for match in _BY.finditer(expr):
        for label in (labels := match.group(1).split(", ")):
            rest = ", ".join(x for x in labels if x != label)
            yield f"by {label} dropped", _spliced(expr, match, f"by ({rest})")
    for joint in ("\nand\n", "\nor\n"):
        parts = expr.split(joint)
        for at in range(len(parts) if len(parts) > 1 else 0):
            rest = joint.join(p for n, p in enumerate(parts) if n != at)
            if rest.count("(") == rest.count(")"):
                yield f"part {at} of {joint.strip()} dropped", rest


def _spliced(expr: str, match: re.Match[str], text: str) -> str:
    return expr[: match.start()] + text + expr[match.end() :]
