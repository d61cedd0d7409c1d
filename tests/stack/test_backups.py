"""A backup's run and its metrics: true also when the command, the disk or a signal is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from opsloop.catalog.model import Name
from opsloop.errors import ArgumentError, OpsloopError
from opsloop.stack import backups
from opsloop.stack.backups import DURATION, LAST_RUN, LAST_SUCCESS, SIZE, SUCCESS, Metrics
from tests.support.servers import require

FAILS = ["sh", "-c", "exit 7"]


class Backup:
    """Runs of one backup in one folder, and what people were told of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = backups.metrics_path(folder, "db")
        self.told: list[str] = []

    def run(self, *command: str, measured: Path | None = None) -> int:
        self.told.clear()
        return backups.run_backup("db", command, self.folder, measured, self.told.append)

    @property
    def metrics(self) -> dict[str, float]:
        return backups.read_metrics(self.path)


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    return Backup(tmp_path / "textfile")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of the test's own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_success(backup: Backup, tmp_path: Path) -> None:
    begin = time.time()
    dump = tmp_path / "dump"
    assert backup.run("sh", "-c", f"printf 12345 > {dump}", measured=dump) == 0
    found = backup.metrics
    assert found[SUCCESS] == 1
    assert found[SIZE] == 5
    assert begin <= found[LAST_RUN] == found[LAST_SUCCESS] <= time.time()
    assert found[DURATION] >= 0
    assert backup.told == []
    assert backup.path.stat().st_mode & 0o777 == 0o644


def test_a_failure_keeps_when_and_how_large_the_last_success_was(
    backup: Backup, tmp_path: Path
) -> None:
    (tmp_path / "dump").write_text("123")
    backup.run("true", measured=tmp_path / "dump")
    good = backup.metrics
    assert backup.run(*FAILS, measured=tmp_path / "dump") == 7
    assert re.fullmatch(
        r"backup db: the command exited with 7 after \d+\.\d s", "; ".join(backup.told)
    )
    bad = backup.metrics
    assert (bad[SUCCESS], bad[LAST_SUCCESS], bad[SIZE]) == (0, good[LAST_SUCCESS], 3)
    assert bad[LAST_RUN] > good[LAST_RUN]


def test_a_backup_that_never_succeeded_has_no_time_of_success(backup: Backup) -> None:
    backup.run(*FAILS)
    assert set(backup.metrics) == {SUCCESS, LAST_RUN, DURATION}


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ("kill -KILL $$", 137, "was killed by SIGKILL after"),
        ("kill -40 $$", 168, "was killed by signal 40 after"),
        ("exit 255", 255, "exited with 255 after"),
    ],
)
def test_how_the_command_ended(backup: Backup, script: str, code: int, told: str) -> None:
    assert backup.run("sh", "-c", script) == code
    assert told in backup.told[0]
    assert backup.metrics[SUCCESS] == 0


