"""The guide to a first objective: its catalog is fine, its commands run, and say what it shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from opsloop.catalog.load import load
from opsloop.catalog.slo import windows_for
from tests.docs.pages import ROOT, blocks, commands

PAGE = "docs/guides/first-slo.md"


def opsloop(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *words = shlex.split(line)
    assert program == "opsloop"
    return subprocess.run(
        [sys.executable, "-m", "opsloop", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_its_commands_run_and_say_what_it_shows(tmp_path: Path) -> None:
    (source,) = blocks(PAGE, "yaml")
    (tmp_path / "opsloop.yaml").write_text(source, encoding="utf-8")
    said = []
    for line in commands(PAGE):
        done = opsloop(line, tmp_path)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        said.append(done.stdout)
    (shown,) = blocks(PAGE, "text")
    assert said[0] == shown
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for path in (tmp_path / "build/prometheus/rules").glob("slo*.yml"):
        assert f"`{path.name}`" in text


def test_its_alerts_are_those_that_there_are(tmp_path: Path) -> None:
    (source,) = blocks(PAGE, "yaml")
    (tmp_path / "opsloop.yaml").write_text(source, encoding="utf-8")
    catalog = load(tmp_path / "opsloop.yaml", {}).catalog
    assert opsloop("opsloop build --out build", tmp_path).returncode == 0
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    found = {
        (rule["alert"], rule["labels"]["severity"])
        for path in (tmp_path / "build/prometheus/rules").glob("slo*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert len(found) == 5
    for alert, severity in found:
        assert f"| `{alert}` | {severity} |" in text
    window = catalog.services["checkout"].slos["availability"].window
    for pair in windows_for(window)[:3]:
        assert f"{float(pair.factor):g} times" in text


def test_own_metrics_are_a_catalog_too(tmp_path: Path) -> None:
    (source,), (part,) = blocks(PAGE, "yaml"), blocks(PAGE, "yaml-part")
    assert "    metrics: http\n" in source
    (tmp_path / "opsloop.yaml").write_text(source.replace("    metrics: http\n", part))
    assert load(tmp_path / "opsloop.yaml", {}).warnings == ()
