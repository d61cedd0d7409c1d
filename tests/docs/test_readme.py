"""README: its catalog is good, its commands exist, and every one of them runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.keep import with_numbers
from tests.docs.pages import ROOT, blocks, commands
from tests.support.stack import free_port_base

# Run by something else, or not to be run from inside a test; each with its reason.
NOT_RUN = {
    "make test": "it is what runs this page",
}


def _environment(tmp_path: Path, base: int | None = None) -> dict[str, str]:
    environment = {
        **os.environ,
        "OPSLOOP_STATE": str(tmp_path / "state"),
        "OPSLOOP_CATALOG": str(tmp_path / "opsloop.yaml"),
        "NO_COLOR": "1",
    }
    if base is not None:
        environment["OPSLOOP_PORT_BASE"] = str(base)
    return environment


def _opsloop(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "opsloop", *words],
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_catalog_is_good_and_about_fifteen_lines(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "yaml")
    assert len(text.splitlines()) <= 16
    (tmp_path / "opsloop.yaml").write_text(text, encoding="utf-8")
    env = _environment(tmp_path)
    check = _opsloop("check", "--json", env=env)
    assert json.loads(check.stdout)["errors"] == [], check.stderr
    assert check.returncode == 0
    built = _opsloop("build", "--out", str(tmp_path / "build"), env=env)
    assert built.returncode == 0, built.stderr


@pytest.mark.full
def test_every_test_of_the_catalog_passes(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "yaml")
    (tmp_path / "opsloop.yaml").write_text(text, encoding="utf-8")
    env = _environment(tmp_path)
    built = _opsloop("build", "--out", str(tmp_path / "build"), "--run-tests", env=env)
    assert built.returncode == 0, built.stderr


def test_every_named_command_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in set(re.findall(r"`make ([a-z-]+)", text)):
        assert target in targets, f"README names make {target}"
    names = set(re.findall(r"opsloop ([a-z]+)[ `]", text))
    assert names, "README names commands"
    for name in names:
        shown = _opsloop(name, "--help", env=dict(os.environ))
        assert shown.returncode == 0, f"README names opsloop {name}: {shown.stderr}"


def test_links_and_pictures_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_numbers_are_those_that_were_kept() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_numbers(text) == text, "python -m benchmarks.keep readme"
    assert text.count("\n| ") > 4


@pytest.mark.full
def test_every_command_runs_in_the_order_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(blocks("README.md", "yaml")[0], encoding="utf-8")
    env = _environment(tmp_path, free_port_base())
    try:
        for line in commands("README.md"):
            if line in NOT_RUN:
                print(f"not run: {line}: {NOT_RUN[line]}")
                continue
            words = shlex.split(line.replace("--out build", f"--out {tmp_path / 'build'}"))
            ran = subprocess.run(
                words,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert ran.returncode == 0, f"{line}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    finally:
        subprocess.run(["make", "stop"], cwd=ROOT, env=env, timeout=300, check=False)
