"""approvals, approve and reject on the store's file, whether an engine runs or not."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from opsloop import names
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import taken, wish

Run = Callable[..., Result]
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name
ANN = f"ann (account {ACCOUNT})"


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A store with one plan that waits, approval 1."""
    path = tmp_path / ".opsloop" / names.STORE_FILE
    now = time.time()
    with SqliteStore(path) as store:
        store.record(wish(taken(store), expires_at=now + 600), now)
    return path


def test_what_waits_is_listed(run: Run, waiting: Path) -> None:
    head, line = run("approvals").stdout.splitlines()
    assert head.split()[:4] == ["ID", "EPISODE", "POLICY", "PLAN"]
    assert "restart api:api-0" in line
    assert " waits " in line
    (found,) = json.loads(run("approvals", "--json").stdout)["approvals"]
    assert (found["id"], found["state"], found["plan"]) == (1, "waits", "restart api:api-0")
    assert len(found["plan_hash"]) == 64


def test_approving_says_who_and_why(run: Run, waiting: Path) -> None:
    done = run("approve", "1", "--by", "ann", "--why", "seen\n it")
    assert (done.exit_code, done.stdout) == (0, f"{ANN} approved: restart api:api-0\n")
    (found,) = json.loads(run("approvals", "--json").stdout)["approvals"]
    assert (found["state"], found["approved_by"], found["why"]) == ("approved", ANN, "seen it")
    again = run("approve", "1")
    assert again.exit_code == 1
    assert f"was approved by {ANN} before" in again.stderr


def test_rejecting_ends_it(run: Run, waiting: Path) -> None:
    done = run("reject", "1", "--by", "ann", "--why", "no", "--json")
    assert json.loads(done.stdout)["state"] == "rejected"
    assert run("approvals").stdout == "no plan waits for a person\n"
    assert f"{ANN}: no" in run("approvals", "--all").stdout
    late = run("approve", "1")
    assert late.exit_code == 1
    assert "is rejected already" in late.stderr


def test_a_name_is_a_claim_and_the_account_stands_beside_it(run: Run, waiting: Path) -> None:
    done = run("approve", "1", environ={"SUDO_USER": "carol"})
    assert done.stdout.startswith(f"carol (account {ACCOUNT}) approved")
    with contextlib.closing(sqlite3.connect(waiting)) as c:
        ((body,),) = c.execute("SELECT body FROM audit WHERE kind = 'approved'").fetchall()
    assert json.loads(body)["by"] == f"carol (account {ACCOUNT})"


def test_without_a_name_it_is_the_account(run: Run, waiting: Path) -> None:
    done = run("approve", "1", environ={"SUDO_USER": "", "LOGNAME": "mallory", "USER": "mallory"})
    assert done.stdout.startswith(f"{ACCOUNT} approved")


def test_a_pause_is_said(run: Run, waiting: Path) -> None:
    with SqliteStore(waiting) as store:
        store.pause("hands off", 1.0)
    assert "the loop is paused" in run("approve", "1").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["approve", "9"], "approval 9: there is none"),
        (["reject", "0"], "Invalid value"),
        (["approve"], "Missing argument"),
    ],
)
def test_what_cannot_be_is_said(run: Run, waiting: Path, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code in (1, 2)
    assert said in done.stderr


def test_without_a_stack(run: Run) -> None:
    for arguments in (["approvals"], ["approve", "1"], ["reject", "1"]):
        assert "no stack was ever up here" in run(*arguments).stderr
