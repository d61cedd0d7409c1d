"""Small storms and crashes of the real engine, by the benchmarks' own harness; and its judge."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import crash, storm
from benchmarks._judge import judge
from benchmarks._rig import ROOT, Rig, Shape
from benchmarks._senders import Senders
from benchmarks._world import Fault, World
from opsloop import names
from opsloop.remediation.episode import Alert, EpisodeState
from opsloop.remediation.plan import Action, Plan, Run, RunState
from opsloop.remediation.ports import StepResult, Written
from opsloop.store.sqlite import SqliteStore

SMALL = Shape(services=2, max_runs=3)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: socket paths are limited."""
    with tempfile.TemporaryDirectory(prefix="ot-") as made:
        yield Path(made)


@pytest.mark.full
def test_a_storm_loses_nothing_and_does_nothing_twice(folder: Path) -> None:
    done = storm.storm(folder, SMALL, episodes=14, per_episode=40, seed=5)
    assert done.findings.broken == []
    assert done.wrong == []
    assert done.delivered >= 14 * 40
    assert done.findings.counts["runs"] >= 4
    assert done.findings.counts["escalations"] > 0, "no budget was ever used up"
    assert done.peak_mib < 300
    assert max(done.pauses_s) < 1.0


@pytest.mark.full
def test_kills_at_random_moments_lose_nothing_and_do_nothing_twice(folder: Path) -> None:
    done = crash.crashes(folder, Shape(services=2), kills=6, seed=5)
    assert done.findings.broken == []
    assert (done.wrong, done.refused) == ([], [])
    assert done.kills == 6
    assert done.acknowledged > 0
    assert done.findings.counts["verified"] > 0


@pytest.mark.full
def test_an_engine_that_answers_before_its_commit_is_found_out(folder: Path) -> None:
    """The harness itself: what it cannot see broken it does not show to be whole."""
    source = folder / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    intake = source / "opsloop" / "web" / "intake.py"
    text = intake.read_text()
    assert text.count("        await future\n") == 1
    intake.write_text(text.replace("        await future\n", ""))
    shape, without_pause = Shape(services=2), 10**6
    done = crash.crashes(folder, shape, kills=6, seed=5, source=source, per_episode=without_pause)
    assert any("was acknowledged and is not stored" in text for text in done.findings.lost)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_takes_nothing_loses_nothing(kind: str) -> None:
    results = {r.name.partition(": ")[2]: r for r in crash.on_disk(kind, seed=7, kills=2)}
    if "" in results:
        pytest.skip(results[""].note)
    assert results["rules broken"].value == 0, results["rules broken"].note
    assert results["starts or webhooks refused with the reason"].met
    assert results["goes on with room again"].met


# The judge itself: each rule, broken by hand in a store that was well


class Case:
    """A rig without an engine; its store and ledger are written here."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder, Shape(services=2, instances=5, max_runs=2))
        self.world = World(self.rig, 1, 10)
        self.senders = Senders(self.world, 1, 1)
        self.path = self.rig.state / names.STORE_FILE
        self.store = SqliteStore(self.path)
        for target in self.rig.targets:
            self.start(target.name, 0.0)

    def start(self, target: str, at: float) -> None:
        with self.rig.ledger.open("a") as file:
            file.write(f"{target} 1 {at}\n")

    def run(self, number: int, at: float, target: str = "s0:s0-0", attempt: int = 0) -> Run:
        """A whole run: taken, decided, acted at `at`, verified."""
        alert = Alert(f"{number:016x}", at, True, {"service": "s0", "policy": "restart"})
        self.store.intake([alert], at)
        episode = next(e for e in self.store.firing() if e.fingerprint == alert.fingerprint)
        actions = (Action("restart", "s0", target, "127.0.0.1:1"),)
        plan = Plan("restart", "s0", 0, actions, (target,))
        state = EpisodeState.RUNNING
        written = Written(episode, "act", "x", (), state, None, plan, attempt=attempt)
        run = self.store.record(written, at)
        assert run is not None
        self.store.begin_action(run, 0, at)
        self.start(target, at + 0.2)
        instance = next(t for t in self.rig.targets if t.name == target)
        fault = Fault(number, instance, at - 0.1, silent=False)
        self.world.ended.append((fault, at + 0.2))
        self.store.end_action(run, 0, StepResult(True, True, ""), at + 0.3)
        run = self.store.move_run(run, RunState.VERIFYING, "", at + 0.3)
        run = self.store.move_run(run, RunState.VERIFIED, "", at + 3.0, good_since=at + 2.0)
        self.store.intake([dataclasses.replace(alert, firing=False)], at + 4)
        self.store.set_episode(episode.id, EpisodeState.CLOSED, "", None, at + 4)
        self.senders.acknowledged[alert.fingerprint] = {"firing"}
        return run

    def broken(self) -> list[str]:
        return judge(self.rig, self.world, self.senders).broken

    def change(self, *statements: str) -> None:
        """Past the store's code and its triggers, as a bug would."""
        with sqlite3.connect(self.path) as c:
            for (name,) in c.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
            ).fetchall():
                c.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                c.execute(statement)
        c.close()


