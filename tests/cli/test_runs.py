"""episodes and runs on the command line, on the store's file while no engine runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from opsloop import names
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState
from opsloop.store.sqlite import SqliteStore
from tests.store.contract import DONE
from tests.store.samples import started, taken

Run = Callable[..., Result]


@pytest.fixture
def store_file(tmp_path: Path) -> Path:
    """A store with a closed episode, and one whose run failed."""
    path = tmp_path / ".opsloop" / names.STORE_FILE
    with SqliteStore(path) as store:
        closed = taken(store, "a1")
        store.set_episode(closed.id, EpisodeState.CLOSED, "resolved", None, 101.0)
        run = started(store, "b2")
        store.begin_action(run, 0, 102.0)
        store.end_action(run, 0, DONE, 102.5)
        store.move_run(run, RunState.FAILED, "it did not help", 103.0)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["episodes"],
        ["episodes", "--json"],
        ["runs"],
        ["runs", "--json"],
        ["runs", "show", "1"],
        ["runs", "verify"],
    ],
)
def test_where_no_stack_was_ever_up(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: .opsloop: no stack was ever up here; start one with `opsloop up`\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_episodes(run: Run, store_file: Path) -> None:
    result = run("episodes")
    assert result.exit_code == 0
    head, line = result.stdout.splitlines()
    assert head.split()[:4] == ["ID", "ALERT", "SERVICE", "INSTANCE"]
    assert line.split()[:3] == ["2", "ServiceDown", "api"]
    assert len(run("episodes", "--all").stdout.splitlines()) == 3
    assert len(run("episodes", "--all", "-n", "1").stdout.splitlines()) == 2
    body = json.loads(run("episodes", "--json", "--all").stdout)
    assert [e["id"] for e in body["episodes"]] == [2, 1]
    assert body["episodes"][1]["state"] == "closed"


def test_runs(run: Run, store_file: Path) -> None:
    result = run("runs")
    assert result.exit_code == 0
    line = result.stdout.splitlines()[1]
    assert "restart api:api-0" in line
    assert "failed" in line
    assert "it did not help" in line
    body = json.loads(run("runs", "--json").stdout)
    assert [r["state"] for r in body["runs"]] == ["failed"]


def test_one_run(run: Run, store_file: Path) -> None:
    result = run("runs", "show", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("Run 1: restart-down on api, attempt 1: failed\n")
    body = json.loads(run("runs", "show", "1", "--json").stdout)
    assert body["actions"][0]["target"] == "api:api-0"


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30])
def test_a_run_id_that_is_none_is_wrong_usage(run: Run, store_file: Path, number: str) -> None:
    assert run("runs", "show", "--", number).exit_code == 2


def test_a_run_that_is_not_there(run: Run, store_file: Path) -> None:
    result = run("runs", "show", "77")
    assert result.exit_code == 1
    assert result.stderr == "error: run 77: there is none; `opsloop runs` lists them\n"


@pytest.mark.parametrize("place", ["before", "behind", "environment"])
def test_the_state_folder_may_stand_anywhere(run: Run, store_file: Path, place: str) -> None:
    elsewhere = store_file.parents[1].rename(store_file.parents[2] / "elsewhere")
    arguments = {
        "before": ["runs", "--state", str(elsewhere), "verify"],
        "behind": ["runs", "verify", "--state", str(elsewhere)],
        "environment": ["runs", "verify"],
    }[place]
    environ = {"OPSLOOP_STATE": str(elsewhere)} if place == "environment" else None
    result = run(*arguments, environ=environ)
    assert result.exit_code == 0, result.stderr
    assert "the audit is whole: 5 rows" in result.stdout


def test_verify_finds_what_was_changed(run: Run, store_file: Path) -> None:
    assert json.loads(run("runs", "verify", "--json").stdout) == {
        "ok": True,
        "rows": 5,
        "bad_id": None,
        "reason": "",
    }
    with closing(sqlite3.connect(store_file, isolation_level=None)) as c:
        c.execute("DROP TRIGGER audit_no_update")
        c.execute("UPDATE audit SET at = 5 WHERE id = 3")
    result = run("runs", "verify")
    assert result.exit_code == 1
    assert "broken at row 3" in result.stderr
    assert json.loads(run("runs", "verify", "--json").stdout)["bad_id"] == 3


def test_a_damaged_store_is_one_sentence(run: Run, store_file: Path) -> None:
    store_file.write_bytes(b"damaged" * 5000)
    result = run("runs")
    assert result.exit_code == 3
    assert "is damaged" in result.stderr
    assert result.stderr.count("\n") == 1


def test_nothing_yet(run: Run, tmp_path: Path) -> None:
    SqliteStore(tmp_path / ".opsloop" / names.STORE_FILE).close()
    assert run("episodes").stdout == "nothing is broken; --all lists what was\n"
    assert run("episodes", "--all").stdout == "no episodes\n"
    assert run("runs").stdout == "no runs: the loop has done nothing yet\n"
    assert json.loads(run("runs", "--json").stdout) == {"runs": []}
