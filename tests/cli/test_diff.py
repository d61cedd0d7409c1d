"""`opsloop diff`: what would change, in a form that patch takes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from opsloop.cli.diff import unified
from tests.cli.conftest import SMALL
from tests.cli.test_build import tree

Run = Callable[..., Result]


def test_same_and_different(run: Run, small: Path) -> None:
    assert run("build", "--out", "out").exit_code == 0
    done = run("diff", "--out", "out")
    assert (done.exit_code, done.stdout) == (0, "")
    small.write_text(SMALL.replace("8000", "8001"))
    done = run("diff", "--out", "out")
    assert done.exit_code == 1
    assert "--- a/prometheus/prometheus.yml\n+++ b/prometheus/prometheus.yml\n@@ " in done.stdout
    assert any(line.startswith("-") and "8000" in line for line in done.stdout.splitlines())
    assert any(line.startswith("+") and "8001" in line for line in done.stdout.splitlines())


def test_the_default_is_what_up_runs(run: Run, small: Path) -> None:
    done = run("diff", "--state", "state")
    assert done.exit_code == 1
    assert done.stdout.count("--- /dev/null\n") == done.stdout.count("\n+++ b/")
    assert run("build", "--out", "state/build").exit_code == 0
    assert run("diff", "--state", "state").exit_code == 0


def test_a_bad_catalog(run: Run, tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text("apiVersion: 2\n")
    assert run("diff").exit_code == 2


def test_patch_makes_the_new_from_the_old(run: Run, small: Path, tmp_path: Path) -> None:
    if shutil.which("patch") is None:
        pytest.skip("patch is not installed")
    assert run("build", "--out", "out").exit_code == 0
    small.write_text(SMALL + "probes:\n  front: {target: 'http://127.0.0.1:8000/'}\n")
    text = run("diff", "--out", "out").stdout
    subprocess.run(["patch", "-s", "-p1"], cwd="out", input=text, text=True, check=True)
    assert run("build", "--out", "new").exit_code == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "new")


@pytest.mark.parametrize(
    ("kind", "old", "new", "lines"),
    [
        ("missing", "", "a\n", ["--- /dev/null", "+++ b/x", "@@ -0,0 +1 @@", "+a"]),
        ("extra", "a\n", "", ["--- a/x", "+++ /dev/null", "@@ -1 +0,0 @@", "-a"]),
        ("extra", "", "", ["--- a/x", "+++ /dev/null"]),
        ("differs", "a", "a\n", ["--- a/x", "+++ b/x"]),
    ],
)
def test_lines(kind: str, old: str, new: str, lines: list[str]) -> None:
    assert list(unified("x", kind, old, new)) == lines
