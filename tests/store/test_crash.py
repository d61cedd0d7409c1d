"""kill -9 at random moments, and the fsync that power loss needs."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsloop.store import connection
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import alert

ROOT = Path(__file__).parents[2]
KILLS = 15
SEED = 20261124
DEADLINE_S = 60.0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


def run_and_kill(path: Path, number: int, rng: random.Random, out: Path) -> list[str]:
    """Start the process, kill it a random moment after it is ready; what it said."""
    with out.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.crasher", str(path), str(number)],
            cwd=ROOT,
            env=environment(),
            stdout=file,
        )
    try:
        end = time.monotonic() + DEADLINE_S
        while "ready" not in out.read_text():
            assert process.poll() is None, "the process ended by itself"
            assert time.monotonic() < end, "the process did not become ready"
            time.sleep(0.01)
        lines = rng.randint(1, 400)  # killed by what it has done, not by a duration
        while out.read_text().count("\n") < lines:
            assert process.poll() is None, "the process ended by itself"
            assert time.monotonic() < end, "the process does nothing"
        time.sleep(rng.random() * 0.005)
    finally:
        process.kill()
        process.wait(30)
    # The last line may be cut off: it was not said whole, so it counts for nothing.
    return out.read_text().rpartition("\n")[0].splitlines()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    path = tmp_path / "engine.sqlite"
    taken: set[str] = set()
    begun: list[int] = []
    ended: set[int] = set()
    for number in range(KILLS):
        for line in run_and_kill(path, number, rng, tmp_path / "out"):
            word, _, what = line.partition(" ")
            if word == "taken":
                taken.add(what)
            elif word == "begun":
                begun.append(int(what))
            elif word == "ended":
                ended.add(int(what))
    with SqliteStore(path) as store:
        kept = {e.fingerprint for e in store.episodes(10**6, closed=True)}
        assert len(taken) > KILLS
        assert taken - kept == set()
        assert len(begun) == len(set(begun)), "an action began twice"
        for run_id in begun:
            assert len(store.actions(run_id)) == 1
        for run_id in ended:
            assert store.actions(run_id)[0].result is not None
        assert store.verify_audit().ok
        with contextlib.closing(connection.connect(path)) as c:
            assert c.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert c.execute("PRAGMA foreign_key_check").fetchall() == []


# Invariant 1: power loss. What counts is that an answer comes after an fsync.

_PROGRAM = """
import os, sys
from pathlib import Path
from opsloop.store import connection
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import alert
if sys.argv[2] == "normal":
    made = connection.connect
    def connect(path):
        found = made(path)
        found.execute("PRAGMA synchronous = NORMAL")
        return found
    import opsloop.store.writer
    opsloop.store.writer.connect = connect
store = SqliteStore(Path(sys.argv[1]))
store.intake([alert("first")], 100.0)
for n in range(20):
    os.write(2, b"ask\\n")
    store.intake([alert(f"f{n}")], 100.0)
    os.write(2, b"answer\\n")
"""


def unsynced_answers(tmp_path: Path, mode: str) -> int:
    """How many of 20 answers came with no fsync between the question and the answer."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed; run: sudo apt-get install strace")
        pytest.skip("strace is not installed; run: sudo apt-get install strace")
    log = tmp_path / f"{mode}.trace"
    command = [strace, "-f", "-qq", "-e", "trace=fsync,fdatasync,write", "-o", str(log)]
    command += [sys.executable, "-c", _PROGRAM, str(tmp_path / f"{mode}.sqlite"), mode]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, timeout=300, check=False
    )
    if done.returncode != 0 and b"ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.decode().strip()[:200]}")
    assert done.returncode == 0, done.stderr.decode()
    synced, missing, answers = False, 0, 0
    for line in log.read_text().splitlines():
        if 'write(2, "ask' in line:
            synced = False
        elif re.search(r"\bf(data)?sync\(", line) or "sync resumed" in line:
            synced = True
        elif 'write(2, "answer' in line:
            answers += 1
            missing += not synced
    assert answers == 20
    return missing


def test_an_fsync_comes_before_each_answer(tmp_path: Path) -> None:
    assert unsynced_answers(tmp_path, "full") == 0


def test_the_check_sees_when_there_is_none(tmp_path: Path) -> None:
    """The same check fails with synchronous=NORMAL, or it would prove nothing."""
    assert unsynced_answers(tmp_path, "normal") > 10


def test_every_connection_that_writes_syncs_in_full(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "e.sqlite") as store:
        full = store.writer.call(lambda c: c.execute("PRAGMA synchronous").fetchone()[0])
        mode = store.writer.call(lambda c: c.execute("PRAGMA journal_mode").fetchone()[0])
        keys = store.writer.call(lambda c: c.execute("PRAGMA foreign_keys").fetchone()[0])
        assert store.intake([alert()], 1.0)
    assert (full, mode, keys) == (2, "wal", 1)
