"""`opsloop annotate`: a mark that stays, listed, and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from opsloop import names
from opsloop.cli.main import cli
from opsloop.store.sqlite import SqliteStore


@pytest.fixture
def state(tmp_path: Path) -> Path:
    SqliteStore(tmp_path / names.STORE_FILE).close()
    return tmp_path


def annotate(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["annotate", "--state", str(state), *arguments])


def test_a_deploy_is_marked_and_listed(state: Path) -> None:
    done = annotate(state, " deploy \n v12 ", "--service", "api", "--ago", "5m")
    assert done.exit_code == 0, done.output
    assert "deploy v12" in done.output
    listed = json.loads(annotate(state, "--json").output)["annotations"]
    assert [(m["text"], m["service"]) for m in listed] == [("deploy v12", "api")]
    with SqliteStore(state / names.STORE_FILE) as store:
        (note,) = store.notes("annotation", 0, time.time())
    assert 295 < time.time() - note["at"] < 400
    assert "deploy v12" in annotate(state).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["  "], "the text is empty"),
        (["x" * 301], "more than 300"),
        (["x", "--ago", "soon"], "--ago"),
        (["x", "--ago", "40d"], "more than 30 days"),
        (["--ago", "5m"], "has no text"),
    ],
)
def test_what_is_no_mark_is_refused(state: Path, arguments: list[str], said: str) -> None:
    done = annotate(state, *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_nothing_is_marked_where_no_stack_was(tmp_path: Path) -> None:
    done = annotate(tmp_path, "deploy")
    assert done.exit_code == 1
    assert "no stack was ever up here" in done.output
