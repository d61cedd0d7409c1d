"""Running the command line, in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from opsloop.cli.main import cli

ROOT = Path(__file__).parents[2]
SMALL = """\
apiVersion: opsloop/v1
services:
  web:
    team: shop
    targets: {static: ["127.0.0.1:8000"]}
    metrics: http
hosts:
  local: {}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the command line in an empty folder; the result has stdout, stderr and exit_code."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, environ: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(cli, list(arguments), env=environ)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A catalog of one service and one host, in the folder where `run` runs."""
    path = tmp_path / "opsloop.yaml"
    path.write_text(SMALL)
    return path


def start(*arguments: str, cwd: Path, **environ: str) -> subprocess.Popen[str]:
    """`opsloop ...` as a process of its own, with pipes for stdout and stderr."""
    return subprocess.Popen(
        [sys.executable, "-m", "opsloop", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