def test_a_command_that_cannot_be_run_is_a_failed_backup(backup: Backup, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    cases = [("no-such-command", 127, "'no-such-command' was not found"), (str(script), 126, "")]
    for command, code, told in cases:
        assert backup.run(command, "-x") == code
        assert told in backup.told[0]
        assert backup.metrics[SUCCESS] == 0
    assert "permission denied" in backup.told[0].lower()
    script.chmod(0o755)
    assert backup.run(str(script)) == 127
    assert f"the interpreter of {str(script)!r} was not found" in backup.told[0]


def test_no_shell_reads_the_command(backup: Backup, tmp_path: Path) -> None:
    show = "import sys; open(sys.argv[1], 'w').write(repr(sys.argv[2:]))"
    words = ["$HOME", "a b", "*", ";", "--", "", "ü"]
    backup.run(sys.executable, "-c", show, str(tmp_path / "words"), *words)
    assert (tmp_path / "words").read_text() == repr(words)


def test_what_is_measured(backup: Backup, tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    (folder / "deep").mkdir(parents=True)
    (folder / "one").write_bytes(b"1" * 10)
    (folder / "deep" / "two").write_bytes(b"2" * 5)
    (folder / "link").symlink_to("/usr")
    backup.run("true", measured=folder)
    assert backup.metrics[SIZE] == 15
    assert backup.run("true", measured=tmp_path / "nothing") == 0
    assert "left no" in backup.told[0]
    assert backup.metrics[SIZE] == 0
    backup.run("true")
    assert SIZE not in backup.metrics


def test_the_second_run_of_a_name_is_refused(backup: Backup) -> None:
    backup.run("true")
    before = backup.path.read_bytes()
    with backups.only_one(backup.folder, "db"):
        with pytest.raises(OpsloopError, match=rf"is running already \(pid {os.getpid()}\)"):
            backup.run(*FAILS)
        assert backup.path.read_bytes() == before
        assert backups.run_backup("other", ["true"], backup.folder, None, print) == 0
    assert backup.run(*FAILS) == 7


def test_a_command_that_lives_on_in_the_background_does_not_hold_the_lock(backup: Backup) -> None:
    script = "sleep 600 >/dev/null 2>&1 & echo $! > " + str(backup.folder / "pid")
    backup.run("sh", "-c", script)
    try:
        assert backup.run("true") == 0
    finally:
        os.kill(int((backup.folder / "pid").read_text()), 9)


def test_a_disk_that_the_backup_fills_does_not_keep_its_failure_from_the_metrics(
    disk: Path,
) -> None:
    backup = Backup(disk / "textfile")
    assert backup.run("true") == 0
    filler = ["dd", "if=/dev/zero", f"of={disk / 'dump'}", "bs=4k", "count=1000", "status=none"]
    assert backup.run(*filler) == 1
    assert os.statvfs(disk).f_bavail <= 2  # what was taken beforehand, and is free again
    assert backup.metrics[SUCCESS] == 0
    assert LAST_SUCCESS in backup.metrics
    assert len(backup.told) == 1


def test_on_a_disk_that_is_full_from_the_beginning(disk: Path) -> None:
    backup = Backup(disk / "textfile")
    backup.run("true")
    fill = ["dd", "if=/dev/zero", f"of={disk / 'filler'}", "bs=4k", "status=none"]
    assert subprocess.run(fill, capture_output=True, check=False).returncode == 1
    assert backup.run("true") == backups.EXIT_NOT_RECORDED
    assert "its result will not be recorded: no space left on device" in backup.told[0]
    assert backup.metrics[SUCCESS] == 1  # the run before, and its time says so
    assert backup.run(*FAILS) == 7
    assert "they said success" in backup.told[-1]
    assert not backup.path.exists()  # which is an alert of its own
    (disk / "filler").unlink()
    assert backup.run("true") == 0
    assert backup.metrics[SUCCESS] == 1


def test_the_backup_runs_where_its_metrics_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "textfile").write_text("a file")
    backup = Backup(tmp_path / "textfile")
    assert backup.run("touch", str(tmp_path / "done")) == backups.EXIT_NOT_RECORDED
    assert (tmp_path / "done").exists()
    assert "will not be recorded" in backup.told[0]
    assert backup.run(*FAILS) == 7


def test_nothing_but_the_metrics_and_the_lock_is_left(backup: Backup) -> None:
    backup.run("true")
    backup.run(*FAILS)
    assert sorted(p.name for p in backup.folder.iterdir()) == [".backup_db.lock", "backup_db.prom"]


@pytest.mark.parametrize("junk", [b"", b"\xff\xfe", b"opsloop_backup_success{} x\n", b"\0" * 99])
def test_damaged_metrics_are_replaced(backup: Backup, junk: bytes) -> None:
    backup.folder.mkdir()
    backup.path.write_bytes(junk)
    assert backup.metrics == {}
    assert backup.run("true") == 0
    assert backup.metrics[SUCCESS] == 1


def test_who_starts_us_may_ignore_the_end_of_children(tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from pathlib import Path; from opsloop.stack import backups\n"
        f"sys.exit(backups.run_backup('db', {FAILS!r}, Path('.'), None, print))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False)
    assert done.returncode == 7


# The text


@given(
    name=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r")),
    numbers=st.tuples(*[st.floats(0, 1e12)] * 2),
    known=st.tuples(*[st.none() | st.floats(0, 1e15)] * 2),
)
def test_any_label_and_number_is_read_as_it_was_written(
    name: str, numbers: tuple[float, float], known: tuple[float | None, float | None]
) -> None:
    metrics = Metrics(True, *numbers, *known)
    read: dict[str, tuple[dict[str, str], Any]] = {
        family.name: (family.samples[0].labels, family.samples[0].value)
        for family in text_string_to_metric_families(backups.text_of(name, metrics))
    }
    assert {labels["backup"] for labels, _ in read.values()} == {name}
    assert read[LAST_RUN][1] == numbers[0]
    assert read.get(SIZE, ({}, None))[1] == known[1]


def test_promtool_finds_nothing_wrong(backup: Backup, tmp_path: Path) -> None:
    backup.run("true", measured=tmp_path)
    done = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=backup.path.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_are_those_of_the_catalog() -> None:
    (rule,) = Name.__metadata__  # type: ignore[attr-defined]
    assert rule.pattern == f"^{backups._NAME.pattern}$"
    for bad in ("", "Db", "1db", "d b", "../x", "db\n", "d" * 49):
        with pytest.raises(ArgumentError, match="is not a name"):
            backups.check_name(bad)
    backups.check_name("d" * 48)
