"""The engine on a scripted world and the real store: what heals, what waits, what pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsloop import names
from opsloop.errors import DriverError, Paused, StoreError
from opsloop.remediation.episode import Episode, EpisodeState
from opsloop.remediation.plan import Action, RunState
from opsloop.remediation.ports import Sample, StepResult
from tests.remediation.world import T0, World, given


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.settle()
    yield made
    made.store.close()


def remake(world: World, **changes: Any) -> World:
    """The same world with another catalog."""
    world.input = given(**changes)
    world.engine = world.new_engine()
    world.settle()
    return world


# Healing


def test_a_killed_instance_is_restarted_verified_and_nobody_is_told(world: World) -> None:
    alert = world.kill("api:api-1")
    world.settle()
    assert [a.target for a in world.performed] == ["api:api-1"]
    assert len(world.live_posts(names.REMEDIATION_RUNNING)) == 1
    world.run_for(3)
    world.resolve(alert)
    world.run_for(20)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED
    assert run.detail["before"]["condition"] is True
    assert run.detail["after"]["condition"] is False
    assert world.episode(alert).state is EpisodeState.CLOSED
    assert world.posts(names.REMEDIATION_FAILED) == []
    world.run_for(60)
    assert world.live_posts(names.REMEDIATION_RUNNING) == []


def test_after_a_healing_the_same_fault_is_kept_from_people_for_one_more_grace(
    world: World,
) -> None:
    alert = world.kill("api:api-1")
    world.settle()
    world.run_for(3)
    world.resolve(alert)
    world.run_for(20)
    (run,) = world.runs(alert)
    assert run.finished_at is not None
    (posted,) = world.live_posts(names.REMEDIATION_RUNNING)
    (facts,) = [f for f in world.input.facts if f.alert == "ServiceDown"]
    assert posted.ends_at == pytest.approx(run.finished_at + facts.grace_s)


def test_a_loop_that_does_not_act_again_keeps_nothing_from_people(world: World) -> None:
    alert = world.kill("api:api-1")
    world.settle()
    world.run_for(3)
    world.resolve(alert)
    world.run_for(20)
    assert world.live_posts(names.REMEDIATION_RUNNING)
    world.store.pause("a person looks", world.now)
    again = world.kill("api:api-1")
    world.run_for(2)
    assert world.episode(again).reason == "paused: a person looks"
    assert world.live_posts(names.REMEDIATION_RUNNING) == []


def test_a_decision_takes_few_round_trips(world: World) -> None:
    world.queries = 0
    world.kill("api:api-1")
    world.tick()
    assert len(world.performed) == 1
    assert world.queries == 2  # condition and freshness


def test_many_episodes_share_the_questions_of_a_turn(world: World) -> None:
    for number in range(20):
        alert = world.alert("ServiceDown", "api", "api:api-1", labels={"shard": str(number)})
        world.store.intake(
            [alert.__class__(**{**_fields(alert), "fingerprint": f"f{number}"})], world.now
        )
    world.queries = 0
    world.tick()
    assert world.queries == 2


def _fields(alert: Any) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in alert.__dataclass_fields__}


def test_a_verified_run_needs_samples_newer_than_the_action(world: World) -> None:
    alert = world.kill("api:api-1")
    world.tick()
    world.fresh = False
    world.run_for(30)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFYING
    world.fresh = True
    world.run_for(20)
    assert world.runs(alert)[0].state is RunState.VERIFIED


def test_no_data_is_not_success(world: World) -> None:
    alert = world.kill("api:api-1")
    world.measured = False
    world.run_for(61)
    (run,) = world.runs(alert)
    assert run.state is RunState.FAILED
    assert "no data is not success" in run.reason


def test_a_fault_that_flaps_during_the_hold_starts_the_hold_again(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(8)
    assert world.runs(alert)[0].good_since is not None
    world.up["api:api-1"] = False
    world.run_for(3)
    assert world.runs(alert)[0].good_since is None
    world.up["api:api-1"] = True
    world.run_for(4)
    assert world.runs(alert)[0].state is RunState.VERIFYING
    world.run_for(15)
    assert world.runs(alert)[0].state is RunState.VERIFIED


def test_a_fault_that_comes_back_under_the_same_start_is_another_attempt(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(20)
    assert world.episode(alert).state is EpisodeState.HEALED
    world.up["api:api-1"] = False  # no new webhook: Alertmanager never saw it gone
    world.run_for(30)
    assert [(r.attempt, r.plan.rung, r.state) for r in world.runs(alert)] == [
        (0, 0, RunState.VERIFIED),
        (1, 0, RunState.VERIFIED),
    ]
    assert world.posts(names.REMEDIATION_FAILED) == []


# The ladder and people


def test_a_failed_only_step_tells_people_once_with_what_was_tried(world: World) -> None:
    world.curable = False
    alert = world.kill("api:api-1")
    world.run_for(70)
    episode = world.episode(alert)
    assert episode.state is EpisodeState.ESCALATED
    assert len(world.performed) == 1
    (posted,) = world.live_posts(names.REMEDIATION_FAILED)
    labels = dict(posted.labels)
    assert labels == {k: v for k, v in alert.labels.items() if k != "alertname"} | {
        "alertname": names.REMEDIATION_FAILED,
        names.ORIGINAL: "ServiceDown",
        names.RUN: str(world.runs(alert)[0].id),
    }
    assert "restart api:api-1" in posted.annotations["tried"]
    assert "not verified within 60 s" in posted.annotations["tried"]
    assert posted.annotations["runbook_url"] == "runbook.md"
    assert world.live_posts(names.REMEDIATION_RUNNING) == []
    assert posted.ends_at == pytest.approx(posted.ends_at)
    before = len(world.posts(names.REMEDIATION_FAILED))
    world.run_for(600)
    again = world.posts(names.REMEDIATION_FAILED)[before:]
    assert 9 <= len(again) <= 11  # about each minute
    assert all(p.ends_at > p.starts_at for p in again)
    assert len(world.performed) == 1
    assert len(world.audit(alert, "escalation")) == 1


def test_people_are_no_longer_told_when_it_is_over(world: World) -> None:
    world.curable = False
    alert = world.kill("api:api-1")
    world.run_for(70)
    world.up["api:api-1"] = True
    world.resolve(alert)
    world.run_for(10)
    assert world.live_posts(names.REMEDIATION_FAILED) == []
    assert world.store.escalations() == []
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_a_failed_step_is_followed_by_the_next_at_once(world: World) -> None:
    remake(
        world,
        restart_down={
            "steps": [{"restart": {"scope": "instance"}}, {"restart": {"scope": "service"}}]
        },
    )
    world.perform_with = lambda a: StepResult(False, True, "spawn error\nno such file")
    alert = world.kill("api:api-1")
    world.settle()
    runs = world.runs(alert)
    assert [(r.attempt, r.plan.rung, r.state) for r in runs] == [
        (0, 0, RunState.FAILED),
        (1, 1, RunState.FAILED),
    ]
    # The first restart of the rolling one failed, so the living instance was left alone.
    assert [a.target for a in world.performed] == ["api:api-1", "api:api-1"]
    (posted,) = world.live_posts(names.REMEDIATION_FAILED)
    assert "all steps tried" in posted.annotations["summary"]
    assert "spawn error no such file" in posted.annotations["tried"]


def test_running_is_never_posted_beyond_the_grace(world: World) -> None:
    world.curable = False
    world.kill("api:api-1")
    world.run_for(58)
    posts = world.posts(names.REMEDIATION_RUNNING)
    assert len(posts) >= 4  # renewed
    assert max(p.ends_at for p in posts) <= T0 + 45
    assert all(p.ends_at <= p.starts_at + 60 for p in posts)


def test_posts_survive_an_alertmanager_that_is_away(world: World) -> None:
    world.curable = False
    alert = world.kill("api:api-1")
    world.tick()
    world.alertmanager = False
    world.run_for(90)
    assert world.episode(alert).state is not EpisodeState.ESCALATED or not world.posts(
        names.REMEDIATION_FAILED
    )
    world.run_for(60)
    world.alertmanager = True
    world.run_for(10)
    assert len(world.live_posts(names.REMEDIATION_FAILED)) == 1
    assert len(world.store.escalations()) == 1


# What holds an action back


def test_pause_stops_actions_and_resume_lets_them_go(world: World) -> None:
    world.store.pause("Ann looks", world.now)
    alert = world.kill("api:api-1")
    world.run_for(30)
    assert world.performed == []
    assert "Ann looks" in world.episode(alert).reason
    assert world.posts(names.REMEDIATION_FAILED) == []
    world.store.resume("done", world.now)
    world.run_for(5)
    assert len(world.performed) == 1


def test_pause_between_decision_and_action_cancels_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paused(*_: object) -> None:
        raise Paused("the loop", "is paused")

    alert = world.kill("api:api-1")
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "begin_action", paused)
        world.tick()
    assert world.performed == []
    assert world.runs(alert)[0].state is RunState.CANCELLED
    world.run_for(5)
    assert [r.attempt for r in world.runs(alert)] == [0, 1]
    assert len(world.performed) == 1


def test_prometheus_away_waits_then_tells_people_once_and_does_nothing(world: World) -> None:
    world.prometheus = False
    alert = world.kill("api:api-1")
    world.run_for(13)
    assert world.episode(alert).state is EpisodeState.NEW
    world.run_for(10)
    assert world.episode(alert).state is EpisodeState.ESCALATED
    assert world.performed == []
    assert len(world.live_posts(names.REMEDIATION_FAILED)) == 1
    # The same wait again is no new audit row.
    assert [d["kind"] for d in world.audit(alert)] == ["wait", "refuse"]


def test_prometheus_back_in_time_acts(world: World) -> None:
    world.prometheus = False
    world.kill("api:api-1")
    world.run_for(10)
    world.prometheus = True
    world.run_for(3)
    assert len(world.performed) == 1


def test_one_source_that_hangs_is_asked_once_in_a_turn(world: World) -> None:
    world.prometheus = False
    world.kill("api:api-0")
    world.kill("api:api-1")
    world.kill("database:database")
    world.queries = 0
    world.tick()
    assert world.queries == 1


def test_the_fleet_away_tells_people(world: World) -> None:
    world.fleet = False
    alert = world.kill("api:api-1")
    world.run_for(40)
    assert world.episode(alert).state is EpisodeState.ESCALATED
    assert "supervisord" in world.episode(alert).reason


def test_a_silence_binds_and_its_end_lets_go(world: World) -> None:
    alert = world.kill("api:api-1")
    world.listed = [world.alert("ServiceDown", "api", "api:api-1", silenced_by=("s1",))]
    world.run_for(30)
    assert world.performed == []
    world.listed = [alert]
    world.run_for(16)
    assert len(world.performed) == 1


def test_inhibition_counts_unless_it_is_the_engines_own_word(world: World) -> None:
    own = world.alert(
        names.REMEDIATION_RUNNING,
        "api",
        labels={
            names.ORIGINAL: "ServiceDown",
            names.POLICY: "restart-down",
            names.INSTANCE: "127.0.0.1:8001",
        },
    )
    world.kill("api:api-1")
    world.listed = [
        own,
        world.alert("ServiceDown", "api", "api:api-1", inhibited_by=(own.fingerprint,)),
    ]
    world.settle()
    assert len(world.performed) == 1
    # The same words about another instance are not about this episode.
    world.run_for(20)
    world.performed.clear()
    world.up["api:api-0"] = False
    other = world.alert("ServiceDown", "api", "api:api-0", inhibited_by=(own.fingerprint,))
    world.store.intake([other], world.now)
    world.listed = [own, other]
    world.run_for(5)
    assert world.performed == []
    assert "inhibited by RemediationRunning" in world.episode(other).reason


def test_a_maintenance_window_binds(world: World) -> None:
    # T0 is Tuesday, 2023-11-14 22:13:20 UTC.
    window = {"nightly": {"services": ["api"], "start": "22:00", "end": "22:14"}}
    remake(world, notifications={"maintenance": window})
    alert = world.kill("api:api-1")
    world.run_for(30)
    assert world.performed == []
    assert "nightly" in world.episode(alert).reason
    world.run_for(20)
    assert len(world.performed) == 1


def test_half_of_two_instances_is_one_at_a_time(world: World) -> None:
    first, second = world.kill("api:api-0"), world.kill("api:api-1")
    world.settle()
    assert len(world.performed) == 1
    world.resolve(first)
    world.run_for(40)
    assert sorted(a.target for a in world.performed) == ["api:api-0", "api:api-1"]
    one, other = world.runs(first)[0], world.runs(second)[0]
    assert one.finished_at is not None
    assert one.finished_at <= other.created_at


def test_the_dependency_is_repaired_and_its_echo_restarts_nothing(world: World) -> None:
    down = world.kill("database:database")
    errors = world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.run_for(8)
    assert [a.target for a in world.performed] == ["database:database"]
    world.resolve(down)
    world.run_for(40)
    assert [a.target for a in world.performed] == ["database:database"]
    world.faults.clear()
    world.resolve(errors)
    world.run_for(60)
    assert [a.target for a in world.performed] == ["database:database"]
    assert world.runs(errors) == []


def test_errors_that_outlast_the_dependency_restart_the_service(world: World) -> None:
    down = world.kill("database:database")
    errors = world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.run_for(8)
    world.resolve(down)
    world.run_for(90)
    assert [a.target for a in world.performed] == [
        "database:database",
        "api:api-0",
        "api:api-1",
    ]
    assert len(world.runs(errors)) == 1


def test_dry_run_says_what_it_would_do(world: World) -> None:
    remake(world, mode="dry-run")
    alert = world.kill("api:api-1")
    world.run_for(120)
    assert world.performed == []
    assert world.runs(alert) == []
    assert world.posts(names.REMEDIATION_FAILED) == []
    (decision,) = world.audit(alert)
    assert decision["reason"] == "dry-run: would restart api:api-1"
    assert decision["plan"]["actions"][0]["target"] == "api:api-1"


# Ends and crashes


def test_an_episode_that_ends_during_its_action_is_still_verified(world: World) -> None:
    world.workers.hold = True
    alert = world.kill("api:api-1")
    world.settle()
    world.resolve(alert)
    world.settle()
    assert world.runs(alert)[0].state is RunState.ACTING
    world.workers.release()
    world.run_for(20)
    assert world.runs(alert)[0].state is RunState.VERIFIED
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_an_episode_that_ends_before_its_action_cancels_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = world.kill("api:api-1")
    record = world.store.record

    def record_then_resolve(*args: Any) -> Any:
        run = record(*args)
        world.resolve(alert)
        return run

    monkeypatch.setattr(world.store, "record", record_then_resolve)
    world.settle()
    assert world.performed == []
    assert world.runs(alert)[0].state is RunState.CANCELLED
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_an_alert_that_ends_because_nothing_is_measured_is_told(world: World) -> None:
    alert = world.kill("api:api-1")
    world.measured = False
    world.run_for(5)
    world.resolve(alert)
    world.run_for(60)
    assert world.runs(alert)[0].state is RunState.FAILED
    assert world.episode(alert).state is EpisodeState.ESCALATED
    assert len(world.live_posts(names.REMEDIATION_FAILED)) == 1
    world.measured = True
    world.run_for(10)
    assert world.live_posts(names.REMEDIATION_FAILED) == []
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_a_crash_during_an_action_is_unknown_then_verified_by_the_world(world: World) -> None:
    world.workers.hold = True
    alert = world.kill("api:api-1")
    world.settle()
    world.up["api:api-1"] = True  # it took effect; nobody could say so
    world.crash()
    world.run_for(1)
    assert world.runs(alert)[0].state is RunState.UNKNOWN
    world.run_for(20)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED
    assert world.performed == []


def test_a_crash_that_did_not_help_repeats_an_idempotent_step(world: World) -> None:
    world.workers.hold = True
    alert = world.kill("api:api-1")
    world.settle()
    world.crash()
    world.workers.hold = False
    world.run_for(60)
    first, second = world.runs(alert)
    assert (first.state, second.state) == (RunState.FAILED, RunState.VERIFIED)
    assert (first.plan.rung, second.plan.rung) == (0, 0)
    assert "after the crash" in first.reason
    assert world.posts(names.REMEDIATION_FAILED) == []


def test_a_crash_in_a_step_that_is_not_idempotent_tells_people(world: World) -> None:
    remake(
        world,
        restart_down={
            "steps": [{"restart": {"scope": "instance"}, "idempotent": False}, "restart"]
        },
    )
    world.workers.hold = True
    alert = world.kill("api:api-1")
    world.settle()
    world.crash()
    world.workers.hold = False
    world.run_for(60)
    assert [r.state for r in world.runs(alert)] == [RunState.FAILED]
    assert world.performed == []
    assert len(world.live_posts(names.REMEDIATION_FAILED)) == 1


def test_a_crash_before_the_action_cancels_and_decides_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise SystemExit

    alert = world.kill("api:api-1")
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "begin_action", die)
        with pytest.raises(SystemExit):
            world.tick()
    world.crash()
    world.run_for(30)
    assert [r.state for r in world.runs(alert)] == [RunState.CANCELLED, RunState.VERIFIED]
    assert len(world.performed) == 1


def test_a_crash_between_two_actions_verifies_what_was_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = world.store.begin_action

    def die_at_the_second(run: Any, index: int, now: float) -> None:
        if index == 1:
            raise SystemExit
        begin(run, index, now)

    alert = world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "begin_action", die_at_the_second)
        with pytest.raises(SystemExit):
            world.settle()
    world.faults.clear()
    world.crash()
    world.run_for(60)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED
    assert len(world.performed) == 1


def test_a_driver_that_cannot_say_makes_it_unknown(world: World) -> None:
    def cannot_say(action: Action) -> StepResult:
        world.up[action.target] = True
        raise DriverError(action.target, "timed out", started=True)

    world.perform_with = cannot_say
    alert = world.kill("api:api-1")
    world.run_for(2)
    assert world.runs(alert)[0].state is RunState.UNKNOWN
    world.run_for(30)
    assert world.runs(alert)[0].state is RunState.VERIFIED
    assert len(world.performed) == 1


def test_a_driver_that_did_nothing_has_failed(world: World) -> None:
    def refuses(action: Action) -> StepResult:
        raise DriverError(action.target, "no such program")

    world.perform_with = refuses
    alert = world.kill("api:api-1")
    world.settle()
    assert world.runs(alert)[0].state is RunState.FAILED
    (record,) = world.store.actions(world.runs(alert)[0].id)
    assert record.result == StepResult(False, False, "api:api-1: no such program")


def test_a_bug_in_a_driver_is_unknown(world: World) -> None:
    def broken(action: Action) -> StepResult:
        raise ZeroDivisionError

    world.perform_with = broken
    alert = world.kill("api:api-1")
    world.run_for(1)
    assert world.runs(alert)[0].state is RunState.UNKNOWN


def test_an_action_that_never_ends_is_unknown_and_its_late_result_does_not_count(
    world: World,
) -> None:
    world.workers.hold = True
    alert = world.kill("api:api-1")
    world.run_for(85)
    assert world.runs(alert)[0].state is RunState.ACTING
    world.run_for(6)
    (run,) = world.runs(alert)
    assert run.state is RunState.UNKNOWN
    world.workers.release()
    world.settle()
    assert world.store.actions(run.id)[0].result is None


def test_the_audit_comes_before_the_effect(world: World) -> None:
    seen: list[list[str]] = []
    perform = world.perform_with

    def look(action: Action) -> StepResult:
        run = world.store.open_runs()[0]
        seen.append([row["kind"] for row in world.store.audit_of(run_id=run.id)])
        world.up[action.target] = True
        return StepResult(True, True, "")

    assert perform is None
    world.perform_with = look
    alert = world.kill("api:api-1")
    world.settle()
    assert seen == [["decision", "action"]]
    (decision,) = world.audit(alert)
    assert decision["situation"]["confirmation"]["answer"] == "yes"
    assert [g["guard"] for g in decision["guards"]][-1] == "radius"
    assert world.store.verify_audit().ok


# Rolling


def test_a_rolling_restart_goes_one_by_one(world: World) -> None:
    world.workers.hold = True
    alert = world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.settle()
    assert [a.target for a in world.performed] == []
    world.workers.release()
    world.settle()
    assert [a.target for a in world.performed] == ["api:api-0"]
    world.workers.release()
    world.settle()
    assert [a.target for a in world.performed] == ["api:api-0", "api:api-1"]
    world.faults.clear()
    world.run_for(30)
    assert world.runs(alert)[0].state is RunState.VERIFIED


def test_pause_in_the_middle_of_a_rolling_restart_stops_it_and_verifies(world: World) -> None:
    world.workers.hold = True
    alert = world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.settle()
    world.store.pause("stop", world.now)
    world.workers.release()
    world.settle()
    assert len(world.performed) == 1
    assert world.runs(alert)[0].state is RunState.VERIFYING
    world.faults.clear()
    world.run_for(30)
    assert world.runs(alert)[0].state is RunState.VERIFIED


def test_what_the_loop_takes_down_itself_is_kept_from_people_for_its_grace(world: World) -> None:
    world.workers.hold = True
    world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.settle()
    echo = world.kill("api:api-0")  # the restart under way
    world.settle()
    assert "is held by run" in world.episode(echo).reason
    (posted,) = [
        p
        for p in world.live_posts(names.REMEDIATION_RUNNING)
        if p.labels[names.ORIGINAL] == echo.name
    ]
    assert posted.labels[names.INSTANCE] == echo.labels[names.INSTANCE]
    (facts,) = [f for f in world.input.facts if f.alert == "ServiceDown"]
    assert posted.ends_at == pytest.approx(world.episode(echo).first_seen + facts.grace_s)


def test_no_wait_keeps_an_episode_from_people_beyond_its_grace(world: World) -> None:
    world.workers.hold = True
    world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.settle()
    echo = world.kill("api:api-0")
    (facts,) = [f for f in world.input.facts if f.alert == "ServiceDown"]
    for _ in range(int(facts.grace_s) + 3):
        world.now += 1
        world.tick()
    assert world.episode(echo).firing
    assert echo.name not in {
        p.labels[names.ORIGINAL] for p in world.live_posts(names.REMEDIATION_RUNNING)
    }


@pytest.mark.parametrize("mode", ["dry-run", "approve"])
def test_what_the_loop_would_not_act_on_is_told_at_once(world: World, mode: str) -> None:
    world = remake(world, mode=mode)
    world.kill("database:database-0")
    world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.settle()
    assert world.live_posts(names.REMEDIATION_RUNNING) == []


# Reconciling


def test_the_end_of_an_alert_that_its_own_run_inhibited_is_found(world: World) -> None:
    alert = world.kill("api:api-1")
    world.run_for(3)
    world.resolve(alert, webhook=False)  # Alertmanager tells nobody of an inhibited alert's end
    world.run_for(12)
    assert world.runs(alert)[0].state is RunState.VERIFIED
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_an_alert_that_was_never_sent_is_found(world: World) -> None:
    world.up["api:api-1"] = False
    world.listed.append(world.alert("ServiceDown", "api", "api:api-1"))
    world.run_for(61)
    assert len(world.performed) == 1


def test_an_empty_alertmanager_ends_nothing_while_the_fault_is_there(world: World) -> None:
    world.curable = False
    alert = world.kill("api:api-1")
    world.run_for(70)
    world.listed = []
    world.run_for(130)
    assert world.episode(alert).firing
    world.prometheus = False
    world.up["api:api-1"] = True
    world.run_for(130)
    assert world.episode(alert).firing  # and Prometheus has to say so
    world.prometheus = True
    world.run_for(70)
    assert not world.episode(alert).firing
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_an_alert_without_facts_ends_after_two_lists_without_it(world: World) -> None:
    alert = world.fire("DiskFull", "api")
    world.run_for(5)
    assert world.episode(alert).state is EpisodeState.WATCHED
    world.listed = []
    world.run_for(60)
    assert world.episode(alert).firing
    world.run_for(61)
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_an_end_that_nobody_told_is_seen_when_the_run_ends(world: World) -> None:
    """Alertmanager does not tell of the end of an alert that is inhibited by then."""
    alert = world.kill("api:api-1")
    world.settle()
    world.resolve(alert, webhook=False)
    world.run_for(20)
    assert world.runs(alert)[0].state is RunState.VERIFIED
    assert not world.episode(alert).firing
    assert world.episode(alert).state is EpisodeState.CLOSED


def test_a_fault_that_comes_back_unheard_is_acted_on_within_seconds(world: World) -> None:
    """RemediationRunning inhibits it for the engine's receiver too, so no webhook comes."""
    first = world.kill("api:api-1")
    world.settle()
    world.resolve(first, webhook=False)
    world.run_for(20)
    assert len(world.performed) == 1
    assert world.live_posts(names.REMEDIATION_RUNNING)
    world.up["api:api-1"] = False
    world.listed.append(world.alert("ServiceDown", "api", "api:api-1"))
    world.run_for(2)
    assert len(world.performed) == 2


