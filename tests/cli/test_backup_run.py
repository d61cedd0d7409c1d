"""opsloop backup-run as a process: what it passes through, hands on and leaves."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from opsloop.stack.backups import LAST_SUCCESS, SUCCESS, read_metrics
from tests.cli.conftest import start
from tests.support.servers import stop
from tests.support.wait import wait_until

Run = Callable[..., Result]


def metrics(folder: Path) -> dict[str, float]:
    return read_metrics(folder / "backup_db.prom")


def began(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"


def test_output_and_code_are_those_of_the_command(tmp_path: Path) -> None:
    script = "echo out; echo err >&2; exit 9"
    process = start(
        *("backup-run", "db", "--textfile-dir", "m", "--", "sh", "-c", script), cwd=tmp_path
    )
    out, err = process.communicate(timeout=300)
    assert process.returncode == 9
    assert out == "out\n"
    assert err.startswith("err\nerror: backup db: the command exited with 9 after ")
    assert metrics(tmp_path / "m")[SUCCESS] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_handed_on_and_the_command_has_the_last_word(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = f"trap 'exit 0' {number.value}; echo began; while :; do sleep 0.05; done"
    process = start(
        *("backup-run", "db", "--textfile-dir", "m", "--", "sh", "-c", script), cwd=tmp_path
    )
    try:
        began(process)
        process.send_signal(number)
        assert process.wait(60) == 0
    finally:
        stop(process)  # type: ignore[arg-type]
        process.communicate()
    assert metrics(tmp_path / "m")[SUCCESS] == 1


def test_a_command_that_a_signal_ends_and_one_sent_to_the_whole_group(tmp_path: Path) -> None:
    command = [
        *("setsid", os.sys.executable, "-m", "opsloop"),  # type: ignore[attr-defined]
        *("backup-run", "db", "--textfile-dir", "m", "--", "sh", "-c", "echo began; sleep 600"),
    ]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        began(process)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        stop(process)  # type: ignore[arg-type]
        _, err = process.communicate()
    assert "the command was killed by SIGTERM" in err
    assert metrics(tmp_path / "m")[SUCCESS] == 0


def test_the_second_is_refused_and_the_command_dies_with_its_wrapper(tmp_path: Path) -> None:
    words = ("backup-run", "db", "--textfile-dir", "m", "--")
    first = start(*words, "sh", "-c", "echo began; echo $$ > pid; exec sleep 600", cwd=tmp_path)
    try:
        began(first)
        second = start(*words, "touch", "second", cwd=tmp_path)
        _, err = second.communicate(timeout=300)
        assert second.returncode == 1
        assert f"backup db: is running already (pid {first.pid}); nothing was started" in err
        assert not (tmp_path / "second").exists()
        pid = int(wait_until((tmp_path / "pid").read_text, "the pid is written"))
    finally:
        first.kill()
        first.communicate()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the command has ended")
    third = start(*words, "true", cwd=tmp_path)
    third.communicate(timeout=300)
    assert third.returncode == 0
    assert metrics(tmp_path / "m")[SUCCESS] == 1


def test_the_folder_of_the_stack(run: Run, tmp_path: Path) -> None:
    result = run("backup-run", "db", "--", "true")
    assert result.exit_code == 0
    assert "warning: no stack was ever up in" in result.stderr
    assert LAST_SUCCESS in metrics(tmp_path / ".opsloop" / "textfile")
    (tmp_path / ".opsloop" / "stack.json").write_text("{}")
    assert run("backup-run", "db", "--", "true").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["../x", "--", "touch", "ran"], "'../x': is not a name; use lower case letters"),
        (["Db", "--", "touch", "ran"], "is not a name"),
        (["db"], "Missing argument"),
        (["db", "--"], "Missing argument"),
    ],
)
def test_wrong_usage_runs_nothing(
    run: Run, tmp_path: Path, arguments: list[str], told: str
) -> None:
    result = run("backup-run", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert list(tmp_path.iterdir()) == []
