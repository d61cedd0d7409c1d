"""The command itself: its table, its lazy imports, and what failures become."""

from __future__ import annotations

import importlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from opsloop import __version__
from opsloop.cli import main, output
from opsloop.cli.main import COMMANDS, cli
from opsloop.errors import CatalogError, MissingBinary, OpsloopError, Problem
from tests.cli.conftest import start

Run = Callable[..., Result]


def test_help_names_every_command_and_imports_none(run: Run) -> None:
    done = run("--help")
    assert done.exit_code == 0
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert text in " ".join(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["completion", "bash"]])
def test_no_heavy_import_before_a_command_needs_it(arguments: list[str]) -> None:
    code = (
        "import sys; from opsloop.cli.main import cli\n"
        f"try: cli({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {"pydantic", "yaml", "rich", "starlette", "uvicorn", "urllib3", "sqlite3", "asyncio"}
    assert loaded & heavy == set()
    assert "click" in loaded


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name: str, run: Run) -> None:
    module_name, attribute = COMMANDS[name][0].split(":")
    command = getattr(importlib.import_module(module_name), attribute)
    assert isinstance(command, click.Command)
    done = run(name, "--help")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: opsloop {name}")


def test_a_missing_module_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "ghost", ("opsloop.cli.ghost:command", "Not there."))
    assert "ghost" in run("--help").stdout
    done = run("ghost")
    assert done.exit_code == 1
    assert done.stderr == "error: opsloop ghost: is not in this installation; see opsloop --help\n"


def test_an_import_that_fails_inside_a_command_is_not_hidden(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_command.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(COMMANDS, "broken", ("broken_command:command", "Broken."))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        run("broken")


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    done = run("biuld")
    assert done.exit_code == 2
    assert "no command 'biuld'; did you mean 'build'?" in done.stderr
    assert "see opsloop --help" in run("qqqqqq").stderr


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"opsloop, version {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            MissingBinary("promtool", "is not installed", "run: apt-get install prometheus"),
            3,
            "error: promtool: is not installed; run: apt-get install prometheus\n",
        ),
        (OpsloopError("api", "does not answer"), 1, "error: api: does not answer\n"),
        (
            CatalogError([Problem("a.yaml", 3, "x.y", "is wrong", "mend it")]),
            2,
            "a.yaml:3: x.y: is wrong (mend it)\nerror: catalog: 1 problem\n",
        ),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: /x: Permission denied\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_what_failures_become(
    error: BaseException, code: int, words: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def command() -> None:
        raise error

    _install(monkeypatch, command)
    done = run("failing")
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", words)


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (3, 3), (True, 0)])
def test_what_a_command_returns_is_the_exit_code(
    result: object, code: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def command() -> object:
        return result

    _install(monkeypatch, command)
    assert run("failing").exit_code == code


def test_an_exception_that_is_a_bug_is_not_hidden(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def command() -> None:
        raise ZeroDivisionError

    _install(monkeypatch, command)
    with pytest.raises(ZeroDivisionError):
        run("failing")


def _install(monkeypatch: pytest.MonkeyPatch, command: click.Command) -> None:
    module = type(sys)("failing_command")
    module.__dict__["command"] = command
    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(COMMANDS, "failing", ("failing_command:command", "Fails."))


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["--port-base", "99999"], {}, "--port-base: 99999 is not in -1900..56000"),
        (["--port-base", "x"], {}, "'x' is not a valid integer"),
        ([], {"OPSLOOP_PORT_BASE": "x"}, "OPSLOOP_PORT_BASE: 'x' is not a whole number"),
        (["--catalog", "nowhere.yaml"], {}, "nowhere.yaml: there is no such file or folder"),
        ([], {"OPSLOOP_CATALOG": "elsewhere"}, "elsewhere: there is no such file or folder"),
    ],
)
def test_shared_options(
    arguments: list[str], environ: dict[str, str], words: str, run: Run
) -> None:
    done = run("check", *arguments, environ=environ)
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, run: Run) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0
    assert f"_OPSLOOP_COMPLETE={shell}_complete" in done.stdout


def test_completion_of_commands_imports_none_of_them() -> None:
    environ = {"COMP_WORDS": "opsloop d", "COMP_CWORD": "1", "_OPSLOOP_COMPLETE": "bash_complete"}
    done = CliRunner().invoke(cli, [], env=environ, prog_name="opsloop")
    assert done.stdout.split() == ["plain,diff", "plain,down", "plain,doctor", "plain,drill"]


def test_completion_of_options() -> None:
    environ = {
        "COMP_WORDS": "opsloop build --r",
        "COMP_CWORD": "2",
        "_OPSLOOP_COMPLETE": "bash_complete",
    }
    done = CliRunner().invoke(cli, [], env=environ, prog_name="opsloop")
    assert done.stdout.split() == ["plain,--run-tests"]


def test_a_reader_that_has_gone_is_no_traceback(tmp_path: Path) -> None:
    process = start("--help", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), errors) == (main.EXIT_BROKEN_PIPE, "")


def test_ctrl_c_is_130_without_a_traceback(tmp_path: Path) -> None:

    code = (
        "import sys, time, types, click\n"
        "from opsloop.cli.main import COMMANDS, cli\n"
        "@click.command()\n"
        "def command():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
        "module = types.ModuleType('waiting'); module.command = command\n"
        "sys.modules['waiting'] = module\n"
        "COMMANDS['wait'] = ('waiting:command', '')\n"
        "cli(['wait'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (130, "\n")


def on_terminal(*arguments: str, cwd: Path, environ: dict[str, str]) -> str:
    """What the command writes to a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "opsloop", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(main.__file__).parents[2]), **environ},
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    text = b""
    try:
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the last writer has closed it
                break
            if not part:
                break
            text += part
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    return text.decode()


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb", "NO_COLOR": ""}, False),
    ],
)
def test_colours_on_a_terminal(environ: dict[str, str], coloured: bool, tmp_path: Path) -> None:
    text = on_terminal("check", cwd=tmp_path, environ=environ)
    assert "catalog: 1 problem" in text
    assert ("\x1b[" in text) is coloured


def test_no_colours_in_a_pipe(run: Run) -> None:
    assert "\x1b[" not in run("check").stderr


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["part", "state"], [["prometheus", "up"], ["db", None]])
    assert capsys.readouterr().out == "part        state\nprometheus  up\ndb\n"


def test_json_is_valid_whatever_the_encoding(tmp_path: Path) -> None:
    code = (
        "from opsloop.cli import output; output.prepare_streams()\n"
        "output.print_json({'name': 'caf\\u00e9 \\udc80', 'n': 1})"
    )
    for encoding in ("utf-8", "ascii"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )

        assert json.loads(done.stdout) == {"name": "caf\u00e9 \udc80", "n": 1}
