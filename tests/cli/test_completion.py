"""`opsloop completion`: what each shell offers, asked of the shell itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# One line of each shell that completes `opsloop WORDS` and prints what it would offer.
ASK = {
    "bash": """
        source ./script
        complete -p opsloop >/dev/null || exit 9
        COMP_WORDS=(opsloop {words}) COMP_CWORD={at}
        $(complete -p opsloop | sed 's/.*-F \\([^ ]*\\).*/\\1/') opsloop
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    # Its completion system needs a terminal; what our function hands to it is seen without one.
    "zsh": """
        compdef() {{ : }}
        _describe() {{ print -l -- ${{${{(P)3}}%%:*}} }}
        compadd() {{ print -l -- ${{(P)@[-1]}} }}
        source ./script
        words=(opsloop {words}) CURRENT=$(({at} + 1))
        _opsloop_completion
    """,
    "fish": """
        source ./script
        complete --do-complete 'opsloop {words}' | cut -f 1
    """,
}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with `opsloop` in it, as an installation puts it on PATH."""
    path = tmp_path / "bin" / "opsloop"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m opsloop "$@"\n')
    path.chmod(0o755)
    return path.parent


def offered(shell: str, words: str, program: Path, folder: Path) -> list[str]:
    environment = {
        **os.environ,
        "PATH": f"{program}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(folder),
    }
    script = subprocess.run(
        [program / "opsloop", "completion", shell],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "script").write_text(script.stdout)
    at = len(words.split(" "))
    flags = ["--norc", "--noprofile"] if shell == "bash" else ["-f"] if shell == "zsh" else []
    done = subprocess.run(
        [shell, *flags, "-c", ASK[shell].format(words=words or "''", at=at)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.split())


@pytest.mark.parametrize("shell", ASK)
def test_a_shell_offers_commands_options_and_choices(
    shell: str, program: Path, tmp_path: Path
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here (apt-get install {shell})")
    assert offered(shell, "di", program, tmp_path) == ["diff"]
    assert offered(shell, "build --r", program, tmp_path) == ["--run-tests"]
    assert offered(shell, "completion z", program, tmp_path) == ["zsh"]


def test_a_shell_that_is_not_known_is_refused(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [program / "opsloop", "completion", "csh"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in done.stderr
