"""supervisord of a stack: start, stop, and every way in which it was left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from opsloop.errors import PartFailed
from opsloop.stack import native, processes, supervisord
from opsloop.stack.state import StateFolder
from tests.stack.conftest import SmallStack, sleeper
from tests.support.wait import wait_until


def test_start_finds_and_stops(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper(), two=sleeper())
    pid = small_stack.start()
    wait_until(lambda: small_stack.pid("one") and small_stack.pid("two"), "both run")
    everyone = small_stack.remember()
    assert supervisord.find(small_stack.state) == pid
    assert len(everyone) == 3
    # A session of its own: the terminal's Ctrl-C does not reach it.
    assert os.getsid(pid) == pid

    assert small_stack.stop() is True
    assert not [p for p in everyone if processes.alive(p)]
    assert supervisord.find(small_stack.state) == 0
    assert small_stack.stop() is False


def test_the_environment_is_scrubbed(
    small_stack: SmallStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTMANAGER_SLACK_WEBHOOK", "https://hooks.example.org/secret")
    small_stack.write(one=sleeper())
    small_stack.start()
    wait_until(lambda: small_stack.pid("one"), "it runs")
    env = processes.environment(small_stack.pid("one"))
    assert "ALERTMANAGER_SLACK_WEBHOOK" not in env
    assert env["OPSLOOP_STATE"] == str(small_stack.state.root)
    assert env["PATH"]


def test_a_broken_conf_is_told_and_leaves_nothing(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    conf = small_stack.state.build / "native" / "supervisord.conf"
    conf.write_text(conf.read_text() + "[program:bad]\n")
    with pytest.raises(PartFailed, match="program:bad"):
        small_stack.start()
    assert supervisord.find(small_stack.state) == 0
    assert not supervisord.orphans(small_stack.state)


def test_logs_on_a_full_disk_end_nothing(small_stack: SmallStack, tmp_path: Path) -> None:
    said = tmp_path / "said"
    small_stack.write(
        one=f"sh -c 'while echo x; do echo x >> {said}; sleep 0.05; done'", two=sleeper()
    )
    for log in ("one.log", "supervisord.log", "supervisord.out"):
        (small_stack.state.logs / log).symlink_to("/dev/full")
    pid = small_stack.start()
    wait_until(lambda: said.is_file() and said.stat().st_size > 80, "it logs again and again")
    one = small_stack.pid("one")
    before = said.stat().st_size
    wait_until(lambda: said.stat().st_size > before + 40, "it goes on")
    assert supervisord.find(small_stack.state) == pid
    assert small_stack.pid("one") == one
    assert small_stack.stop() is True


def test_a_stopped_child_does_not_hold_up_the_end(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    small_stack.start()
    wait_until(lambda: small_stack.pid("one"), "it runs")
    pid = small_stack.pid("one")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: processes.state_of(pid) == "T", "it hangs")
    assert small_stack.stop() is True
    assert not processes.alive(pid)


def test_down_after_kill_9_sweeps_what_is_left(small_stack: SmallStack) -> None:
    # No setpriv here: the children outlive their parent, and one has a child of its own.
    inner = ', subprocess; subprocess.Popen(["sleep", "3600"])'
    small_stack.write(one=sleeper(), two=sleeper(inner))
    pid = small_stack.start()
    wait_until(lambda: len(small_stack.remember()) == 4, "all run")
    everyone = small_stack.remember()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes.alive(pid), "supervisord is dead")
    assert supervisord.find(small_stack.state) == 0
    assert len([p for p in everyone if processes.alive(p)]) == 3

    assert small_stack.stop() is True
    assert not [p for p in everyone if processes.alive(p)]
    assert any("killed supervisord" in line for line in small_stack.said)
    assert not small_stack.state.pid_file.exists()


def test_a_child_with_a_clean_environment_is_swept_too(small_stack: SmallStack) -> None:
    """A database that runs as another user drops its environment, and the socket with it."""
    small_stack.write(one=f"/usr/bin/env -i {sleeper()}")
    pid = small_stack.start()
    wait_until(lambda: small_stack.pid("one"), "it runs")
    child = small_stack.pid("one")
    wait_until(lambda: processes.environment(child) == {}, "its environment is empty")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes.alive(pid), "supervisord is dead")
    assert supervisord.Membership(small_stack.state).covers(child)
    assert small_stack.stop() is True
    assert not processes.alive(child)


def test_a_session_number_that_came_again_is_not_ours(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    with subprocess.Popen(["sleep", "3600"], start_new_session=True) as stranger:
        try:
            record = {"pid": stranger.pid, "ticks": 1, "boot": processes.boot_id()}
            (small_stack.state.run / "session.json").write_text(json.dumps(record))
            assert not supervisord.Membership(small_stack.state).covers(stranger.pid)
            assert small_stack.stop() is False
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_start_after_kill_9_sweeps_first(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    pid = small_stack.start()
    wait_until(lambda: small_stack.pid("one"), "it runs")
    child = small_stack.pid("one")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes.alive(pid), "supervisord is dead")
    supervisord.sweep(small_stack.state, small_stack.said.append)
    assert not processes.alive(child)
    assert small_stack.start() != pid
    assert small_stack.stop() is True


def test_a_stale_pid_file_and_socket_are_no_stack(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    small_stack.state.pid_file.write_text("999999999\n")
    small_stack.state.socket_path().write_text("")
    assert supervisord.find(small_stack.state) == 0
    assert small_stack.stop() is False
    small_stack.state.pid_file.write_text("not a number")
    assert supervisord.find(small_stack.state) == 0
    small_stack.start()
    assert small_stack.stop() is True


def test_a_pid_that_another_program_has_now_is_never_signalled(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    with subprocess.Popen(["sleep", "3600"]) as stranger:
        try:
            small_stack.state.pid_file.write_text(f"{stranger.pid}\n")
            assert supervisord.find(small_stack.state) == 0
            assert small_stack.stop() is False
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_shell_with_the_variable_set_is_not_swept(small_stack: SmallStack) -> None:
    """OPSLOOP_STATE in somebody's own environment makes no process ours."""
    small_stack.write(one=sleeper())
    env = {**os.environ, "OPSLOOP_STATE": str(small_stack.state.root)}
    with subprocess.Popen(["sleep", "3600"], env=env) as shell:
        try:
            assert small_stack.stop() is False
            assert shell.poll() is None
        finally:
            shell.kill()


