"""Rows keep their fields, tables and pages say what happened, odd text does no harm."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import Action, Plan, RunState
from opsloop.remediation.ports import StepResult
from opsloop.report import episodes, runs
from opsloop.report.page import page
from opsloop.report.times import clock, length, printable, since, stamp
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import START, act, alert, plan, started, taken

NOW = START + 500


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "engine.sqlite") as opened:
        yield opened


def healed(store: SqliteStore) -> int:
    """A run of two actions that healed its episode."""
    begin = START + 2
    store.intake([alert(instance="127.0.0.1:8000")], begin)
    episode = store.due(begin, 1)[0]
    run = store.record(act(episode, plan("api:api-0", "api:api-1")), begin + 0.01)
    assert run is not None
    for index in range(2):
        at = begin + 1 + index
        store.begin_action(run, index, at)
        store.end_action(
            run, index, StepResult(True, True, f"SIGKILL\npid {index} serves"), at + 0.5
        )
    before = {"condition": True, "value": 0.0, "fresh_at": begin, "reason": "it holds"}
    store.move_run(run, RunState.VERIFYING, "acted", begin + 3, detail={"before": before})
    after = {"condition": False, "sli": 0.9876543, "fresh_at": begin + 9, "answering": True}
    store.move_run(
        run,
        RunState.VERIFIED,
        "good for 6 s",
        begin + 9,
        good_since=begin + 3,
        detail={"after": after},
    )
    store.set_episode(episode.id, EpisodeState.HEALED, "good for 6 s", None, begin + 9)
    return run.id


# Rows


def test_the_fields_of_an_episode_stay(store: SqliteStore) -> None:
    row = episodes.row(taken(store))
    assert list(row) == [
        *("id", "alert", "severity", "service", "instance", "team", "policy", "firing", "state"),
        *("reason", "starts_at", "received_at", "last_seen_at", "ended_at", "next_decision_at"),
        *("fingerprint", "labels", "annotations"),
    ]
    assert row["starts_at"] == "2023-11-14T22:13:20.125Z"
    assert (row["alert"], row["service"], row["instance"]) == ("ServiceDown", "api", None)
    assert row["ended_at"] is None
    json.dumps(row)


def test_the_fields_of_a_run_stay(store: SqliteStore) -> None:
    row = runs.row(started(store))
    assert list(row) == [
        *("id", "episode", "policy", "service", "attempt", "step", "state", "reason"),
        *("resources", "plan_hash", "created_at", "acting_at", "acted_at", "finished_at"),
        "good_since",
    ]
    assert (row["state"], row["resources"], row["finished_at"]) == ("planned", ["api:api-0"], None)


def test_the_fields_of_a_story_stay(store: SqliteStore) -> None:
    told = runs.story(runs.gather(store, healed(store)))
    assert list(told)[-7:] == [
        *("detail", "about", "guards", "decision", "actions", "timeline", "escalation"),
    ]
    assert list(told["actions"][0]) == [
        *("index", "kind", "target", "wanted", "limit_s", "began_at", "ended_at", "ok"),
        *("started", "output"),
    ]
    assert told["actions"][1]["output"] == "SIGKILL\npid 1 serves"
    assert told["decision"] == "it is down"
    assert told["escalation"] is None
    assert [t["kind"] for t in told["timeline"]] == [
        *("decision", "action", "action-end", "action", "action-end", "run", "run"),
    ]
    json.dumps(told, allow_nan=False)


def test_lines_of_tables_have_as_many_cells_as_headers(store: SqliteStore) -> None:
    run = started(store)
    assert len(runs.cells(run, NOW)) == len(runs.HEADERS)
    cells = episodes.cells(store.episode(run.episode_id), NOW)
    assert len(cells) == len(episodes.HEADERS)
    assert cells[5:8] == ("running", "11-14 22:13:20", "8 min")
    store.end_episodes([run.episode_id], START + 30)
    assert episodes.cells(store.episode(run.episode_id), NOW)[5:8] == (
        "running, ended",
        "11-14 22:13:20",
        "30 s",
    )


# The page


def test_a_page_tells_the_whole_story(store: SqliteStore) -> None:
    text = page(runs.gather(store, healed(store)))
    for part in (
        "Run 1: restart-down on api, attempt 1: verified\ngood for 6 s\n",
        "ServiceDown of api, P0, episode 1",
        "instance=127.0.0.1:8000",
        "summary: it is down",
        "  it is down\n    pass  mode: auto\n    pass  paused: The kill switch is not on\n",
        "1. restart api:api-0: done, took 0.5 s\n       SIGKILL\n       pid 0 serves\n",
        "the fault is there    yes                   no",
        "service level         -                     0.987654",
        "newest sample         11-14 22:13:22        11-14 22:13:31",
        "before: it holds",
        "Verdict: verified\n  good since 2023-11-14T22:13:25.125Z",
        "the alert still fires; the episode is healed (good for 6 s)",
        "22:13:20.125              the alert began to fire",
        "22:13:22.125      +0.0 s  the engine received it",
        "22:13:31.125      +9.0 s  verifying -> verified: good for 6 s",
    ):
        assert part in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_page_of_a_crash_says_what_is_not_known(store: SqliteStore) -> None:
    run = started(store, what=plan("api:api-0", "api:api-1"))
    store.begin_action(run, 0, 102.0)
    store.move_run(run, RunState.UNKNOWN, "the engine stopped during its action", 103.0)
    text = page(runs.gather(store, run.id))
    assert "1. restart api:api-0: began 1970-01-01T00:01:42.000Z, its end is not known" in text
    assert "2. restart api:api-1: not begun" in text
    assert "Evidence: none was recorded" in text
    assert "Verdict: unknown" in text


def test_a_page_of_a_failure_says_that_people_were_told(store: SqliteStore) -> None:
    run = started(store)
    store.begin_action(run, 0, 102.0)
    store.end_action(run, 0, StepResult(ok=False, started=False, output=""), 103.0)
    store.move_run(run, RunState.FAILED, "no", 104.0)
    episode = store.episode(run.episode_id)
    store.escalate(episode, run.id, "all steps were tried", {"a": "b"}, {}, 105.0)
    told = runs.gather(store, run.id)
    text = page(told)
    assert "failed, nothing was started, took 1.0 s" in text
    assert "people were told at 1970-01-01T00:01:45.000Z" in text
    assert "people are told: all steps were tried" in text
    shown = runs.story(told)["escalation"]
    assert (shown["run"], shown["labels"]) == (run.id, {"a": "b"})


def test_a_scale_action_names_its_number(store: SqliteStore) -> None:
    scale = Plan("p", "api", 0, (Action("scale_out", "api", "api", wanted=3),), ("api",))
    run = started(store, what=scale)
    assert "scale_out api to 3" in runs.cells(run, NOW)
    assert "1. scale_out api to 3: not begun" in page(runs.gather(store, run.id))
    assert runs.story(runs.gather(store, run.id))["actions"][0]["wanted"] == 3


ODD = "a\x1b[2J\x00\u202eb\r\nFAKE LINE\u2028c"


def test_text_from_elsewhere_cannot_write_over_the_page(store: SqliteStore) -> None:
    odd = dataclasses.replace(alert(note=ODD), annotations={"summary": ODD, "runbook": ODD})
    store.intake([odd], 100.0)
    episode = store.due(100.0, 1)[0]
    run = store.record(dataclasses.replace(act(episode), reason=ODD), 101.0)
    assert run is not None
    store.begin_action(run, 0, 102.0)
    store.end_action(run, 0, StepResult(True, True, ODD), 103.0)
    store.move_run(run, RunState.VERIFYING, ODD, 104.0, detail={"before": {"odd": ODD}})
    told = runs.gather(store, run.id)
    for line in page(told).splitlines():
        assert line.isprintable(), line
        assert not line.startswith("FAKE")
    for cell in (*runs.cells(run, NOW), *episodes.cells(store.episode(episode.id), NOW)):
        assert cell.isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_evidence_has_a_page(detail: Any) -> None:
    told = _story({"before": detail, "after": {"value": detail, "fresh_at": detail}, "x": detail})
    assert all(line.isprintable() for line in page(told).splitlines())


def _story(detail: dict[str, Any]) -> runs.Story:
    from opsloop.remediation.episode import Episode
    from opsloop.remediation.plan import Run

    episode = Episode(1, "a1", START, {}, {}, True, EpisodeState.NEW, START, START, None, None, "")
    run = Run(
        1,
        1,
        "p",
        "api",
        0,
        RunState.VERIFYING,
        plan(),
        1,
        START,
        None,
        None,
        None,
        None,
        "",
        detail,
    )
    return runs.Story(run, episode, [], [])


# Times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-5, "0.0 s"),
        (0.44, "0.4 s"),
        (42, "42 s"),
        (119.4, "119 s"),
        (720, "12 min"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (187_200, "2 d 4 h"),
        (172_800, "2 d"),
    ],
)
def test_lengths(seconds: float | None, text: str) -> None:
    assert length(seconds) == text


def test_moments() -> None:
    assert stamp(None) is None
    assert stamp(0.0004) == "1970-01-01T00:00:00.000Z"
    assert stamp(1.9996) == "1970-01-01T00:00:02.000Z"
    assert clock(None) == ""
    for odd in (float("nan"), float("inf"), 253402300800.0, -1e30):
        assert stamp(odd) is None
        assert clock(odd) == ""
    assert since(5.0, 2.0) == "+3.0 s"
    assert since(None, 2.0) == since(2.0, None) == ""


def test_printable() -> None:
    assert printable("a\tb\n c\x07") == "a b c\N{REPLACEMENT CHARACTER}"
