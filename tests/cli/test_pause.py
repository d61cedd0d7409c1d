"""The kill switch on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from opsloop import names
from opsloop.errors import Paused
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import started

Run = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / ".opsloop" / names.STORE_FILE) as opened:
        yield opened


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_where_no_stack_was_ever_up(run: Run, tmp_path: Path, command: str) -> None:
    result = run(command)
    assert result.exit_code == 1
    assert "no stack was ever up" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_running_engine_begins_nothing_after_a_pause(run: Run, store: SqliteStore) -> None:
    waiting = started(store)
    result = run("pause", "--why", "we look\n at it ourselves")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "paused: we look at it ourselves; no action begins until `opsloop resume`",
        "1 open run will still be verified",
    ]
    with pytest.raises(Paused, match="we look at it ourselves"):
        store.begin_action(waiting, 0, 110.0)
    assert run("resume", "--why", "seen").stdout == "resumed; the loop may act\n"
    store.begin_action(waiting, 0, 111.0)
    assert [a["kind"] for a in store.audit_of(run_id=waiting.id)] == ["decision", "action"]


def test_every_listing_says_that_it_is_paused(run: Run, store: SqliteStore) -> None:
    run("pause")
    for command in ("episodes", "runs"):
        assert "the loop is paused (no reason was given)" in run(command).stderr
    run("pause", "--why", "longer")
    assert "paused (longer)" in run("runs").stderr


def test_json(run: Run, store: SqliteStore) -> None:
    assert json.loads(run("pause", "--why", "x", "--json").stdout) == {"paused": True, "why": "x"}
    assert json.loads(run("resume", "--json").stdout) == {"paused": False, "why": ""}


def test_resume_twice_and_pause_twice_are_fine(run: Run, store: SqliteStore) -> None:
    assert run("resume").stdout == "the loop was not paused\n"
    assert run("pause").exit_code == run("pause").exit_code == 0
    assert store.paused() == (True, "")
    assert run("resume").exit_code == 0
    assert store.paused() == (False, "")
    assert store.verify_audit().rows == 3
