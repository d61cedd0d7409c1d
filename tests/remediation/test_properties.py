"""Properties of the guards and of label agreement that hold whatever the past looks like."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opsloop.remediation import guards, ladder
from opsloop.remediation.answers import Pass, Refuse, Wait
from opsloop.remediation.decide import decide
from opsloop.remediation.evidence import agrees, matching
from opsloop.remediation.past import failures_in_a_row
from opsloop.remediation.plan import Plan, RunState
from opsloop.remediation.ports import Instance, Inventory, PastRun, Sample
from opsloop.remediation.situation import Confirmation, Situation

BASES = Path(__file__).parent.parent / "cases" / "bases"
NOW = 10_000.0
TARGETS = [f"api:api-{n}" for n in range(6)]


def base(name: str) -> Situation:
    return Situation.from_mapping(json.loads((BASES / f"{name}.json").read_text()))


def limited(situation: Situation, **limits: Any) -> Situation:
    assert situation.policy is not None
    raw = situation.policy.model_dump(mode="json")
    raw["limits"] |= limits
    return replace(situation, policy=type(situation.policy).model_validate(raw))


@st.composite
def past_runs(draw: st.DrawFn) -> PastRun:
    state = draw(st.sampled_from(list(RunState)))
    created = NOW + draw(st.floats(-20_000, 20_000))
    rolling = draw(st.booleans())
    resources = ("api", *TARGETS[:3]) if rolling else (draw(st.sampled_from(TARGETS)),)
    return PastRun(
        run_id=draw(st.integers(1, 10_000)),
        policy=draw(st.sampled_from(["restart-down", "other"])),
        service=draw(st.sampled_from(["api", "web"])),
        resources=resources,
        state=state,
        created_at=created,
        finished_at=None if state.open else created + draw(st.floats(0, 300)),
        episode_id=draw(st.integers(1, 5)),
        attempt=draw(st.integers(0, 20)),
        acted_at=None,
        unknown=draw(st.booleans()),
    )


pasts = st.lists(past_runs(), max_size=12, unique_by=lambda r: r.run_id).map(tuple)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    count = draw(st.integers(0, len(TARGETS)))
    return Inventory(
        "api",
        tuple(
            Instance(t, f"127.0.0.1:{8000 + n}", draw(st.booleans()), draw(st.booleans()))
            for n, t in enumerate(TARGETS[:count])
        ),
        limit=draw(st.integers(0, 6)),
        floor=draw(st.integers(0, 3)),
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    situation = base(draw(st.sampled_from(["instance-down", "errors", "latency", "quiet"])))
    situation = limited(
        situation,
        max_runs=draw(st.integers(1, 5)),
        max_share=f"{draw(st.integers(0, 100))}%",
        cooldown=draw(st.sampled_from(["0s", "30s", "10m"])),
    )
    return replace(
        situation,
        history=draw(pasts),
        inventory=draw(st.none() | inventories()),
        confirmation=Confirmation(draw(st.sampled_from(["yes", "no", "unknown"]))),
        paused=draw(st.booleans()),
        unknown_since=draw(st.none() | st.floats(NOW - 100, NOW + 100)),
        mode=draw(st.sampled_from(["off", "dry-run", "approve", "auto"])),
    )


@settings(max_examples=400, deadline=None)
@given(situations())
def test_whatever_acts_is_within_every_limit(s: Situation) -> None:
    decision = decide(s)
    assert decision.reason
    if decision.kind == "wait":
        assert decision.due_at is not None
        assert decision.due_at > s.now
    if decision.kind != "act":
        return
    plan, policy, inventory = decision.plan, s.policy, s.inventory
    assert plan is not None
    assert policy is not None
    assert inventory is not None
    assert s.mode == "auto"
    assert not s.paused
    assert s.confirmation.answer == ("no" if s.intent == "scale_in" else "yes")
    known = {i.target for i in inventory.instances} | {"api"}
    assert set(plan.resources) <= known
    assert plan.actions
    held = [r for r in s.history if r.state.open]
    assert all(not set(r.resources) & set(plan.resources) for r in held)
    window = policy.limits.window.seconds
    used = [
        r
        for r in s.history
        if r.policy == plan.policy
        and r.service == plan.service
        and r.created_at > s.now - window
        and r.state is not RunState.CANCELLED
    ]
    assert len(used) < policy.limits.max_runs
    touched = ladder.batch(plan, inventory)
    others = {t for r in held if r.service == "api" for t in r.resources} - {"api"}
    allowed = max(
        1, math.floor(policy.limits.max_share * sum(i.wanted for i in inventory.instances))
    )
    if touched:
        assert len(touched | others) <= allowed
    mine = [r.attempt for r in s.own_runs]
    assert decision.attempt not in mine
    assert decision.attempt == max(mine, default=-1) + 1


@settings(max_examples=200, deadline=None)
@given(situations())
def test_a_decision_is_the_same_after_json(s: Situation) -> None:
    assert decide(Situation.from_json(s.to_json())) == decide(s)


@settings(max_examples=200, deadline=None)
@given(pasts, past_runs(), st.integers(1, 6))
def test_one_more_run_never_opens_a_budget(
    past: tuple[PastRun, ...], one: PastRun, most: int
) -> None:
    s = limited(replace(base("instance-down"), history=past), max_runs=most)
    if isinstance(guards.within_budget(s), Refuse):
        more = replace(s, history=(*past, one))
        assert isinstance(guards.within_budget(more), Refuse)


@settings(max_examples=200, deadline=None)
@given(pasts, st.integers(1, 6), st.floats(0, 1e6))
def test_a_clock_that_goes_back_never_opens_a_budget(
    past: tuple[PastRun, ...], most: int, jump: float
) -> None:
    s = limited(replace(base("instance-down"), history=past), max_runs=most)
    if isinstance(guards.within_budget(s), Refuse):
        assert isinstance(guards.within_budget(replace(s, now=s.now - jump)), Refuse)


@settings(max_examples=200, deadline=None)
@given(pasts, inventories(), st.integers(0, 100))
def test_the_radius_is_never_widened(
    past: tuple[PastRun, ...], inventory: Inventory, share: int
) -> None:
    s = limited(
        replace(base("instance-down"), history=past, inventory=inventory), max_share=f"{share}%"
    )
    plan = ladder.plan_for(s)
    if isinstance(plan, Plan) and isinstance(guards.within_radius(s), Pass):
        total = sum(i.wanted for i in inventory.instances)
        held = {t for r in past if r.state.open and r.service == "api" for t in r.resources} - {
            "api"
        }
        assert len(held | ladder.batch(plan, inventory)) <= max(1, share * total // 100)


@settings(max_examples=200, deadline=None)
@given(pasts)
def test_a_target_that_a_run_holds_is_never_free(past: tuple[PastRun, ...]) -> None:
    s = replace(base("errors"), history=past)
    answer = guards.target_free(s)
    holds = any(r.state.open and set(r.resources) & {"api", *TARGETS[:2]} for r in past)
    assert isinstance(answer, Wait if holds else Pass)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(list(RunState)), max_size=10))
def test_the_rung_counts_failures_since_the_last_good_run(states: list[RunState]) -> None:
    policy = base("latency").policy
    assert policy is not None
    runs = [
        PastRun(n, "p", "api", ("api",), state, float(n), None, 1, n)
        for n, state in enumerate(states)
    ]
    since = 0
    for state in states:
        if state is RunState.VERIFIED:
            since = 0
        elif state is not RunState.CANCELLED:
            since += 1
    assert ladder.next_rung(runs, policy) == min(since, len(policy.steps))


@given(st.lists(st.sampled_from([RunState.FAILED, RunState.VERIFIED, RunState.CANCELLED])))
def test_failures_in_a_row_stop_at_a_success(states: list[RunState]) -> None:
    runs = [PastRun(n, "p", "s", ("t",), s, 0.0, 0.0, 1, n) for n, s in enumerate(states)]
    tail = states
    if RunState.VERIFIED in states:
        tail = states[len(states) - states[::-1].index(RunState.VERIFIED) :]
    assert failures_in_a_row(runs) == tail.count(RunState.FAILED)


# Label agreement

label_sets = st.dictionaries(
    st.sampled_from(["service", "instance", "team", "job"]), st.sampled_from(["", "a", "b"])
)


@given(label_sets, label_sets)
def test_agreement_is_symmetric_and_reflexive(a: dict[str, str], b: dict[str, str]) -> None:
    assert agrees(a, a)
    assert agrees(a, b) == agrees(b, a)


@given(label_sets, label_sets, st.sampled_from(["service", "instance"]))
def test_one_shared_label_that_differs_is_enough_to_disagree(
    a: dict[str, str], b: dict[str, str], name: str
) -> None:
    assert not agrees({**a, name: "a"}, {**b, name: "b"})


@given(label_sets, label_sets, st.text(min_size=1))
def test_a_label_of_one_side_only_decides_nothing(
    a: dict[str, str], b: dict[str, str], value: str
) -> None:
    assert agrees({**a, "alertname": value}, b) == agrees(a, b)
    assert agrees({**a, "x": value}, {**b, "x": ""}) == agrees(a, b)


@given(st.lists(st.tuples(label_sets, st.floats(allow_nan=True))), label_sets)
def test_matching_gives_the_numbers_of_the_series_that_agree(
    series: list[tuple[dict[str, str], float]], labels: dict[str, str]
) -> None:
    found = matching([Sample(s, v) for s, v in series], labels)
    assert not any(math.isnan(v) for v in found)
    assert found == [v for s, v in series if agrees(s, labels) and not math.isnan(v)]