@pytest.fixture
def case(folder: Path) -> Iterator[Case]:
    made = Case(folder)
    yield made
    made.store.close()


def test_what_is_well_is_found_well(case: Case) -> None:
    case.run(1, 100.0)
    case.run(2, 200.0, "s0:s0-1")
    assert case.broken() == []


def test_each_rule_is_found_broken(case: Case) -> None:
    run = case.run(1, 100.0)
    case.senders.acknowledged["f" * 16] = {"firing"}
    assert case.broken() == [f"lost: {'f' * 16} was acknowledged and is not stored"]
    case.senders.acknowledged.pop("f" * 16)
    case.start("s0:s0-0", 101.0)
    assert case.broken() == ["doubled: s0:s0-0 was started twice by its action 1"]
    case.start("s0:s0-4", 101.0)
    assert "doubled: s0:s0-4 was started before any action on it" in case.broken()
    case.run(2, 200.0, "s0:s0-1")
    case.run(3, 300.0, "s0:s0-1")
    assert "budget: 3 runs of restart on s0 within the hour" in case.broken()
    assert "budget: 3 starts of s0 within the hour" in case.broken()
    case.change(f"UPDATE runs SET state = 'cancelled' WHERE id = {run.id}")
    assert f"untrue: run {run.id} (cancelled) did something" in case.broken()
    case.change(f"UPDATE runs SET state = 'acting', finished_at = NULL WHERE id = {run.id}")
    assert f"untrue: run {run.id} (acting) has not ended" in case.broken()
    case.change("UPDATE audit SET body = '{}' WHERE id = 1")
    assert "damaged: the audit: row 1 was changed after it was written" in case.broken()


def test_more_instances_at_once_than_allowed_are_found(case: Case) -> None:
    """Two of five are allowed."""
    for number, target in enumerate(("s0:s0-0", "s0:s0-1", "s0:s0-2")):
        case.run(number, 100.0 + number / 10, target)
    assert any(text.startswith("radius: more than 2 of s0") for text in case.broken())


def test_an_action_during_a_pause_is_found(case: Case) -> None:
    run = case.run(1, 100.0)
    case.change("UPDATE audit SET kind = 'pause' WHERE id = 1")
    assert f"paused: run {run.id} began an action during a pause" in case.broken()


def test_an_action_on_what_is_well_is_found(case: Case) -> None:
    run = case.run(1, 100.0)
    case.world.ended.clear()
    assert case.broken() == [f"untrue: run {run.id} acted on s0:s0-0, which was well"]


def test_an_episode_that_ends_before_its_fault_is_found(case: Case) -> None:
    case.run(1, 100.0)
    ((fault, _),) = case.world.ended
    case.world.ended[:] = [(fault, 200.0)]
    assert f"untrue: {fault.fingerprint} was ended while its fault was there" in case.broken()


def test_a_page_that_never_came_or_that_nothing_asked_for_is_found(case: Case) -> None:
    run = case.run(1, 100.0)
    case.rig.lives.append((90.0, 200.0))
    episode = case.store.episode(run.episode_id)
    assert case.store.escalate(episode, run.id, "x", {"alertname": "RemediationFailed"}, {}, 105.0)
    assert f"lost: people were never told of episode {episode.id}" in case.broken()
    case.world.post([{"labels": {"alertname": "RemediationFailed"}}])
    assert case.broken() == []
    case.world.post([{"labels": {"alertname": "RemediationFailed", "instance": "x"}}])
    (text,) = case.broken()
    assert text.startswith("untrue: people were told of what is not stored")
