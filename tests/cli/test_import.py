"""`opsloop import` on golden pairs: files of other tools, the catalog, and what is said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from opsloop.catalog.load import load
from opsloop.cli.main import cli
from tests.cli.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "import"
CASES = sorted(p.name for p in GOLDEN.iterdir() if p.is_dir())
Run = Callable[..., Result]


def imported(case: str, *arguments: str) -> Result:
    here = Path.cwd()
    os.chdir(GOLDEN)
    try:
        return CliRunner().invoke(cli, ["import", case, *arguments], catch_exceptions=False)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("case", CASES)
def test_pair(case: str) -> None:
    done = imported(case)
    assert done.exit_code == 0
    assert done.stdout == (GOLDEN / f"{case}.catalog.yaml").read_text()
    assert done.stderr == (GOLDEN / f"{case}.report.txt").read_text()


def test_the_pairs_are_whole() -> None:
    assert len(CASES) >= 8
    for suffix in (".catalog.yaml", ".report.txt"):
        assert sorted(p.name.removesuffix(suffix) for p in GOLDEN.glob(f"*{suffix}")) == CASES


@pytest.mark.parametrize("case", CASES)
def test_the_catalog_is_fine_and_says_what_was_meant(case: str, tmp_path: Path) -> None:
    value = json.loads(imported(case, "--json").stdout)
    path = tmp_path / "opsloop.yaml"
    path.write_text(value["catalog"])
    loaded = load(path, {})
    assert loaded.warnings == ()
    there = {(s, n) for s, service in loaded.catalog.services.items() for n in service.slos}
    assert there == {(slo["service"], slo["slo"]) for slo in value["slos"]}
    for slo in value["slos"]:
        assert slo["exact"] == (slo["sli"] == "events") == (not slo["why"])
