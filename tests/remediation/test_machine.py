"""The whole life of episodes and runs under random events, on the real store."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from opsloop import names
from opsloop.errors import DriverError
from opsloop.remediation.engine import Engine
from opsloop.remediation.episode import Alert, EpisodeState
from opsloop.remediation.plan import Action, RunState
from opsloop.remediation.ports import StepResult
from opsloop.store.sqlite import SqliteStore
from tests.remediation.world import Died, Workers, World

TARGETS = ["api:api-0", "api:api-1", "database:database"]


class Loop(RuleBasedStateMachine):
    """Deliveries repeated and late, ends at any time, crashes, outages, clock jumps, pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.world.settle()
        self.alerts: list[Alert] = []
        self.latest = self.world.now
        self.outcome = "works"
        self.performed: list[tuple[int, int]] = []
        self.world.perform_with = self._perform
        self.other: tuple[SqliteStore, Workers, Engine] | None = None
        self.were_two = False

    def teardown(self) -> None:
        self.other_dies()
        assert self.world.store.verify_audit().ok
        self.world.store.close()
        self.folder.cleanup()

    def _perform(self, action: Action) -> StepResult:
        open_runs = [
            r
            for r in self.world.store.open_runs()
            if r.state is RunState.ACTING and action in r.plan.actions
        ]
        assert len(open_runs) == 1, "an action outside of an open run"
        assert not self.world.store.paused()[0] or self.world.workers.hold
        run, index = open_runs[0], open_runs[0].plan.actions.index(action)
        assert (run.id, index) not in self.performed, "an action was done twice"
        self.performed.append((run.id, index))
        if self.outcome == "dies before":
            raise Died
        if self.outcome == "dies after" and action.kind == "restart":
            self.world.up[action.target] = True
            raise Died
        if self.outcome == "works":
            if action.kind == "restart":
                self.world.up[action.target] = True
                self.world.faults.pop("errors", None)
            return StepResult(True, True, "done")
        if self.outcome == "cannot say":
            raise DriverError(action.target, "timed out", started=True)
        if self.outcome == "breaks":
            raise ZeroDivisionError
        return StepResult(False, True, "failed")

    @rule(which=st.sampled_from(TARGETS))
    def kill(self, which: str) -> None:
        if self.world.up[which]:
            self.alerts.append(self.world.kill(which))

    @rule()
    def errors(self) -> None:
        if "api" not in self.world.faults.get("errors", ()):
            self.alerts.append(self.world.fire("HighErrorRate", "api"))

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        if self.alerts:
            self.world.store.intake([data.draw(st.sampled_from(self.alerts))], self.world.now)

    @rule(data=st.data(), webhook=st.booleans())
    def resolve(self, data: st.DataObject, webhook: bool) -> None:
        if self.alerts:
            self.world.resolve(data.draw(st.sampled_from(self.alerts)), webhook=webhook)

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 20.0, 90.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run_for(seconds)

    @rule(jump=st.sampled_from([-3600.0, -30.0, 30.0]))
    def clock_jumps(self, jump: float) -> None:
        self.latest = max(self.latest, self.world.now)
        self.world.now += jump
        self.world.tick()

    @rule()
    def crash(self) -> None:
        self.world.crash()
        self.world.tick()

    @rule(
        commits=st.integers(0, 7), durable=st.booleans(), seconds=st.sampled_from([0.0, 5.0, 20.0])
    )
    def crash_at_a_commit(self, commits: int, durable: bool, seconds: float) -> None:
        """At every point between two writes, and between a write and its answer."""
        self.world.commits_left, self.world.dies_durable = commits, durable
        try:
            self.world.run_for(seconds)
        except Died:
            self.world.crash()
            self.world.tick()
        self.world.commits_left = None

    @rule(when=st.sampled_from(["dies before", "dies after"]))
    def crash_in_an_action(self, when: str) -> None:
        outcome, self.outcome = self.outcome, when
        try:
            self.world.workers.release()
            self.world.run_for(5.0)
        except Died:
            self.outcome = outcome
            self.world.crash()
            self.world.tick()
        self.outcome = outcome

    @rule(which=st.sampled_from(TARGETS))
    def kill_without_a_webhook(self, which: str) -> None:
        """The payload had no room for it, so it is only in the list."""
        if self.world.up[which]:
            self.world.up[which] = False
            alert = self.world.alert("ServiceDown", which.partition(":")[0], which)
            self.world.listed.append(alert)
            self.alerts.append(alert)
            self.world.engine.reconcile_soon()

    @rule(takes_over=st.booleans())
    def another_engine_turns(self, takes_over: bool) -> None:
        """By mistake, on the same store; one that takes over believes that the first is gone."""
        if self.other is None:
            store, workers = SqliteStore(self.world.store.path), Workers()
            self.other = store, workers, self.world.new_engine(store, workers, "engine-2")
        store, _, engine = self.other
        self.were_two = True
        if takes_over:
            store.drop_lease()
        for _ in range(3):
            engine.tick(self.world.now)
        self.world.tick()

    @rule()
    def other_dies(self) -> None:
        if self.other is not None:
            self.other[0].close()
            self.other = None

    @rule()
    def workers_hang(self) -> None:
        self.world.workers.hold = True

    @rule()
    def workers_go_on(self) -> None:
        self.world.workers.hold = False
        self.world.workers.release()
        self.world.tick()

    @rule()
    def pause_or_resume(self) -> None:
        if self.world.store.paused()[0]:
            self.world.store.resume("", self.world.now)
        else:
            self.world.store.pause("", self.world.now)

    @rule(source=st.sampled_from(["prometheus", "alertmanager", "fleet", "measured", "fresh"]))
    def toggle(self, source: str) -> None:
        setattr(self.world, source, not getattr(self.world, source))

    @rule(outcome=st.sampled_from(["works", "fails", "cannot say", "breaks"]))
    def actions_now(self, outcome: str) -> None:
        self.outcome = outcome

    @invariant()
    def no_bug_was_caught(self) -> None:
        assert self.world.signals.total("errors") == 0
        # Of two engines one may come too late, and is told so.
        assert self.were_two or self.world.signals.total("store_errors") == 0

    @invariant()
    def one_run_a_target_and_half_a_service(self) -> None:
        held: list[str] = []
        for run in self.world.store.open_runs():
            held += run.plan.resources
            if run.plan.policy == "restart-down":
                assert len(run.plan.actions) == 1
        assert len(held) == len(set(held))
        acting = [
            r
            for r in self.world.store.open_runs()
            if r.service == "api" and r.state is not RunState.PLANNED
        ]
        assert len(acting) <= 1

    @invariant()
    def people_are_told_once_an_episode(self) -> None:
        told = [e.episode_id for e in self.world.store.escalations()]
        assert len(told) == len(set(told))

    @invariant()
    def nothing_is_left_lying(self) -> None:
        """Whatever is open is due, worked on, or has been told."""
        working = {r.episode_id for r in self.world.store.open_runs()}
        told = {e.episode_id for e in self.world.store.escalations()}
        for episode in self.world.store.episodes(1000):
            if episode.state is EpisodeState.ESCALATED:
                assert episode.id in told
            else:
                watched = episode.state is EpisodeState.WATCHED
                assert watched or episode.due_at is not None or episode.id in working

    @rule()
    def all_is_well_again(self) -> None:
        """With every source back and the cause gone, the loop comes to rest by itself."""
        world = self.world
        for source in ("prometheus", "alertmanager", "fleet", "measured", "fresh"):
            setattr(world, source, True)
        world.store.resume("", world.now)
        self.outcome = "works"
        self.other_dies()
        world.now = max(world.now, self.latest) + 4000  # beyond every jump back
        self.workers_go_on()
        world.run_for(200)
        world.up.update(dict.fromkeys(world.up, True))
        world.faults.clear()
        for alert in list(world.listed):
            world.resolve(alert)
        world.run_for(400)
        assert world.store.open_runs() == []
        assert world.store.escalations() == []
        assert world.store.episodes(1000) == []
        assert world.live_posts(names.REMEDIATION_FAILED) == []
        assert world.live_posts(names.REMEDIATION_RUNNING) == []
        self.alerts.clear()


def machine(examples: int, *, same_each_time: bool) -> settings:
    return settings(
        max_examples=examples,
        derandomize=same_each_time,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def test_the_loop_under_random_events() -> None:
    run_state_machine_as_test(Loop, settings=machine(12, same_each_time=True))


@pytest.mark.full
def test_the_loop_under_many_random_events() -> None:
    run_state_machine_as_test(Loop, settings=machine(300, same_each_time=False))
