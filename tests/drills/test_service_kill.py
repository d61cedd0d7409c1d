"""The closed loop for real: the whole stack is started, an instance is killed, the loop heals it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsloop.drills.kinds import DRILLS
from opsloop.drivers.supervisor import Supervisor
from opsloop.errors import DriverError
from opsloop.stack.state import StateFolder
from opsloop.store.sqlite import SqliteStore
from tests.drills.whole import Stack, whole_stack
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack() as stack:
        yield stack


@pytest.fixture
def supervisor(stack: Stack) -> Supervisor:
    info = StateFolder(stack.state).read()
    assert info is not None
    return Supervisor(Path(info.socket))


@pytest.fixture
def store(stack: Stack) -> Iterator[SqliteStore]:
    with SqliteStore(stack.state / "data" / "engine.sqlite", create=False) as store:
        yield store


def test_a_killed_instance_is_healed_and_nobody_is_paged(
    stack: Stack, supervisor: Supervisor, store: SqliteStore
) -> None:
    before = {p.target: p.pid for p in supervisor.processes()}
    done = stack.opsloop("drill", "service-kill", "--json")
    assert done.code == 0, f"{done.err}\n{stack.logs()}"
    result = done.last
    assert len(done.out.splitlines()) == 1
    assert result["healed"] is True
    assert result["pages"] == 0
    assert result["drill"] == "service-kill"
    seconds = [result[f"{name}_s"] for name in ("fired", "detected", "action", "answering")]
    assert seconds == sorted(seconds), "each stage comes after the one before"
    assert result["answering_s"] <= result["verified_s"]
    after = {p.target: p.pid for p in supervisor.processes()}
    changed = {t for t in before if before[t] != after[t]}
    assert result["target"] in changed
    acted_on = {action.target for run in store.runs() for action in run.plan.actions}
    assert changed <= acted_on
    assert stack.messages() == []
    run = stack.opsloop("runs", "--json")
    assert result["run_id"] is not None
    assert f'"id": {result["run_id"]}' in run.out
    assert "verified by the loop" in done.err


def test_a_helping_hand_fails_the_drill(stack: Stack, supervisor: Supervisor) -> None:
    """Somebody else restarts the instance before the loop does: that proves nothing."""
    with subprocess.Popen(
        stack.command("drill", "service-kill", "--json"),
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: down(supervisor), "an instance is killed", 300, 0.01)
            supervisor.start(down(supervisor)[0])
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 1, err
    assert '"healed": false' in out
    assert "without a run of the loop" in out


def down(supervisor: Supervisor) -> list[str]:
    wanted = ("api:api-0", "api:api-1")
    return [p.target for p in supervisor.processes() if p.target in wanted and not p.running]


def test_a_paused_loop_is_said_and_nothing_is_broken(stack: Stack, supervisor: Supervisor) -> None:
    assert stack.opsloop("pause", "--why", "a test").code == 0
    try:
        done = stack.opsloop("drill", "service-kill")
        assert done.code == 1
        assert "the loop is paused (a test); run `opsloop resume` first" in done.err
        assert not down(supervisor)
    finally:
        assert stack.opsloop("resume").code == 0


def test_two_drills_at_once_are_refused(stack: Stack) -> None:
    lock = stack.state / "run" / "drill.lock"
    code = (
        "import fcntl,os,sys; f=open(sys.argv[1],'w'); fcntl.flock(f,fcntl.LOCK_EX);"
        "f.write('overload (pid 1)'); f.flush(); print('held',flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        ["python3", "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = stack.opsloop("drill", "service-kill")
        holder.kill()
    assert done.code == 1
    assert "another one runs: overload (pid 1)" in done.err


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in DRILLS if name != "service-kill"])
def test_the_other_drills_heal(stack: Stack, name: str) -> None:
    done = stack.opsloop("drill", name, "--json")
    assert done.code == 0, f"{done.err}\n{stack.logs()}"
    assert done.last["healed"] is True
    assert done.last["pages"] == 0


@pytest.mark.full
def test_without_the_loop_it_stays_broken_and_people_are_told(
    stack: Stack, supervisor: Supervisor, store: SqliteStore
) -> None:
    done = stack.opsloop("drill", "service-kill", "--control", "--json")
    assert done.code == 0, f"{done.err}\n{stack.logs()}"
    result = done.last
    assert result["healed"] is False
    assert result["passed"] is True
    assert result["pages"] >= 1
    assert result["answering_s"] is None
    assert store.paused() == (False, "")
    assert not down(supervisor)


@pytest.mark.full
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_the_fault_and_resumes_the_loop(
    stack: Stack, supervisor: Supervisor, store: SqliteStore, how: signal.Signals
) -> None:
    with subprocess.Popen(
        stack.command("drill", "service-hang", "--control"),
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            wait_until(lambda: store.paused()[0], "the loop is paused", 300)
            assert process.stdout is not None
            for line in process.stdout:
                if "fault injected" in line:
                    break
            process.send_signal(how)
            out, _ = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130, out
    assert not store.paused()[0]
    assert not down(supervisor)


def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path) -> None:
    nothing = Stack(tmp_path / "state", 0)
    done = nothing.opsloop("drill", "service-kill", "--json")
    assert done.code == 1
    assert done.err == "error: the stack: is not up; start it with `opsloop up`\n"
    with pytest.raises(DriverError):
        Supervisor(tmp_path / "nothing.sock").processes()
    assert list(tmp_path.iterdir()) == []
