"""The one table over all benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import every, keep


def test_the_benchmarks_are_those_that_report_under_their_name() -> None:
    names = every.names()
    assert {"loop", "slo", "slo_cost", "compile", "intake", "alert_quality"} <= set(names)
    assert not {"every", "keep", "alert_world", "slo_traffic"} & set(names)


def test_what_is_kept_is_of_a_benchmark_and_names_its_machine() -> None:
    for path in keep.RESULTS.glob("*.json"):
        assert path.stem in every.names(), path
        found = json.loads(path.read_text(encoding="utf-8"))
        assert found["benchmark"] == path.stem
        assert {"cpus", "cpu", "memory_mib", "kernel", "python"} <= set(found["machine"])


def test_the_table_shows_goal_measured_and_limit() -> None:
    figure = {"name": "p95", "value": 5.0, "unit": "s", "goal": 8.5, "op": "<=", "met": True,
              "peer": "", "limit": "the scrape", "note": ""}  # fmt: skip
    found = [
        {
            "benchmark": "loop",
            "machine": {},
            "results": [
                figure,
                figure | {"name": "slow", "value": 9.0, "met": False},
                figure | {"name": "lost", "value": None, "met": None},
                figure | {"name": "no goal", "goal": None, "met": None},
            ],
        }
    ]
    lines = every.table(every.rows(found, every=False)).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "benchmark figure measured goal met limited by",
        "loop p95 5 s <= 8.5 yes the scrape",
        "loop slow 9 s <= 8.5 NO the scrape",
        "loop lost - <= 8.5 - the scrape",
    ]
    assert len(every.rows(found, every=True)) == 4


def test_a_benchmark_that_does_not_run_is_named_and_the_others_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = {"benchmark": "slo", "machine": {"cpus": 2}, "results": []}
    monkeypatch.setattr(keep, "measure", lambda name, more: found if name == "slo" else None)
    monkeypatch.setattr(
        "sys.argv", ["every", "--quick", "loop", "slo", "--json", str(tmp_path / "all.json")]
    )
    assert every.main() == 1
    assert "loop did not run" in capsys.readouterr().err
    assert json.loads((tmp_path / "all.json").read_text()) == [found]
