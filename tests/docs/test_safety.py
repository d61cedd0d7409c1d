"""The safety page: every test that it names is there, and each invariant has one."""

from __future__ import annotations

import re

from benchmarks import keep
from opsloop.remediation.guards import GUARDS
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "concepts" / "safety.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 25
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^\s*def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_each_invariant_has_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|.*$", PAGE, re.MULTILINE)
    assert rows == [str(n) for n in range(1, 16)]
    for line in PAGE.splitlines():
        if re.match(r"\| \d+ \|", line):
            assert "::test_" in line, line


def test_the_guards_are_those_of_the_code_in_their_order() -> None:
    (block,) = re.findall(r"^    known, .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    named = [
        w for line in block.splitlines() for w in re.split(r"  +", line.strip())[0].split(", ")
    ]
    assert [w for w in named if w] == [name for name, _ in GUARDS]


def test_the_figures_are_those_that_are_kept() -> None:
    assert keep.with_numbers(PAGE, keep.TRUST) == PAGE, "run: python -m benchmarks.keep readme"
