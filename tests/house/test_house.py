"""The house: make targets, CI, changelog, decision records, pre-commit, import rules."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.house.tracked import ROOT, tracked

TARGETS = [
    "setup",
    "run",
    "stop",
    "drill",
    "validate-prometheus",
    "test-alerts",
    "test",
    "test-full",
    "test-docker",
    "check",
    "bench",
    "evidence",
    "docs",
    "site",
    "lock",
    "format",
    "help",
]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
VENV = Path(".venv/bin")


def make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_the_makefile_has(target: str) -> None:
    make("--dry-run", target)


def test_make_help_names_every_target() -> None:
    named = {line.split()[0] for line in make("help").splitlines()}
    assert set(TARGETS) - {"help"} <= named


def test_no_target_shares_its_name_with_a_file() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    assert targets == set(re.findall(r"^\.PHONY: ([a-z-]+)$", text, re.MULTILINE))


def test_drill_takes_a_name_or_all() -> None:
    assert "drill service-kill" in make("-n", "drill")
    assert "drill overload" in make("-n", "drill", "NAME=overload")
    assert "drill --all" in make("-n", "drill", "ALL=1")


def test_ci_runs_the_targets_in_their_order() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert "for target in test check test-full test-docker; do" in text
    assert "set -euo pipefail" in text


def test_scripts_can_be_run_and_parse() -> None:
    scripts = [p for p in tracked() if p.suffix == ".sh"] + [Path(".ci/run")]
    assert len(scripts) >= 3
    for script in scripts:
        assert (ROOT / script).stat().st_mode & 0o111, f"chmod +x {script}"
        subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_the_changelog_keeps_its_format() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    release = re.compile(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d")
    assert [h for h in headings[1:] if not release.fullmatch(h)] == []
    dates = [h.rsplit(" ", 1)[1] for h in headings[1:]]
    assert dates == sorted(dates, reverse=True)
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= KINDS


def test_decisions_are_numbered_without_gaps() -> None:
    records = sorted(p for p in tracked() if p.parent == Path("docs/decisions"))
    numbers = [int(p.name[:4]) for p in records]
    assert numbers == list(range(1, len(records) + 1))
    for path, number in zip(records, numbers, strict=True):
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
        text = (ROOT / path).read_text()
        assert text.startswith(f"# {number}. "), path
        parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], path
        assert len(text.splitlines()) <= 70, f"{path} is more than a page"


def test_the_pre_commit_configuration_is_valid_and_local() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    subprocess.run([VENV / "pre-commit", "validate-config", path], cwd=ROOT, check=True)
    repos = yaml.safe_load(path.read_text())["repos"]
    assert [r["repo"] for r in repos] == ["local"]
    hooks = repos[0]["hooks"]
    assert [h["language"] for h in hooks] == ["system"] * len(hooks)


def test_the_layers_are_those_of_the_architecture() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    contract = parser["importlinter:contract:layers"]
    assert contract["exhaustive"] == "True"
    layers = [re.sub(r"[()]", "", line) for line in contract["layers"].split("\n") if line.strip()]
    assert layers[0] == "__main__"
    text = (ROOT / "docs/concepts/architecture.md").read_text()
    drawn = re.search(r"^ {4}(cli > .*?> errors)$", text, re.MULTILINE | re.DOTALL)
    assert drawn is not None
    assert layers[1:] == [part.strip() for part in drawn[1].replace("\n", " ").split(" > ")]


def test_every_dependency_has_a_floor_and_a_ceiling() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for group in project["project"]["optional-dependencies"].values():
        wanted += group
    for group in project["dependency-groups"].values():
        wanted += [entry for entry in group if isinstance(entry, str)]
    bad = [w for w in wanted if not re.search(r">=[\d.]+,<[\d.]+$", w)]
    assert bad == []


def test_dev_lock_holds_all_of_runtime_lock() -> None:
    pins = {
        name: set(
            re.findall(r"^\S+==\S+", (ROOT / f"requirements/{name}.lock").read_text(), re.MULTILINE)
        )
        for name in ("runtime", "dev")
    }
    assert pins["runtime"] <= pins["dev"]


def test_the_lock_files_hold_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = (
        project["project"]["dependencies"] + project["project"]["optional-dependencies"]["demo"]
    )
    locked = (ROOT / "requirements/runtime.lock").read_text()
    names = {re.split(r"[\[>=<]", w)[0].lower() for w in wanted}
    assert names <= set(re.findall(r"^([a-z0-9._-]+)==", locked, re.MULTILINE))


def test_steps_between_releases_are_semantic() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = [
        tuple(map(int, v.split(".")))
        for v in re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    ]
    assert all(newer > older for newer, older in pairwise(versions))


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("catalog/units.py", "import opsloop.cli", "opsloop.catalog is not allowed to import"),
        ("remediation/plan.py", "import time", "opsloop.remediation is not allowed to import time"),
        ("extra/__init__.py", "", "opsloop.extra"),
    ],
)
def test_the_import_rules_break_on(file: str, line: str, complaint: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    broken = tmp_path / "src/opsloop" / file
    broken.parent.mkdir(exist_ok=True)
    with broken.open("a") as out:
        out.write(f"\n{line}\n")
    done = subprocess.run(
        [ROOT / VENV / "lint-imports", "--no-cache", "--no-logo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert complaint in done.stdout
