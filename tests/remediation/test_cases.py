"""Every case file decides as it says, and every guard is needed by one of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsloop.errors import InputError
from opsloop.remediation.cases import Case, differences, parse_case
from opsloop.remediation.decide import decide
from opsloop.remediation.guards import GUARDS
from opsloop.remediation.situation import Situation

FOLDER = Path(__file__).parent.parent / "cases"
FILES = sorted(FOLDER.glob("*.json"))
BASES = {f.stem: json.loads(f.read_text()) for f in sorted((FOLDER / "bases").glob("*.json"))}


def read(file: Path) -> Case:
    return parse_case(file.name, file.read_text(), BASES)


def test_there_are_cases() -> None:
    assert len(FILES) >= 40


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_case(file: Path) -> None:
    case = read(file)
    assert differences(case, decide(case.situation)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_situation_survives_json(file: Path) -> None:
    situation = read(file).situation
    assert Situation.from_json(situation.to_json()) == situation


@pytest.mark.parametrize("guard", [name for name, _ in GUARDS])
def test_each_guard_is_needed(guard: str) -> None:
    """Without the guard, some case that it stops is decided otherwise."""
    left = tuple(pair for pair in GUARDS if pair[0] != guard)
    changed = [
        case.name
        for case in map(read, FILES)
        if case.expected.get("stopped_by") == guard
        and differences(case, decide(case.situation, left))
    ]
    assert changed, f"no case needs the guard {guard}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no case"),
        ('{"name": "x", "base": "nowhere", "expect": {"kind": "act"}}', "nowhere"),
        ('{"name": "x", "base": "errors", "expect": {}}', "no kind"),
        ('{"name": "x", "base": "errors", "expect": {"kind": "act", "why": 1}}', "why"),
        (
            '{"name": "x", "base": "errors", "situation": {"nwo": 1}, "expect": {"kind": "x"}}',
            "nwo",
        ),
    ],
)
def test_a_bad_case_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_case("bad.json", text, BASES)


def test_a_case_that_differs_says_where() -> None:
    case = read(FOLDER / "act-instance-down.json")
    wrong = Case(
        case.name,
        case.situation,
        {"kind": "wait", "reason": "no such words", "guards": {"radius": "refuse"}, "plan": None},
    )
    found = differences(wrong, decide(case.situation))
    assert len(found) == 4