def test_another_stack_is_left_alone(small_stack: SmallStack, tmp_path: Path) -> None:
    other = SmallStack(tmp_path / "other")
    try:
        small_stack.write(one=sleeper())
        other.write(one=sleeper())
        small_stack.start()
        theirs = other.start()
        wait_until(lambda: other.pid("one"), "it runs")
        child = other.pid("one")
        assert small_stack.stop() is True
        assert supervisord.find(other.state) == theirs
        assert processes.alive(child)
        assert other.stop() is True
    finally:
        other.close()


def test_a_lost_pid_file_hides_nothing(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    pid = small_stack.start()
    small_stack.state.pid_file.unlink()
    assert supervisord.find(small_stack.state) == pid
    assert small_stack.stop() is True


def test_down_after_the_folder_was_removed(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    small_stack.start()
    wait_until(lambda: small_stack.pid("one"), "it runs")
    everyone = small_stack.remember()
    shutil.rmtree(small_stack.state.root)
    assert native.down(small_stack.state, small_stack.said.append) is True
    assert not [p for p in everyone if processes.alive(p)]
    assert native.down(small_stack.state, small_stack.said.append) is False


def test_a_link_to_the_folder_is_the_same_stack(small_stack: SmallStack, tmp_path: Path) -> None:
    small_stack.write(one=sleeper())
    pid = small_stack.start()
    link = tmp_path / "link"
    link.symlink_to(small_stack.state.root)
    assert supervisord.find(StateFolder(link)) == pid
    assert native.down(StateFolder(link), small_stack.said.append) is True
    assert not processes.alive(pid)


def test_a_stopped_supervisord_ends_too(small_stack: SmallStack) -> None:
    small_stack.write(one=sleeper())
    pid = small_stack.start()
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: processes.state_of(pid) == "T", "it hangs")
    assert small_stack.stop() is True
    assert not processes.alive(pid)


def test_a_child_that_ignores_term_is_killed(small_stack: SmallStack) -> None:
    small_stack.write(
        one=sleeper(', signal; signal.signal(15, signal.SIG_IGN); print("deaf", flush=True)')
    )
    small_stack.start()
    log = small_stack.state.log("one")
    wait_until(lambda: "deaf" in log.read_text(), "it ignores TERM")
    pid = small_stack.pid("one")
    assert small_stack.stop() is True
    assert not processes.alive(pid)
    assert any("one" in line for line in small_stack.said)


def test_long_paths_use_a_short_private_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    stack = SmallStack(deep)
    try:
        stack.write(one=sleeper())
        stack.start()
        socket = stack.state.socket_path()
        assert len(os.fsencode(socket)) < 100
        assert deep not in socket.parents
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        wait_until(lambda: stack.pid("one"), "it runs")
        assert stack.stop() is True
        assert not socket.parent.exists()
    finally:
        stack.close()


def test_tail_says_a_repeated_line_once(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert "no log" in supervisord.tail(log, 2)
    log.write_text("first\nsame\nsame\nsame\n")
    assert supervisord.tail(log, 2) == "first | same"


def test_python_of_the_stack_is_this_one(small_stack: SmallStack) -> None:
    env = supervisord.environment(small_stack.state, Path("/c"), {"OPSLOOP_BIN_X": "/x"}, {})
    assert env["OPSLOOP_PYTHON"] == sys.executable
    assert env["OPSLOOP_CATALOG_DIR"] == "/c"
    assert env["OPSLOOP_BIN_X"] == "/x"
    assert "/usr/bin" in env["PATH"]
