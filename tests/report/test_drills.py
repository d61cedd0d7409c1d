"""The report on a series of drills."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from opsloop.cli import drill_all
from opsloop.drills.drill import Result
from opsloop.drills.kinds import DRILLS
from opsloop.drills.timeline import RunSeen, Stage, Timeline, as_json, judge
from opsloop.errors import ArgumentError, NotRunning, StackError
from opsloop.report import drills as report


def drill(name: str = "service-kill", **facts: Any) -> dict[str, Any]:
    timeline = Timeline(name, "api", "api:api-0", "ServiceDown", 1000.0)
    timeline.mark(Stage.RECEIVED, 1003.0)
    timeline.mark(Stage.ACTION, 1004.0)
    timeline.mark(Stage.ANSWERING, 1004.5)
    timeline.mark(Stage.VERIFIED, 1015.0)
    timeline.runs = [RunSeen(7, "verified", "api", frozenset({"api:api-0"}), 1004.0, 1015.0)]
    result = Result(timeline, judge(timeline, timed_out=False), control=False)
    return as_json(timeline, result.verdict, control=False) | facts


def control() -> dict[str, Any]:
    return drill(
        control=True, healed=False, pages=2, paged_s=48.0, answering_s=None, verified_s=None,
        action_s=None, reason="stayed broken without the loop, and people were told",
    )  # fmt: skip


def test_means_are_of_what_the_loop_healed_alone() -> None:
    series = report.Series(3, (drill(), drill("service-hang", answering_s=8.5), control()))
    assert (series.mttd_s, series.mttr_s, series.verified_s) == (3.0, 6.5, 15.0)
    assert series.passed
    said = report.as_json(series)
    assert (said["healed"], said["drills"], said["pages"]) == (2, 2, 0)
    assert (said["control_pages"], said["control_paged_s"]) == (2, 48.0)


def test_what_was_not_seen_is_no_zero() -> None:
    lost = drill(detected_s=None, answering_s=None, verified_s=None, passed=False, healed=False)
    series = report.Series(1, (drill(), lost))
    assert series.mttd_s == 3.0
    assert not series.passed
    assert report.rows(series)[1][1:6] == ("FAILED", "-", "4.0 s", "-", "-")
    assert report.Series(1, (lost,)).mttd_s is None
    assert not report.Series(1, ()).passed


def test_it_says_what_the_loop_is_worth() -> None:
    text = "\n".join(report.sentences(report.Series(9, (drill(), control()))))
    assert "1 of 1 healed by the loop; people were told never" in text
    assert (
        "without the loop service-kill stayed broken, people were told of it after 48.0 s" in text
    )
    assert "with the loop it answered after 4.5 s" in text
    assert "seed 9" in text


def test_the_page_stands_alone_and_takes_any_text() -> None:
    wild = drill(reason="<script>alert('x')</script> & more")
    text = report.page(report.Series(1, (wild, control())), "2030-01-02 03:04 UTC")
    assert "<script>" not in text
    assert "http://" not in text
    assert "https://" not in text
    tree = ET.fromstring(text.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', ""))
    drawn = list(tree.iter("svg"))
    assert len(drawn) == 2
    assert "48.00 s people are told" in [t.text for t in drawn[1].iter("text")]


def test_the_order_is_every_drill_once_by_its_seed() -> None:
    first = list(drill_all.order(5, control=True, only_controls=False))
    assert first == list(drill_all.order(5, control=True, only_controls=False))
    assert first[-1] == (drill_all.CONTROL, True)
    assert sorted(name for name, _ in first[:-1]) == sorted(DRILLS)
    orders = {tuple(drill_all.order(s, control=False, only_controls=False)) for s in range(20)}
    assert len(orders) > 5
    assert all(paused for _, paused in drill_all.order(1, control=True, only_controls=True))


@pytest.mark.parametrize("broken", [False, True])
def test_all_of_them_make_one_report(
    broken: bool, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, paused: bool) -> dict[str, Any]:
        if paused:
            return control()
        return drill(name, passed=not (broken and name == "overload"))

    code = drill_all.run_all(
        run, 4, control=True, only_controls=False, page=tmp_path / "new/drills.html", as_json=False
    )
    assert code == (1 if broken else 0)
    said = capsys.readouterr().out
    assert said.count("passed") == len(DRILLS) + 1 - broken
    assert "seed 4" in said
    assert (tmp_path / "new/drills.html").read_text().startswith("<!doctype html>")


def test_one_that_cannot_be_done_does_not_end_the_others(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, paused: bool) -> dict[str, Any]:
        if name == "overload":
            raise StackError("drill overload", "the stack is not healthy before it: x")
        if name == "database-down":
            raise ArgumentError("drill database-down", "api depends on no service with a process")
        return control() if paused else drill(name)

    page = tmp_path / "drills.html"
    words: dict[str, Any] = {"control": True, "only_controls": False, "page": page, "as_json": True}
    assert drill_all.run_all(run, 4, **words) == 1
    shown = capsys.readouterr()
    assert "not run: drill database-down: api depends on no service with a process" in shown.err
    found = json.loads(shown.out)
    assert {d["drill"]: d["passed"] for d in found["results"]}["overload"] is False
    assert found["drills"] == len(DRILLS) - 1
    assert "the stack is not healthy before it: x" in page.read_text()

    def nothing_runs(name: str, paused: bool) -> dict[str, Any]:
        raise NotRunning("the stack", "is not up")

    with pytest.raises(NotRunning):
        drill_all.run_all(nothing_runs, 4, **words)
