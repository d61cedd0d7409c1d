"""Mode approve on a scripted world and the real store: asked, answered, used once, or over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opsloop import names
from opsloop.errors import Conflict
from opsloop.remediation.approval import Approval, Ending
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState
from tests.remediation.world import World, given

HALF_AN_HOUR = 1800.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, input=given(mode="approve"))
    made.settle()
    yield made
    made.store.close()


def asked(world: World) -> Approval:
    (found,) = world.store.approvals()
    return found


def say(world: World, approval: Approval, *, agreed: bool = True) -> None:
    world.store.answer_approval(approval.id, "ann", "seen it", world.now, agreed=agreed)


def test_people_are_asked_once_and_nothing_is_done(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(120)
    assert world.performed == []
    assert world.runs(alert) == []
    assert world.episode(alert).state is EpisodeState.ASKED
    approval = asked(world)
    assert approval.expires_at - approval.asked_at == HALF_AN_HOUR
    (posted,) = world.live_posts(names.APPROVAL_NEEDED)
    assert posted.labels[names.ORIGINAL] == "ServiceDown"
    assert posted.labels[names.SEVERITY] == "P0"
    assert posted.labels["instance"] == "127.0.0.1:8001"
    assert "may the loop restart api:api-1?" in posted.annotations["summary"]
    assert f"opsloop approve {approval.id}" in posted.annotations["description"]
    assert world.posts(names.REMEDIATION_FAILED) == []
    assert len(world.audit(alert)) == 1, "waiting writes nothing"


def test_what_was_approved_is_done_and_verified(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(40)
    approval = asked(world)
    say(world, approval)
    world.settle()
    assert [a.target for a in world.performed] == ["api:api-1"]
    world.resolve(alert)
    world.run_for(20)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED
    decision = world.store.audit_of(run_id=run.id)[0]
    assert decision["body"]["reason"] == "restart api:api-1: approved by ann (seen it)"
    assert world.store.approvals() == []
    used = world.store.approval_of(world.episode(alert).id)
    assert used is not None
    assert used.ending is Ending.USED
    assert world.live_posts(names.APPROVAL_NEEDED) == []


def test_an_approval_is_used_once(world: World) -> None:
    world.curable = False
    alert = world.kill("api:api-1")
    world.run_for(20)
    first = asked(world)
    say(world, first)
    world.run_for(300)
    assert len(world.performed) == 1
    assert len(world.runs(alert)) == 1
    with pytest.raises(Conflict, match="used"):
        say(world, first)


def test_another_plan_voids_what_people_were_shown(world: World) -> None:
    """The step's time limit changes: what was approved is not what would be done."""
    alert = world.kill("api:api-1")
    world.run_for(20)
    first = asked(world)
    plan = first.plan
    world.input = given(mode="approve", restart_down={"steps": [{"restart": {}, "timeout": "9s"}]})
    world.engine = world.new_engine()
    world.run_for(20)
    second = asked(world)
    assert second.id != first.id
    assert second.plan.hash != plan.hash
    with pytest.raises(Conflict, match="void"):
        say(world, first)
    assert world.performed == []
    say(world, second)
    world.settle()
    assert [a.limit_s for a in world.performed] == [9.0]
    assert len(world.runs(alert)) == 1


def test_what_is_rejected_is_left_to_people(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(20)
    say(world, asked(world), agreed=False)
    world.run_for(300)
    assert world.performed == []
    assert world.store.approvals() == []
    assert world.episode(alert).state is EpisodeState.WATCHED
    assert world.episode(alert).reason == "rejected: ann: seen it"
    assert world.live_posts(names.APPROVAL_NEEDED) == []
    assert world.posts(names.REMEDIATION_FAILED) == []


def test_what_nobody_answers_is_told_as_failed_once(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(20)
    approval = asked(world)
    world.run_for(HALF_AN_HOUR + 60)
    assert world.performed == []
    (posted,) = world.live_posts(names.REMEDIATION_FAILED)
    assert "was not approved in time" in posted.annotations["summary"]
    assert world.episode(alert).state is EpisodeState.ESCALATED
    assert world.live_posts(names.APPROVAL_NEEDED) == []
    with pytest.raises(Conflict, match="expired"):
        say(world, approval)


def test_when_the_alert_resolves_the_question_is_over(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(20)
    approval = asked(world)
    world.up["api:api-1"] = True
    world.resolve(alert)
    world.run_for(30)
    assert world.live_posts(names.APPROVAL_NEEDED) == []
    with pytest.raises(Conflict, match="over"):
        say(world, approval)


def test_approved_while_paused_waits_for_the_kill_switch(world: World) -> None:
    world.kill("api:api-1")
    world.run_for(20)
    world.store.pause("hands off", world.now)
    say(world, asked(world))
    world.run_for(60)
    assert world.performed == []
    world.store.resume("", world.now)
    world.run_for(20)
    assert len(world.performed) == 1


def test_approved_after_the_fault_went_away_does_nothing(world: World) -> None:
    world.kill("api:api-1")
    world.run_for(20)
    world.up["api:api-1"] = True
    world.run_for(6)
    say(world, asked(world))
    world.run_for(60)
    assert world.performed == []


def test_questions_and_answers_survive_a_crash(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(20)
    approval = asked(world)
    world.crash()
    world.run_for(20)
    assert asked(world) == approval
    assert world.live_posts(names.APPROVAL_NEEDED)
    say(world, approval)
    world.crash()
    world.run_for(20)
    assert len(world.runs(alert)) == 1
    assert len(world.performed) == 1


def test_each_step_of_the_ladder_is_asked_for(world: World) -> None:
    world.input = given(
        mode="approve", restart_down={"steps": [{"restart": {}}, {"restart": {"scope": "service"}}]}
    )
    world.engine = world.new_engine()
    world.curable = False
    world.kill("api:api-1")
    world.run_for(20)
    say(world, asked(world))
    world.run_for(200)
    second = asked(world)
    assert second.plan.rung == 1
    assert len(world.performed) == 1
