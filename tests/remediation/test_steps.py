"""Steps beside restart and scale, through the whole engine: what is done, what never twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opsloop import names
from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.model import Catalog
from opsloop.errors import DriverError
from opsloop.remediation.episode import Alert, EpisodeState
from opsloop.remediation.plan import Action, Plan, RunState
from opsloop.remediation.ports import StepResult
from tests.remediation.world import CATALOG, FACTS, World, given

SCRIPT = {"script": {"command": ["./fix.sh"]}}
RESTART = {"restart": {"scope": "service"}}
BEGUN_S = 16.0  # after which a run has begun: what api depends on may speak first


def world_of(path: Path, *steps: dict[str, Any], **policy: Any) -> World:
    """Error alerts of api climb these steps; what is done is cured by nothing by itself."""
    made = World(path, given(restart_on_errors={"steps": list(steps), **policy}))
    made.perform_with = lambda _action: StepResult(True, True, "done")
    return made


def done(world: World) -> list[str]:
    return [a.kind for a in world.performed if not a.effectless]


def cured_by(world: World, kind: str) -> Callable[[Action], StepResult]:
    def perform(action: Action) -> StepResult:
        if action.kind == kind:
            world.faults.clear()
        return StepResult(True, True, "done")

    return perform


def test_a_script_is_told_of_the_alert_by_values_and_verified(tmp_path: Path) -> None:
    world = world_of(tmp_path, SCRIPT)
    world.perform_with = cured_by(world, "script")
    alert = world.fire("HighErrorRate", "api")
    world.run_for(90)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED
    (action,) = world.performed
    assert (action.kind, action.target, action.idempotent) == ("script", "api", False)
    assert action.work is not None
    assert action.work.command == ("./fix.sh",)
    assert dict(action.work.values)["OPSLOOP_SERVICE"] == "api"
    assert len(action.work.id) == 32
    assert Plan.from_json(run.plan.to_json()) == run.plan
    assert run.plan.hash == Plan.from_json(run.plan.to_json()).hash


@pytest.mark.parametrize("kind", ["script", "playbook", "webhook"])
def test_what_a_crash_hid_is_never_done_again(tmp_path: Path, kind: str) -> None:
    steps: dict[str, dict[str, Any]] = {
        "script": SCRIPT,
        "playbook": {"playbook": {"path": "fix.yml"}},
        "webhook": {"webhook": {"url": "https://example.org/fix"}},
    }
    world = world_of(tmp_path, steps[kind], RESTART)
    world.workers.hold = True
    alert = world.fire("HighErrorRate", "api")
    world.run_for(BEGUN_S)
    world.crash()
    world.workers.hold = False
    world.run_for(200)
    assert world.runs(alert)[0].state is RunState.FAILED
    assert done(world) == []  # the first one's effect was lost with its worker
    assert world.episode(alert).state is EpisodeState.ESCALATED
    assert "its step is not idempotent" in world.episode(alert).reason


def test_a_step_that_is_declared_idempotent_is_done_again_after_a_crash(tmp_path: Path) -> None:
    world = world_of(tmp_path, {**SCRIPT, "idempotent": True})
    world.workers.hold = True
    alert = world.fire("HighErrorRate", "api")
    world.run_for(BEGUN_S)
    world.crash()
    world.workers.hold = False
    world.perform_with = cured_by(world, "script")
    world.run_for(300)
    assert [r.state for r in world.runs(alert)] == [RunState.FAILED, RunState.VERIFIED]
    assert done(world) == ["script"]


def test_a_script_that_had_to_be_ended_is_unknown_and_not_done_again(tmp_path: Path) -> None:
    world = world_of(tmp_path, SCRIPT, RESTART)

    def perform(action: Action) -> StepResult:
        raise DriverError(action.target, "did not end within 60 s", started=True)

    world.perform_with = perform
    alert = world.fire("HighErrorRate", "api")
    world.run_for(300)
    assert done(world) == ["script"]
    assert world.episode(alert).state is EpisodeState.ESCALATED
    moves = [(b["from"], b["to"]) for b in world.audit(alert, "run")]
    assert ("acting", "unknown") in moves


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_condition_that_does_not_hold_ends_the_step_and_the_next_one_comes(
    tmp_path: Path, side: str
) -> None:
    world = world_of(tmp_path, {**SCRIPT, side: [{"query": "replica_caught_up == 1"}]}, RESTART)

    def perform(action: Action) -> StepResult:
        if action.kind == "check":
            return StepResult(False, False, "does not hold: no series")
        return cured_by(world, "restart")(action)

    world.perform_with = perform
    alert = world.fire("HighErrorRate", "api")
    world.run_for(200)
    first, second = world.runs(alert)
    assert first.state is RunState.FAILED
    assert first.reason == f"a condition {side} the step: does not hold: no series"
    assert second.state is RunState.VERIFIED
    assert done(world)[0] == ("restart" if side == "before" else "script")


def test_conditions_that_hold_stand_around_the_step(tmp_path: Path) -> None:
    held = {"before": [{"query": "a"}, {"probe": "127.0.0.1:1/x"}], "after": [{"query": "b"}]}
    world = world_of(tmp_path, {**SCRIPT, **held})
    world.perform_with = cured_by(world, "script")
    alert = world.fire("HighErrorRate", "api")
    world.run_for(90)
    assert [a.kind for a in world.performed] == ["check", "check", "script", "check"]
    assert world.runs(alert)[0].state is RunState.VERIFIED


def test_an_alert_that_resolves_while_conditions_are_looked_at_cancels_the_run(
    tmp_path: Path,
) -> None:
    world = world_of(tmp_path, {**SCRIPT, "before": [{"query": "a"}]})
    world.workers.hold = True
    alert = world.fire("HighErrorRate", "api")
    world.run_for(BEGUN_S)
    world.faults.clear()
    world.resolve(alert)
    world.workers.hold = False
    world.workers.release()
    world.run_for(5)
    (run,) = world.runs(alert)
    assert (run.state, run.reason) == (
        RunState.CANCELLED,
        "the alert resolved before the step began",
    )
    assert done(world) == []


def test_a_crash_while_conditions_are_looked_at_did_nothing(tmp_path: Path) -> None:
    world = world_of(tmp_path, {**SCRIPT, "before": [{"query": "a"}]})
    world.workers.hold = True
    alert = world.fire("HighErrorRate", "api")
    world.run_for(BEGUN_S)
    world.crash()
    world.workers.hold = False
    world.perform_with = cured_by(world, "script")
    world.run_for(120)
    assert [r.state for r in world.runs(alert)] == [RunState.CANCELLED, RunState.VERIFIED]
    assert done(world) == ["script"]


def test_wait_and_see_ends_well_by_itself_or_the_next_step_comes(tmp_path: Path) -> None:
    world = world_of(tmp_path, {"wait": {"for": "30s"}}, RESTART)
    alert = world.fire("HighErrorRate", "api")
    world.run_for(BEGUN_S)
    assert done(world) == []
    world.faults.clear()
    world.run_for(60)
    assert [r.state for r in world.runs(alert)] == [RunState.VERIFIED]
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", world.input)
    other.perform_with = cured_by(other, "restart")
    again = other.fire("HighErrorRate", "api")
    other.run_for(200)
    first, second = other.runs(again)
    assert (first.state, second.state) == (RunState.FAILED, RunState.VERIFIED)
    assert first.reason.startswith("not verified within 30 s")


UNDO = {**SCRIPT, "undo": {"worse": "worse", "script": {"command": ["./undo.sh"]}}}


def makes_it_worse(world: World) -> Callable[[Action], StepResult]:
    def perform(action: Action) -> StepResult:
        assert action.work is not None
        undoes = action.work.command == ("./undo.sh",)
        world.series["worse"] = [] if undoes else [({}, 0.9)]
        return StepResult(True, True, "done")

    return perform


def commands(world: World) -> list[str]:
    return [a.work.command[0] for a in world.performed if a.work is not None]


def test_a_step_that_made_it_worse_is_taken_back_once(tmp_path: Path) -> None:
    world = world_of(tmp_path, UNDO)
    world.series["worse"] = []
    world.perform_with = makes_it_worse(world)
    alert = world.fire("HighErrorRate", "api")
    world.run_for(300)
    (run,) = world.runs(alert)
    assert (run.state, run.reason) == (RunState.FAILED, "made it worse; undone")
    assert commands(world) == ["./fix.sh", "./undo.sh"]
    assert world.episode(alert).state is EpisodeState.ESCALATED
    (told,) = world.live_posts(names.REMEDIATION_FAILED)
    assert "made it worse; undone" in told.annotations["tried"]


def test_a_step_that_only_does_not_help_is_not_taken_back(tmp_path: Path) -> None:
    world = world_of(tmp_path, UNDO)
    world.series["worse"] = []
    world.fire("HighErrorRate", "api")
    world.run_for(300)
    assert commands(world) == ["./fix.sh"]


def test_the_kill_switch_stops_an_undo_too(tmp_path: Path) -> None:
    world = world_of(tmp_path, UNDO)
    world.series["worse"] = []
    act = makes_it_worse(world)

    def perform(action: Action) -> StepResult:
        world.store.pause("a person looks", world.now)
        return act(action)

    world.perform_with = perform
    alert = world.fire("HighErrorRate", "api")
    world.run_for(60)
    (run,) = world.runs(alert)
    assert commands(world) == ["./fix.sh"]
    assert run.state is RunState.FAILED
    assert "not undone" in run.reason
    assert "a person looks" in run.reason


def test_a_crash_during_an_undo_does_it_no_second_time(tmp_path: Path) -> None:
    world = world_of(tmp_path, {**UNDO, "idempotent": None})
    world.series["worse"] = []
    act = makes_it_worse(world)

    def perform(action: Action) -> StepResult:
        world.workers.hold = True  # the next one is begun, and its worker dies
        return act(action)

    world.perform_with = perform
    alert = world.fire("HighErrorRate", "api")
    world.run_for(2 * BEGUN_S)
    assert len(world.workers.waiting) == 1
    world.crash()
    world.workers.hold = False
    world.run_for(300)
    assert commands(world) == ["./fix.sh"]
    assert world.runs(alert)[0].state is RunState.FAILED
    assert world.episode(alert).state is EpisodeState.ESCALATED


@pytest.mark.parametrize("value", ["api; rm -rf /", "$(id)", "a\nb", "../../etc", "é", "x" * 300])
def test_a_label_that_is_not_plain_is_handed_to_nothing(tmp_path: Path, value: str) -> None:
    world = world_of(tmp_path, SCRIPT)
    alert = world.fire("HighErrorRate", "api", labels={"instance": value})
    world.run_for(30)
    assert world.performed == []
    assert "label instance holds characters that no action is told" in world.episode(alert).reason


def test_labels_that_are_not_on_the_list_are_never_told(tmp_path: Path) -> None:
    world = world_of(tmp_path, SCRIPT)
    world.fire("HighErrorRate", "api", labels={"evil": "$(id)", "LD_PRELOAD": "/tmp/x.so"})
    world.run_for(BEGUN_S)
    (action,) = world.performed
    assert action.work is not None
    said = json.dumps(action.work.values)
    assert "evil" not in said.lower()
    assert "/tmp/x.so" not in said


@pytest.mark.parametrize(("share", "acts"), [("50%", False), ("100%", True)])
def test_a_script_that_takes_the_whole_service_is_held_by_the_radius(
    tmp_path: Path, share: str, acts: bool
) -> None:
    step = {"script": {"command": ["./fix.sh"], "touches": "service"}}
    world = world_of(tmp_path, step, limits={"max_runs": 5, "window": "1h", "max_share": share})
    alert = world.fire("HighErrorRate", "api")
    world.run_for(BEGUN_S)
    assert done(world) == (["script"] if acts else [])
    if acts:
        assert set(world.runs(alert)[0].plan.resources) == {"api", "api:api-0", "api:api-1"}


def backup_world(path: Path, mode: str = "auto") -> World:
    """BackupFailed of a backup whose service is the database."""
    raw = {
        **CATALOG,
        "backups": {"orders": {"every": "1h", "command": ["./b.sh"], "service": "database"}},
        "remediation": {
            "mode": mode,
            "policies": {
                "again": {
                    "when": {"alert": ["BackupFailed"]},
                    "steps": ["backup"],
                    "limits": {"max_runs": 2, "window": "1h"},
                    "verify": {"hold": "6s", "timeout": "60s"},
                }
            },
        },
    }
    facts = AlertFacts(
        alert="BackupFailed", policy="again", scope="service", severity="P2", condition="failed",
        fresh="fresh", sli="success", window_s=12, interval_s=5, grace_s=60,
    )  # fmt: skip
    world = World(path, EngineInput(catalog=Catalog.model_validate(raw), facts=[*FACTS, facts]))
    about = {"service": "database", "backup": "orders"}
    world.series = {"failed": [(about, 0.0)], "success": []}

    def perform(action: Action) -> StepResult:
        assert action.kind == "backup"
        world.series = {"failed": [], "success": [(about, 1.0)]}
        return StepResult(True, True, "done")

    world.perform_with = perform
    return world


def fire_backup(world: World) -> Alert:
    labels = {"policy": "again", "backup": "orders", "severity": "P2"}
    return world.fire("BackupFailed", "database", labels=labels)


def test_a_backup_is_run_again_though_the_instances_are_not_known(tmp_path: Path) -> None:
    world = backup_world(tmp_path)
    world.fleet = False  # nothing of this needs the fleet
    alert = fire_backup(world)
    world.run_for(60)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED, run.reason
    assert run.plan.resources == ("backup/orders",)
    (action,) = world.performed
    assert (action.target, action.idempotent) == ("backup/orders", True)
    assert action.work is not None
    assert action.work.command == ("./b.sh",)


def test_the_budget_holds_a_backup_that_keeps_failing(tmp_path: Path) -> None:
    world = backup_world(tmp_path)
    world.perform_with = lambda _action: StepResult(True, True, "done, it says")
    alert = fire_backup(world)
    world.run_for(300)
    assert len(world.performed) == 1  # the only step was tried
    assert world.episode(alert).state is EpisodeState.ESCALATED


def test_dry_run_says_what_it_would_do(tmp_path: Path) -> None:
    world = backup_world(tmp_path, "dry-run")
    alert = fire_backup(world)
    world.run_for(BEGUN_S)
    assert world.performed == []
    assert world.episode(alert).reason == "dry-run: would run backup/orders again: ./b.sh"
