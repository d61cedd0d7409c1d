"""What a person sees of a drill, on a terminal and in a pipe."""

from __future__ import annotations

import pytest
from rich.console import Console

from opsloop.cli.drill import LineShow, LiveShow
from opsloop.drills.drill import Result
from opsloop.drills.timeline import Page, RunSeen, Stage, Timeline, judge

T0 = 1000.0


def result(*, paged: bool = False) -> Result:
    timeline = Timeline("service-kill", "api", "api:api-0", "ServiceDown", T0)
    timeline.mark(Stage.ACTION, T0 + 4)
    timeline.mark(Stage.ANSWERING, T0 + 4.8)
    timeline.mark(Stage.VERIFIED, T0 + 13)
    timeline.runs = [RunSeen(7, "verified", "api", frozenset({"api:api-0"}), T0 + 4, T0 + 13)]
    if paged:
        timeline.pages = [Page(T0 + 20, "slack", "ServiceDown")]
    return Result(timeline, judge(timeline, timed_out=False), control=False)


def shown(show: LiveShow) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(show._table())
    return capture.get()


def test_lines_say_a_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    show = LineShow("service-kill", to_stderr=False)
    with show:
        show.note("the loop holds back for another 30 s")
        show.note("the loop holds back for another 29 s")
        show.mark(Stage.FAULT, 0.0, "api:api-0")
        show.tick(1.0)
        show.mark(Stage.ANSWERING, 4.8, "")
    show.verdict(result())
    assert capsys.readouterr().out.splitlines() == [
        "drill service-kill",
        "           the loop holds back for another 30 s",
        "+   0.00 s  fault injected: api:api-0",
        "+   4.80 s  answering again",
        "passed: healed by run 7, nobody was paged (answering after 4.8 s, verified after 13.0 s)",
    ]


def test_with_json_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show = LineShow("service-kill", to_stderr=True)
    with show:
        show.verdict(result(paged=True))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "FAILED: healed, but people were told (slack: ServiceDown)" in captured.err


def test_the_table_shows_what_came_what_is_awaited_and_the_pages() -> None:
    show = LiveShow("service-kill", control=False, to_stderr=True)
    show.note("waiting for calm: a run is open")
    assert "waiting for calm: a run is open" in shown(show)
    show.mark(Stage.FAULT, 0.0, "api:api-0 [red]is no markup")
    show.mark(Stage.SEEN, 3.1, "")
    show.tick(3.5)
    lines = [line.rstrip() for line in shown(show).splitlines()]
    assert lines[1].split("  ")[0] == "*"
    assert "[red]is no markup" in lines[1]
    assert lines[3].startswith(">")
    assert "3.5 s  alert fires" in lines[3]
    assert any("0  pages sent" in line for line in lines)
    show.mark(Stage.PAGED, 20.0, "slack: ServiceDown")
    assert "people are told" in shown(show)


def test_a_control_drill_waits_for_people() -> None:
    show = LiveShow("service-kill", control=True, to_stderr=True)
    show.mark(Stage.FAULT, 0.0, "")
    text = shown(show)
    assert "with the loop paused" in text
    assert "people are told" in text
    assert "verified by the loop" not in text