@pytest.mark.parametrize(
    "name", [names.REMEDIATION_FAILED, names.WATCHDOG, names.INCIDENT_AFTERMATH]
)
def test_the_engines_own_alerts_are_no_episodes(world: World, name: str) -> None:
    world.listed.append(world.alert(name, "api"))
    world.run_for(61)
    assert world.store.episodes(10, closed=True) == []


def test_an_alert_under_a_new_start_ends_the_old_episode(world: World) -> None:
    world.curable = False
    old = world.kill("api:api-1")
    world.run_for(70)
    world.listed = []
    new = world.fire("ServiceDown", "api", "api:api-1")
    world.run_for(61)
    assert not world.episode(old).firing
    assert world.episode(new).firing


# Scaling


def heal_by_scaling(world: World) -> None:
    def cure(action: Action) -> None:
        if action.kind == "scale_out":
            world.faults.clear()

    world.cures = cure


def test_load_scales_out_and_quiet_scales_in(world: World) -> None:
    heal_by_scaling(world)
    alert = world.fire("HighLatency", "api")
    world.run_for(30)
    assert world.store.wanted("api") == 3
    assert world.runs(alert)[0].state is RunState.VERIFIED
    world.resolve(alert)
    world.run_for(280)
    assert world.store.wanted("api") == 3
    world.run_for(60)
    assert world.store.wanted("api") == 2
    assert [a.kind for a in world.performed] == ["scale_out", "scale_in"]
    _, back = world.runs(alert)
    assert (back.attempt, back.plan.rung, back.state) == (1, -1, RunState.VERIFIED)
    assert world.episode(alert).state is EpisodeState.CLOSED
    world.run_for(400)
    assert len(world.performed) == 2


