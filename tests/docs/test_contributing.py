"""CONTRIBUTING.md: each recipe has ten steps, and every file and name in them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, commands

PAGE = "CONTRIBUTING.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
_PLACE = re.compile(
    r"`((?:src|tests|benchmarks|tools|docs)/[\w./-]+|[A-Z]+\.md|\.ci/run)(?:::(\w+))?`"
)


def named(path: Path) -> set[str]:
    """The names that a module defines at its top."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):
                found.add(target.id)
    return found


@pytest.mark.parametrize("recipe", ["Add an alert", "Add a driver", "Add a panel"])
def test_a_recipe_is_ten_steps_with_places(recipe: str) -> None:
    section = TEXT.partition(f"## {recipe}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. ", section, re.MULTILINE) == [str(n) for n in range(1, 11)]
    assert len(_PLACE.findall(section)) >= 8


def test_every_file_and_name_is_there() -> None:
    places = _PLACE.findall(TEXT)
    assert len(places) > 35
    for file, name in places:
        path = ROOT / file
        assert path.exists(), f"{PAGE} names {file}"
        if name:
            assert name in named(path), f"{PAGE} names {file}::{name}"


def test_every_target_is_there_and_its_command_is_one_of_ci() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for words in re.findall(r"`make ([a-z -]+?)(?: [A-Z]+=\S+)?`", TEXT):
        assert set(words.split()) <= targets, words
    assert commands(PAGE) == ["make check"]
    assert "test check" in (ROOT / ".ci/run").read_text(encoding="utf-8")
