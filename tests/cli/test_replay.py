"""Replaying what was decided, and case files, under a catalog that changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from opsloop import names
from opsloop.remediation.decide import decide
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.ports import Written
from opsloop.remediation.situation import Situation
from opsloop.stack.state import StackInfo, StateFolder
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import taken

Run = Callable[..., Result]
CASES = Path(__file__).parents[1] / "cases"
BASE: dict[str, Any] = json.loads((CASES / "bases" / "instance-down.json").read_text())
CATALOG = """\
apiVersion: opsloop/v1
services:
  api:
    team: shop
    process: api
    metrics: http
    instances: {{wanted: 2, max: 4}}
processes:
  api: {{command: ["{{python}}", "api.py"], slots: 4, port: 8000, health: /healthz}}
remediation:
  mode: {mode}
  policies:
    restart-down:
      when: {{alert: [{alert}]}}
      steps: [{{restart: {{scope: instance}}}}]
      limits: {{max_share: {share}}}
"""


def catalog(
    folder: Path, mode: str = "auto", alert: str = "ServiceDown", share: str = "50%"
) -> None:
    (folder / "opsloop.yaml").write_text(CATALOG.format(mode=mode, alert=alert, share=share))


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    """A store with one decision to restart, run 1, and a catalog that decides the same."""
    catalog(tmp_path)
    with SqliteStore(tmp_path / ".opsloop" / names.STORE_FILE) as store:
        episode = taken(store)
        situation = Situation.from_mapping(BASE)
        situation = replace(situation, episode=replace(situation.episode, id=episode.id))
        decision = decide(situation)
        assert decision.kind == "act"
        written = Written(
            episode=episode,
            kind=decision.kind,
            reason=decision.reason,
            guards=tuple((g.guard, g.answer, g.reason) for g in decision.guards),
            state=EpisodeState.RUNNING,
            due_at=None,
            plan=decision.plan,
            situation=situation.to_json(),
        )
        store.record(written, 10_000.0)
    return tmp_path


def test_an_unchanged_catalog_decides_the_same(run: Run, decided: Path) -> None:
    done = run("replay", "1")
    assert done.exit_code == 0, done.output
    assert "today's catalog decides the same" in done.stdout
    assert done.stdout.count("act: restart api:api-1") == 2
    told = json.loads(run("replay", "1", "--json").stdout)
    assert told["same"] is True
    assert (told["then"]["kind"], told["now"]["plan"]) == ("act", "restart api:api-1")
    assert json.loads(run("replay", "--episode", "1", "--json").stdout) == told


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"mode": "dry-run"}, "ignore", "dry-run: would restart api:api-1"),
        ({"mode": "approve"}, "ask", "a person has to approve: restart api:api-1"),
        ({"mode": "'off'"}, "refuse", "known"),
        ({"alert": "HighErrorRate"}, "refuse", "known"),
    ],
)
def test_a_changed_policy_decides_otherwise(
    run: Run, decided: Path, changed: dict[str, str], kind: str, said: str
) -> None:
    catalog(decided, **changed)
    done = run("replay", "1")
    assert done.exit_code == 0, done.output
    assert "decides OTHERWISE" in done.stdout
    assert said in done.stdout
    told = json.loads(run("replay", "1", "--json").stdout)
    assert (told["same"], told["now"]["kind"]) == (False, kind)


def test_the_catalog_of_the_stack_is_taken_where_none_is_named(
    run: Run, decided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateFolder(decided / ".opsloop")
    state.write(StackInfo(0, str(decided / "opsloop.yaml"), "", 1.0))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = run("replay", "1", "--state", str(state.root))
    assert done.exit_code == 0, done.output
    assert "decides the same" in done.stdout


def test_nothing_is_written(run: Run, decided: Path) -> None:
    with SqliteStore(decided / ".opsloop" / names.STORE_FILE) as store:
        before = store.audit_of(run_id=1)
    run("replay", "1")
    with SqliteStore(decided / ".opsloop" / names.STORE_FILE) as store:
        assert store.audit_of(run_id=1) == before


def test_what_happened_becomes_a_case(run: Run, decided: Path) -> None:
    (decided / "cases").mkdir()
    text = run("replay", "1", "--as-case").stdout
    (decided / "cases" / "first.json").write_text(text)
    done = run("policy", "test")
    assert done.exit_code == 0, done.output
    assert "1 cases, 0 decide otherwise" in done.stdout
    value = json.loads(text)
    value["expect"]["kind"] = "wait"
    (decided / "cases" / "first.json").write_text(json.dumps(value))
    done = run("policy", "test", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["failed"] == 1
    assert "kind is 'act', expected 'wait'" in told["cases"][0]["differences"][0]


def test_a_case_without_a_policy_tests_the_catalogs(run: Run, decided: Path) -> None:
    folder = decided / "cases"
    (folder / "bases").mkdir(parents=True)
    left_out = ("policy", "policy_name", "mode", "facts", "service")
    base = {k: v for k, v in BASE.items() if k not in left_out}
    (folder / "bases" / "down.json").write_text(json.dumps(base))
    case = {"name": "it restarts", "base": "down", "expect": {"kind": "act", "reason": "api-1"}}
    (folder / "a.json").write_text(json.dumps(case))
    assert run("policy", "test").exit_code == 0
    catalog(decided, mode="dry-run")
    done = run("policy", "test")
    assert done.exit_code == 1
    assert "FAIL  it restarts" in done.stdout
    assert run("policy", "test", str(CASES / "act-instance-down.json")).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "takes one RUN, or --episode"),
        (["replay", "1", "--episode", "1"], "takes one RUN, or --episode"),
        (["replay", "7"], "run 7"),
        (["replay", "--episode", "7"], "episode 7"),
        (["policy", "test"], "holds no case"),
        (["policy", "test", "nowhere.json"], "No such file"),
        (["policy", "test", "opsloop.yaml"], "is no case"),
    ],
)
def test_what_cannot_be_done_is_said(
    run: Run, decided: Path, arguments: list[str], said: str
) -> None:
    done = run(*arguments)
    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    assert said in done.stderr