def test_quiet_is_counted_anew_when_the_fault_shows_without_an_alert(world: World) -> None:
    heal_by_scaling(world)
    alert = world.fire("HighLatency", "api")
    world.run_for(30)
    world.resolve(alert)
    world.run_for(280)
    world.faults = {"slow": {"api"}}
    world.run_for(60)
    world.faults.clear()
    world.run_for(200)
    assert world.store.wanted("api") == 3
    world.run_for(120)
    assert world.store.wanted("api") == 2


def test_a_scale_in_that_brings_the_fault_back_has_failed_without_a_page(world: World) -> None:
    heal_by_scaling(world)
    alert = world.fire("HighLatency", "api")
    world.run_for(30)
    world.resolve(alert)
    world.cures = lambda a: world.faults.update(slow={"api"})
    world.run_for(420)
    back = world.runs(alert)[-1]
    assert (back.plan.rung, back.state) == (-1, RunState.FAILED)
    assert world.posts(names.REMEDIATION_FAILED) == []


def test_a_scale_out_that_failed_changes_nothing_wanted(world: World) -> None:
    world.perform_with = lambda a: StepResult(False, True, "did not start")
    world.fire("HighLatency", "api")
    world.settle()
    assert world.store.wanted("api") is None


# Trouble of its own


def test_a_bug_in_one_episode_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = world.answer

    def broken(expr: str) -> list[Sample]:
        if expr == "errors":
            raise ZeroDivisionError("a bug")
        return answer(expr)

    monkeypatch.setattr(world, "answer", broken)
    ill = world.fire("HighErrorRate", "api", starts_at=world.now - 20)
    world.kill("database:database")
    world.run_for(10)
    assert [a.target for a in world.performed] == ["database:database"]
    assert 3 <= world.signals.total("errors", where="episode") <= 6  # with a growing pause
    monkeypatch.undo()
    world.run_for(120)
    assert len(world.runs(ill)) == 1


