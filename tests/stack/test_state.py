"""The state folder: layout, modes, refusals in one sentence, the lock, the purge."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsloop.errors import StateUnusable
from opsloop.stack.files import usable, write_file
from opsloop.stack.state import StackInfo, StateFolder
from tests.support.wait import wait_until


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_folders_and_modes_whatever_the_umask(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "a" / "state")
    before = os.umask(0o000)
    try:
        state.prepare()
    finally:
        os.umask(before)
    assert mode_of(state.secrets) == 0o700
    assert mode_of(state.run) == 0o700
    assert mode_of(state.data) == 0o711
    assert mode_of(state.build) == mode_of(state.logs) == mode_of(state.targets) == 0o755
    assert (state.root / ".gitignore").read_text() == "*\n"
    state.secrets.chmod(0o755)
    state.prepare()
    assert mode_of(state.secrets) == 0o700


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("something else")
    for use in (StateFolder(path).prepare, StateFolder(path).read):
        with pytest.raises(StateUnusable, match="is a file, not a folder"):
            use()
    with pytest.raises(StateUnusable, match="below a file"):
        StateFolder(path / "deeper").prepare()
    assert path.read_text() == "something else"


def test_a_folder_with_other_things_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StateUnusable, match=r"holds other things \(thesis.txt\)"):
        StateFolder(tmp_path).prepare()
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_linked_secrets_folder_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "state"
    root.mkdir()
    (root / "secrets").symlink_to(elsewhere)
    with pytest.raises(StateUnusable, match="is not a plain folder"):
        StateFolder(root).prepare()


def test_a_link_to_itself_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StateUnusable, match="loop"):
        StateFolder(tmp_path / "loop" / "state").prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    os.chown(root, 65534, 65534)
    with pytest.raises(StateUnusable, match="belongs to user nobody, not to root"):
        StateFolder(root).prepare()


def test_a_full_disk_is_one_sentence(tiny: Path) -> None:
    (tiny / "filler").write_bytes(b"\0" * 40960)
    state = StateFolder(tiny / "state")
    with pytest.raises(StateUnusable, match="full disk; free some space") as error:
        state.prepare()
    assert "\n" not in str(error.value)


def test_a_read_only_folder_is_one_sentence(tiny: Path) -> None:
    state = StateFolder(tiny / "state")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    with pytest.raises(StateUnusable, match="read-only file system; choose another") as error:
        state.prepare()
    assert "\n" not in str(error.value)


def test_what_the_system_says_becomes_one_sentence(tmp_path: Path) -> None:
    target = tmp_path / "x"
    for number, words in (
        (errno.EACCES, "may not be written by this user"),
        (errno.EDQUOT, "beyond the disk quota"),
        (errno.EIO, "cannot be used"),
    ):
        error = OSError(number, os.strerror(number), str(target))
        with pytest.raises(StateUnusable, match=words), usable(target):
            raise error


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_file(path, "old", 0o600)
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "\ud800", 0o600)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert mode_of(path) == 0o600


def test_stack_json_round_trips_and_a_broken_one_is_told(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    assert state.read() is None
    state.prepare()
    info = StackInfo(200, "/c/opsloop.yaml", "/s", 12.5)
    state.write(info)
    assert state.read() == info
    state.mark_stopped()
    stopped = state.read()
    assert stopped is not None
    assert not stopped.started
    assert stopped.port_base == 200
    (state.root / "stack.json").write_text("{")
    with pytest.raises(StateUnusable, match="not readable as stack"):
        state.read()


def test_the_second_of_two_waits_and_says_so(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    code = (
        "import sys; from pathlib import Path; from opsloop.stack.state import StateFolder\n"
        "with StateFolder(Path(sys.argv[1])).lock(print):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(state.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        try:
            assert first.stdout.readline() == b"held\n"
            said: list[str] = []
            entered = threading.Event()

            def second() -> None:
                with state.lock(said.append):
                    entered.set()

            thread = threading.Thread(target=second)
            thread.start()
            wait_until(lambda: said, "the second says that it waits")
            assert f"pid {first.pid}" in said[0]
            assert not entered.is_set()
            # Whatever ends the first, the kernel frees its lock.
            first.kill()
            thread.join(20)
            assert entered.is_set()
        finally:
            first.kill()


def test_the_lock_is_given_up_on_with_a_sentence(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    with (
        state.lock(lambda _: None),
        pytest.raises(StateUnusable, match=f"held by pid {os.getpid()}"),
        state.lock(lambda _: None, wait_s=0.0),
    ):
        pass


def test_purge_takes_only_what_is_the_stacks(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    state.write(StackInfo(0, "", ""))
    (state.root / "notes.txt").write_text("mine")
    (state.data / "x").write_text("theirs")
    state.purge()
    assert [p.name for p in state.root.iterdir()] == ["notes.txt"]
    (state.root / "notes.txt").unlink()
    state.purge()
    assert not state.root.exists()
