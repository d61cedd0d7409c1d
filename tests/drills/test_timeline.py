"""What a drill's facts prove, on recorded facts."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.drills.timeline import (
    Page,
    RunSeen,
    Stage,
    Timeline,
    as_json,
    judge,
    judge_control,
    unexplained_changes,
)

T0 = 1_000_000.0


def run(**changes: object) -> RunSeen:
    values: dict[str, object] = {
        "id": 7,
        "state": "verified",
        "service": "api",
        "targets": frozenset({"api:api-0"}),
        "acting_at": T0 + 4.1,
        "finished_at": T0 + 13.0,
    }
    return RunSeen(**{**values, **changes})  # type: ignore[arg-type]


def healed() -> Timeline:
    timeline = Timeline("service-kill", "api", "api:api-0", "ServiceDown", T0)
    for stage, seconds in (
        (Stage.SEEN, 3.5),
        (Stage.FIRED, 3.9),
        (Stage.RECEIVED, 4.0),
        (Stage.ACTION, 4.1),
        (Stage.ANSWERING, 4.8),
        (Stage.VERIFIED, 13.0),
    ):
        timeline.mark(stage, T0 + seconds)
    timeline.runs = [run()]
    return timeline


def test_a_healed_drill_passes() -> None:
    verdict = judge(healed(), timed_out=False)
    assert verdict.passed, verdict.reason
    assert as_json(healed(), verdict, control=False) | {} == {
        "drill": "service-kill",
        "healed": True,
        "detected_s": 4.0,
        "action_s": 4.1,
        "answering_s": 4.8,
        "verified_s": 13.0,
        "pages": 0,
        "run_id": 7,
        "control": False,
        "passed": True,
        "reason": "healed by run 7, nobody was paged",
        "service": "api",
        "target": "api:api-0",
        "alert": "ServiceDown",
        "seen_s": 3.5,
        "fired_s": 3.9,
        "paged_s": None,
        "other_messages": 0,
        "started_at": T0,
    }


def test_a_page_fails_it() -> None:
    timeline = healed()
    timeline.pages = [Page(T0 + 20, "pagerduty", "ServiceDown api")]
    verdict = judge(timeline, timed_out=False)
    assert not verdict.passed
    assert verdict.reason == "healed, but people were told (pagerduty: ServiceDown api)"
    assert as_json(timeline, verdict, control=False)["healed"] is False


def test_a_rejected_message_is_a_page_too() -> None:
    timeline = healed()
    timeline.pages = [Page(T0 + 20, "slack", "ServiceDown", accepted=False)]
    assert not judge(timeline, timed_out=False).passed


def test_answering_before_the_action_is_not_the_loops_work() -> None:
    timeline = healed()
    timeline.at[Stage.ANSWERING] = T0 + 3.0
    verdict = judge(timeline, timed_out=False)
    assert not verdict.passed
    assert verdict.reason == "api:api-0 answered before the loop acted"


def test_a_pid_that_changed_by_itself_fails_it() -> None:
    timeline = healed()
    timeline.unexplained = ["api:api-1 got a new process (pid 3 to 4) without a run of the loop"]
    verdict = judge(timeline, timed_out=False)
    assert not verdict.passed
    assert "api:api-1" in verdict.reason


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ((), "Prometheus did not see the fault in time"),
        ((Stage.SEEN,), "ServiceDown did not fire in time"),
        ((Stage.SEEN, Stage.FIRED), "the engine did not receive ServiceDown in time"),
        ((Stage.SEEN, Stage.FIRED, Stage.RECEIVED), "the loop did not act in time"),
        (
            (Stage.SEEN, Stage.FIRED, Stage.RECEIVED, Stage.ACTION),
            "the loop acted, but did not verify in time",
        ),
    ],
)
def test_the_first_thing_that_did_not_happen_is_named(
    stages: tuple[Stage, ...], reason: str
) -> None:
    timeline = Timeline("service-kill", "api", "api:api-0", "ServiceDown", T0)
    for stage in stages:
        timeline.mark(stage, T0 + 1)
    assert judge(timeline, timed_out=True).reason == reason


def test_a_failed_run_gives_its_reason() -> None:
    timeline = healed()
    timeline.runs = [run(state="failed", reason="not healed within 60s")]
    assert judge(timeline, timed_out=True).reason == "run 7 failed: not healed within 60s"


def test_a_ladder_is_healed_by_its_last_run() -> None:
    timeline = healed()
    timeline.runs = [run(id=6, state="failed", reason="still slow"), run(id=7)]
    assert judge(timeline, timed_out=False).passed
    assert as_json(timeline, judge(timeline, timed_out=False), control=False)["run_id"] == 7


def test_verified_but_not_answering_is_not_healed() -> None:
    timeline = healed()
    del timeline.at[Stage.ANSWERING]
    verdict = judge(timeline, timed_out=True)
    assert verdict.reason == "run 7 was verified, but api:api-0 does not answer"


class TestControl:
    def paged(self) -> Timeline:
        timeline = Timeline("service-kill", "api", "api:api-0", "ServiceDown", T0)
        timeline.pages = [Page(T0 + 70, "pagerduty", "ServiceDown api")]
        return timeline

    def test_broken_and_paged_passes_and_is_not_healed(self) -> None:
        verdict = judge_control(self.paged(), broken_to_the_end=True)
        assert verdict.passed
        assert as_json(self.paged(), verdict, control=True)["healed"] is False

    def test_recovered_fails(self) -> None:
        assert not judge_control(self.paged(), broken_to_the_end=False).passed

    def test_unpaged_fails(self) -> None:
        timeline = self.paged()
        timeline.pages = []
        verdict = judge_control(timeline, broken_to_the_end=True)
        assert verdict.reason == "the service stayed broken, and nobody was told"

    def test_a_run_that_acted_fails(self) -> None:
        timeline = self.paged()
        timeline.runs = [run(state="verifying")]
        assert "acted although" in judge_control(timeline, broken_to_the_end=True).reason

    def test_a_run_that_did_not_act_is_fine(self) -> None:
        timeline = self.paged()
        timeline.runs = [run(state="cancelled", acting_at=None)]
        assert judge_control(timeline, broken_to_the_end=True).passed


class TestPids:
    before: ClassVar = {"api:api-0": 10, "api:api-1": 11, "api:api-2": 0, "database:database": 12}

    def test_the_restarted_target_is_explained_by_its_run(self) -> None:
        after = {**self.before, "api:api-0": 20}
        assert unexplained_changes(self.before, after, [run()], {"api:api-0": 10}) == []

    def test_without_a_run_it_is_not(self) -> None:
        after = {**self.before, "api:api-0": 20}
        assert unexplained_changes(self.before, after, [], {"api:api-0": 10}) == [
            "api:api-0 got a new process (pid 10 to 20) without a run of the loop"
        ]

    def test_a_run_that_never_acted_explains_nothing(self) -> None:
        after = {**self.before, "api:api-0": 20}
        runs = [run(acting_at=None, state="cancelled")]
        assert len(unexplained_changes(self.before, after, runs, {"api:api-0": 10})) == 1

    def test_what_the_drill_killed_may_be_gone(self) -> None:
        after = {**self.before, "api:api-0": 0}
        assert unexplained_changes(self.before, after, [], {"api:api-0": 10}) == []

    def test_another_process_that_ended_is_told(self) -> None:
        after = {**self.before, "database:database": 0}
        assert unexplained_changes(self.before, after, [run()], {}) == [
            "database:database (pid 12) ended without a run of the loop"
        ]

    def test_scaling_explains_a_start_in_its_group_only(self) -> None:
        scaled = run(targets=frozenset({"api"}))
        after = {**self.before, "api:api-2": 30}
        grown = frozenset({"api"})
        assert unexplained_changes(self.before, after, [scaled], {}, grown) == []
        assert unexplained_changes(self.before, after, [], {}, grown) == [
            "api:api-2 started (pid 30) without a run of the loop"
        ]
        restarted = {**self.before, "api:api-1": 31}
        assert len(unexplained_changes(self.before, restarted, [scaled], {}, grown)) == 1

    @given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9)))
    def test_nothing_changed_is_nothing_to_explain(self, pids: dict[str, int]) -> None:
        assert unexplained_changes(pids, dict(pids), [], {}) == []

    @given(
        st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9)),
        st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9)),
    )
    def test_without_runs_every_change_is_told(
        self, before: dict[str, int], after: dict[str, int]
    ) -> None:
        changed = {k for k in before.keys() | after.keys() if before.get(k, 0) != after.get(k, 0)}
        assert len(unexplained_changes(before, after, [], {})) == len(changed)
