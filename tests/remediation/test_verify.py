"""The judge: good only on fresh, measured, lasting evidence; failed when time is up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsloop.catalog.policy import Policy
from opsloop.remediation.evidence import Evidence
from opsloop.remediation.plan import Action, Plan, Run, RunState
from opsloop.remediation.verify import judge
from tests.remediation.world import FACTS

ACTED = 1000.0
POLICY = Policy.model_validate(
    {
        "when": {"alert": ["ServiceDown"]},
        "steps": ["restart"],
        "verify": {"hold": "10s", "timeout": "60s"},
    }
)
DOWN, ERRORS = FACTS[0], FACTS[1]
RUN = Run(
    id=1,
    episode_id=1,
    policy="restart-down",
    service="api",
    attempt=0,
    state=RunState.VERIFYING,
    plan=Plan("restart-down", "api", 0, (Action("restart", "api", "api:api-0"),), ("api:api-0",)),
    token=1,
    created_at=ACTED - 1,
    acting_at=ACTED - 1,
    acted_at=ACTED,
    finished_at=None,
    good_since=None,
    reason="",
    detail={},
)
GOOD = Evidence(condition=False, fresh_at=ACTED + 1, sli=1.0, answering=True)
BAD = Evidence(condition=True, fresh_at=ACTED + 1, sli=1.0, answering=True)


def run(**changes: Any) -> Run:
    return replace(RUN, **changes)


def test_good_begins_with_the_first_good_look() -> None:
    verdict = judge(RUN, DOWN, GOOD, POLICY, ACTED + 2)
    assert (verdict.state, verdict.good_since) == ("pending", ACTED + 2)


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (replace(GOOD, condition=None, reason="no answer"), "no answer"),
        (replace(GOOD, fresh_at=None), "no sample yet"),
        (replace(GOOD, fresh_at=ACTED), "no sample newer than the action"),
        (replace(GOOD, condition=True), "the fault is still there"),
        (replace(GOOD, sli=None), "no data is not success"),
        (replace(GOOD, answering=False), "does not run"),
        (replace(GOOD, answering=None, reason="supervisord is away"), "supervisord is away"),
    ],
)
def test_what_is_lacking_is_said_and_fails_when_time_is_up(seen: Evidence, what: str) -> None:
    early = judge(RUN, DOWN, seen, POLICY, ACTED + 5)
    assert (early.state, early.good_since) == ("pending", None)
    assert what in early.reason
    late = judge(RUN, DOWN, seen, POLICY, ACTED + 60)
    assert late.state == "failed"
    assert what in late.reason


def test_good_for_the_hold_with_a_sample_of_that_time() -> None:
    held = run(good_since=ACTED + 2)
    assert judge(held, DOWN, GOOD, POLICY, ACTED + 11).state == "pending"
    # The newest sample is older than the hold: nothing was measured during it.
    assert judge(held, DOWN, GOOD, POLICY, ACTED + 12).state == "pending"
    fresh = replace(GOOD, fresh_at=ACTED + 6)
    assert judge(held, DOWN, fresh, POLICY, ACTED + 12).state == "good"


def test_without_new_samples_a_good_look_is_not_good_for_ever() -> None:
    held = run(good_since=ACTED + 2)
    assert judge(held, DOWN, GOOD, POLICY, ACTED + 69).state == "pending"
    assert judge(held, DOWN, GOOD, POLICY, ACTED + 70).state == "failed"


def test_a_hold_that_began_in_time_may_end_after_the_timeout() -> None:
    held = run(good_since=ACTED + 55)
    seen = replace(GOOD, fresh_at=ACTED + 60)
    assert judge(held, DOWN, seen, POLICY, ACTED + 62).state == "pending"
    assert judge(held, DOWN, seen, POLICY, ACTED + 65).state == "good"


@pytest.mark.parametrize("seen", [BAD, replace(GOOD, sli=None), replace(GOOD, answering=False)])
def test_what_is_seen_to_be_bad_starts_the_hold_again(seen: Evidence) -> None:
    verdict = judge(run(good_since=ACTED + 2), DOWN, seen, POLICY, ACTED + 8)
    assert (verdict.state, verdict.good_since) == ("pending", None)


@pytest.mark.parametrize(
    "seen",
    [
        replace(GOOD, condition=None, reason="away"),
        replace(GOOD, answering=None, reason="away"),
    ],
)
def test_what_cannot_be_read_does_not(seen: Evidence) -> None:
    verdict = judge(run(good_since=ACTED + 2), DOWN, seen, POLICY, ACTED + 30)
    assert (verdict.state, verdict.good_since) == ("pending", ACTED + 2)


def test_after_a_crash_the_fault_seen_afresh_is_an_answer() -> None:
    unknown = run(state=RunState.UNKNOWN)
    assert judge(unknown, DOWN, BAD, POLICY, ACTED + 2).state == "failed"
    # An alert that looks back 60 s says nothing yet about the time after.
    assert judge(unknown, ERRORS, BAD, POLICY, ACTED + 2).state == "pending"
    later = replace(BAD, fresh_at=ACTED + 61)
    assert judge(unknown, ERRORS, later, POLICY, ACTED + 59).state == "failed"


def test_a_clock_that_went_back_fails() -> None:
    assert judge(RUN, DOWN, GOOD, POLICY, ACTED - 5).state == "failed"


def test_a_good_since_of_the_future_is_not_believed() -> None:
    verdict = judge(run(good_since=ACTED + 500), DOWN, GOOD, POLICY, ACTED + 2)
    assert (verdict.state, verdict.good_since) == ("pending", ACTED + 2)


evidences = st.builds(
    Evidence,
    condition=st.sampled_from([None, True, False]),
    fresh_at=st.none() | st.floats(ACTED - 50, ACTED + 100),
    sli=st.none() | st.just(1.0),
    answering=st.sampled_from([None, True, False]),
    reason=st.just("why"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 10), evidences), min_size=1, max_size=40))
def test_good_is_never_said_without_a_good_hold(steps: list[tuple[float, Evidence]]) -> None:
    """Over any sequence of looks: good means good looks alone for the hold, on newer samples."""
    now, good_since, bad_at = ACTED, None, ACTED
    for wait, seen in steps:
        now += wait
        is_good = bool(
            seen.condition is False
            and seen.fresh_at is not None
            and seen.fresh_at > ACTED
            and seen.sli is not None
            and seen.answering
        )
        verdict = judge(run(good_since=good_since), DOWN, seen, POLICY, now)
        unread = seen.condition is None or seen.answering is None
        if not is_good and not unread:
            bad_at = now
        if verdict.state == "good":
            assert is_good
            assert now - bad_at >= 10
            assert seen.fresh_at is not None
            assert seen.fresh_at > bad_at or bad_at == ACTED
        if verdict.state != "pending":
            return
        good_since = verdict.good_since
    assert now - ACTED < 70