def test_a_store_that_refuses_stops_actions_and_nothing_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("engine.sqlite", "the disk is full")

    alert = world.kill("api:api-1")
    with monkeypatch.context() as patch:
        for method in ("record", "set_episode", "end_action", "begin_action", "escalate"):
            patch.setattr(world.store, method, full)
        world.run_for(10)
        assert world.performed == []
    world.run_for(70)
    assert world.runs(alert)[0].state is RunState.VERIFIED


def test_a_result_that_cannot_be_written_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("engine.sqlite", "the disk is full")

    alert = world.kill("api:api-1")
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "end_action", full)
        for _ in range(3):
            world.tick()
            world.now += 1
    world.run_for(20)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED
    assert world.store.actions(run.id)[0].result is not None
    assert len(world.performed) == 1


def test_of_two_engines_one_acts(world: World) -> None:
    world.holder = "engine-2"
    other = world.new_engine()
    world.kill("api:api-1")
    other.tick(world.now)
    assert [other.active] == [False]
    assert world.performed == []
    world.now += 20  # the first one is gone, and its lease with it
    other.tick(world.now)
    assert other.active
    assert len(world.performed) == 1


def test_the_engine_that_lost_its_lease_stands_back(world: World) -> None:
    world.holder = "engine-2"
    other = world.new_engine()
    world.now += 20
    other.tick(world.now)
    world.kill("api:api-1")
    world.engine.tick(world.now)
    assert not world.engine.active
    assert world.performed == []


