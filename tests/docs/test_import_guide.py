"""The guide for people who come from Sloth, Pyrra or OpenSLO: its commands run, and say what it shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT, blocks, commands

PAGE = "docs/guides/from-sloth-or-pyrra.md"


def test_its_commands_run_and_say_what_it_shows(tmp_path: Path) -> None:
    (source,) = blocks(PAGE, "yaml")
    (tmp_path / "slos.yaml").write_text(source, encoding="utf-8")
    said = []
    for line in commands(PAGE):
        program, *words = shlex.split(line)
        assert program == "opsloop"
        done = subprocess.run(
            [sys.executable, "-m", "opsloop", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        said.append(done)
    (shown,) = blocks(PAGE, "text")
    assert said[0].stderr == shown
    assert (tmp_path / "opsloop.yaml").read_text(encoding="utf-8") == said[0].stdout
