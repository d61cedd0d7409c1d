"""Each invariant has a test that fails when it is broken: here each is broken, in a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORE = "tests/store/test_sqlite.py::TestSqlite"
SCHEMA = "tests/store/test_sqlite.py::test_the_schema_refuses"
ENGINE = "tests/remediation/test_engine.py"


@dataclass(frozen=True)
class Break:
    """One line of src/opsloop changed, and the test that must fail then."""

    invariant: int
    what: str
    file: str
    old: str
    new: str
    test: str


BREAKS = [
    Break(
        1,
        "no fsync at the commit",
        "store/connection.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        "tests/store/test_crash.py::test_every_connection_that_writes_syncs_in_full",
    ),
    Break(
        1,
        "200 before the commit",
        "web/intake.py",
        "        await future\n",
        "",
        "tests/web/test_intake.py::test_no_answer_before_the_store_says_durable",
    ),
    Break(
        1,
        "what came meanwhile is written over",
        "store/changes.py",
        'news = bool(found["firing"]) != episode.firing',
        "news = False",
        f"{STORE}::test_news_is_not_written_over_by_what_was_decided_before_it",
    ),
    Break(
        2,
        "an attempt may be made twice",
        "store/schema.sql",
        "    UNIQUE (episode_id, policy, attempt),  -- at most once\n",
        "",
        f"{SCHEMA}[one run per attempt]",
    ),
    Break(
        3,
        "after a crash an action counts as done",
        "remediation/runs.py",
        "if any(record.result is None for record in records) or not records:",
        "if not records:",
        f"{ENGINE}::test_a_crash_during_an_action_is_unknown_then_verified_by_the_world",
    ),
    Break(
        3,
        "a step that is not idempotent is repeated",
        "catalog/steps.py",
        "return self.kind not in ONCE if self.idempotent is None else self.idempotent",
        "return True",
        f"{ENGINE}::test_a_crash_in_a_step_that_is_not_idempotent_tells_people",
    ),
    Break(
        3,
        "a run that was cut short may be called failed",
        "store/schema.sql",
        "WHEN NEW.state IN ('verifying', 'verified', 'failed') AND OLD.state IN",
        "WHEN NEW.state IN ('none') AND OLD.state IN",
        f"{SCHEMA}[what was cut short is unknown first]",
    ),
    Break(
        4,
        "a stale token acts",
        "store/changes.py",
        "if held[0] != len(set(run.plan.resources)):",
        "if held[0] < 0:",
        f"{STORE}::test_a_stale_token_begins_nothing",
    ),
    Break(
        4,
        "an engine that lost its lease acts",
        "store/changes.py",
        'if holder is not None and control["lease_holder"] != holder:',
        "if holder == 0:",
        f"{STORE}::test_an_engine_that_lost_its_lease_begins_nothing",
    ),
    Break(
        5,
        "runs of the future do not count",
        "store/queries.sql",
        "SELECT id FROM runs WHERE created_at >= :since",
        "SELECT id FROM runs WHERE created_at = :since",
        f"{STORE}::test_history_counts_runs_of_the_future",
    ),
    Break(
        5,
        "one run too many",
        "remediation/guards.py",
        "if used >= limits.max_runs:",
        "if used > limits.max_runs:",
        "tests/remediation/test_cases.py::test_case[refuse-budget]",
    ),
    Break(
        6,
        "the radius is wider",
        "remediation/guards.py",
        "allowed = max(1, math.floor(",
        "allowed = max(9, math.floor(",
        f"{ENGINE}::test_half_of_two_instances_is_one_at_a_time",
    ),
    Break(
        7,
        "an unknown instance means the first",
        "remediation/ladder.py",
        "found = [i for i in inventory.instances if i.address == address]",
        "found = [i for i in inventory.instances if i.address == address] or"
        " list(inventory.instances[:1])",
        "tests/remediation/test_cases.py::test_case[refuse-foreign-instance]",
    ),
    Break(
        8,
        "what cannot be read is taken as good",
        "remediation/guards.py",
        'return Refuse(f"{reason}; asked for',
        'return Pass(f"{reason}; asked for',
        f"{ENGINE}::test_prometheus_away_waits_then_tells_people_once_and_does_nothing",
    ),
    Break(
        9,
        "an old sample verifies",
        "remediation/verify.py",
        "if seen.fresh_at <= acted_at:",
        "if seen.fresh_at < 0:",
        "tests/remediation/test_verify.py::test_what_is_lacking_is_said_and_fails_when_time_is_up",
    ),
    Break(
        9,
        "no data is success",
        "remediation/verify.py",
        "if seen.sli is None:",
        "if seen.sli == -1:",
        f"{ENGINE}::test_no_data_is_not_success",
    ),
    Break(
        10,
        "the breaker never opens",
        "remediation/breaker.py",
        "return max(FAILURES, len(policy.steps))",
        "return 10**6",
        "tests/remediation/test_cases.py",
    ),
    Break(
        11,
        "an alert that ended is acted on",
        "remediation/episodes.py",
        "if current.firing != episode.firing:",
        "if current.firing is None:",
        f"{ENGINE}::test_an_episode_that_ends_before_its_action_cancels_the_run",
    ),
    Break(
        12,
        "pause does not stop an action",
        "store/schema.sql",
        "WHEN (SELECT paused FROM control) = 1",
        "WHEN (SELECT paused FROM control) = 2",
        "tests/store/test_sqlite.py::test_the_schema_refuses_actions_while_paused",
    ),
    Break(
        12,
        "an approval is for any plan",
        "store/schema.sql",
        "SELECT 1 FROM runs WHERE id = NEW.run_id AND plan_hash = OLD.plan_hash",
        "SELECT 1 FROM runs WHERE id = NEW.run_id AND plan_hash <> ''",
        f"{STORE}::test_an_approval_is_used_once_and_by_its_plan_alone",
    ),
    Break(
        13,
        "a line break of a label begins a line of the log",
        "log.py",
        "    if text.isprintable():\n        return text\n    return",
        "    return text\n    return",
        "tests/remediation/test_hostile.py",
    ),
    Break(
        14,
        "an action without its audit row",
        "store/changes.py",
        'audit.append(c, now, "action", body, episode_id=run.episode_id, run_id=run.id)',
        "pass",
        f"{STORE}::test_every_decision_and_change_is_in_the_audit",
    ),
    Break(
        14,
        "an audit row may change",
        "store/schema.sql",
        "BEGIN SELECT RAISE(ABORT, 'audit rows do not change'); END;",
        "BEGIN SELECT 1; END;",
        f"{SCHEMA}[audit rows do not change]",
    ),
    Break(
        15,
        "a silence does not bind",
        "remediation/guards.py",
        "if s.status.silenced_by:",
        "if s.status.silenced_by == 0:",
        f"{ENGINE}::test_a_silence_binds_and_its_end_lets_go",
    ),
    Break(
        15,
        "a maintenance window does not bind",
        "remediation/guards.py",
        "if s.maintenance is not None:",
        "if s.maintenance == 0:",
        f"{ENGINE}::test_a_maintenance_window_binds",
    ),
]


def test_every_invariant_is_broken_here() -> None:
    assert {b.invariant for b in BREAKS} == set(range(1, 16))


@pytest.mark.parametrize("broken", BREAKS, ids=lambda b: f"{b.invariant}: {b.what}")
def test_what_is_broken_here_is_there(broken: Break) -> None:
    text = (ROOT / "src/opsloop" / broken.file).read_text(encoding="utf-8")
    assert text.count(broken.old) == 1, f"{broken.file} has changed: break it anew"


@pytest.mark.full
@pytest.mark.parametrize("broken", BREAKS, ids=lambda b: f"{b.invariant}: {b.what}")
def test_its_test_fails_when_it_is_broken(broken: Break, tmp_path: Path) -> None:
    copy = tmp_path / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "opsloop" / broken.file
    file.write_text(file.read_text(encoding="utf-8").replace(broken.old, broken.new))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-o", f"pythonpath={copy} .", broken.test],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, f"not noticed: {done.stdout[-2000:]}{done.stderr[-500:]}"
    assert " failed" in done.stdout