def test_a_clock_that_goes_back_stops_nothing(world: World) -> None:
    world.now -= 7200
    alert = world.kill("api:api-1")
    world.run_for(120)
    assert world.runs(alert)
    assert world.signals.total("errors") == 0


def test_a_policy_that_left_the_catalog_during_a_run_tells_people(world: World) -> None:
    alert = world.kill("api:api-1")
    world.tick()
    world.input = world.input.model_copy(update={"facts": []})
    world.engine = world.new_engine()
    world.run_for(10)
    assert world.runs(alert)[0].state is RunState.FAILED
    assert world.episode(alert).state is EpisodeState.ESCALATED
    assert len(world.live_posts(names.REMEDIATION_FAILED)) == 1


def test_an_engine_whose_turns_fail_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tick()
    assert world.engine.failing == ""

    def refuse(now: float, limit: int) -> list[Episode]:
        raise StoreError("engine.sqlite", "no such table: episodes")

    with monkeypatch.context() as broken:
        broken.setattr(world.store, "due", refuse)
        world.run_for(10)
        assert world.engine.failing == "due: engine.sqlite: no such table: episodes"
    world.run_for(10)
    assert world.engine.failing == ""


def test_a_service_whose_database_may_be_down_is_not_restarted_at_once(world: World) -> None:
    world.fire("HighErrorRate", "api")
    world.run_for(3)
    assert world.performed == []
    world.run_for(60)
    assert world.performed, "the database had its time to show that it is down, and is not"


# Age


def closed(world: World) -> list[Episode]:
    return world.store.episodes(10, closed=True)


def test_what_is_older_than_the_catalog_keeps_is_forgotten(world: World) -> None:
    alert = world.kill("api:api-1")
    world.settle()
    world.resolve(alert)
    world.run_for(60)
    assert world.episode(alert).state is EpisodeState.CLOSED
    for _ in range(89 * 24 * 12 // 120):  # a suspended machine wakes every ten hours
        world.now += 36_000.0
        world.settle()
    assert len(closed(world)) == 1
    world.now += 2 * 86_400.0
    world.settle()
    assert len(closed(world)) == 1, "the clock has just leaped ahead: it may be wrong"
    for _ in range(15):
        world.now += 280.0
        world.settle()
    assert closed(world) == []
    assert world.store.verify_audit().ok
