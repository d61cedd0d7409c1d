"""store backup and store prune."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from opsloop import names
from opsloop.remediation.episode import EpisodeState
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import taken

Run = Callable[..., Result]


@pytest.fixture
def used(tmp_path: Path) -> Path:
    path = tmp_path / ".opsloop" / names.STORE_FILE
    with SqliteStore(path) as store:
        store.set_episode(taken(store).id, EpisodeState.WATCHED, "seen", None, 101.0)
    return path


def test_a_backup_is_a_store(run: Run, used: Path, tmp_path: Path) -> None:
    done = run("store", "backup", "copy.sqlite", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["audit_rows"] == 1
    assert told["bytes"] == (tmp_path / "copy.sqlite").stat().st_size
    with SqliteStore(tmp_path / "copy.sqlite", create=False) as copied:
        assert len(copied.episodes()) == 1
    assert "audit of 1 rows is whole" in run("store", "backup", "copy.sqlite").stdout


def test_pruning_says_how_much(run: Run, used: Path) -> None:
    done = run("store", "prune", "--older-than", "30d", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"rows": 1, "older_than_s": 2_592_000.0}
    assert run("runs", "verify").exit_code == 0
    assert "0 episodes and audit rows" in run("store", "prune").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["store", "prune", "--older-than", "5m"], "shorter than 1d"),
        (["store", "prune", "--older-than", "90"], "--older-than"),
        (["store", "backup", "no/where/copy"], "cannot be written"),
        (["store", "backup", "."], "is no place for a copy"),
    ],
)
def test_bad_arguments(run: Run, used: Path, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code in (1, 2, 3)
    assert said in done.stderr


def test_without_a_stack(run: Run) -> None:
    for arguments in (["store", "backup", "x"], ["store", "prune"]):
        assert "no stack was ever up here" in run(*arguments).stderr
