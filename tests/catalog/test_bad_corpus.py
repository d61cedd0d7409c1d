"""Each bad/NAME.yaml breaks one rule; bad/NAME.txt holds exactly what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop.catalog.load import load
from opsloop.errors import CatalogError

BAD = Path(__file__).parent / "bad"
CASES = sorted(p.stem for p in BAD.glob("*.yaml"))


@pytest.mark.parametrize("name", CASES)
def test_says_exactly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(CatalogError) as caught:
        load(Path(f"{name}.yaml"), {})
    assert str(caught.value) == (BAD / f"{name}.txt").read_text().rstrip("\n")


def test_the_corpus_is_whole() -> None:
    assert len(CASES) > 80
    assert sorted(p.stem for p in BAD.glob("*.txt")) == CASES


@pytest.mark.parametrize("name", CASES)
def test_every_problem_has_its_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(CatalogError) as caught:
        load(Path(f"{name}.yaml"), {})
    lines = len((BAD / f"{name}.yaml").read_text().splitlines())
    for problem in caught.value.problems:
        assert problem.file == f"{name}.yaml"
        assert problem.message
        assert 0 <= problem.line <= lines + 1
        # Only a file that is empty as a whole has no line.
        assert problem.line or name == "empty"
