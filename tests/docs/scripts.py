"""How each page's commands are run: what lies beside them, and what of them is not run, and why."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.pages import ROOT, blocks, commands


@dataclass(frozen=True)
class Page:
    """files: name -> (language, number) of the block that is saved under it before.

    full: it starts a whole stack. slow: it takes longer than core tests may. elsewhere: the test
    that runs the page instead.
    """

    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    full: bool = False
    slow: bool = False
    elsewhere: str = ""
    not_run: Mapping[str, str] = field(default_factory=dict)


_CATALOG = {"opsloop.yaml": ("yaml", 0)}
PAGES: Mapping[str, Page] = {
    "README.md": Page(elsewhere="tests/docs/test_readme.py"),
    "CONTRIBUTING.md": Page(elsewhere="tests/docs/test_contributing.py"),
    "docs/guides/first-ten-minutes.md": Page(elsewhere="tests/make/test_wheel.py"),
    "docs/guides/own-service.md": Page(_CATALOG, full=True),
    "docs/guides/first-slo.md": Page(elsewhere="tests/docs/test_first_slo_guide.py"),
    "docs/guides/first-policy.md": Page(_CATALOG),
    "docs/guides/from-sloth-or-pyrra.md": Page(elsewhere="tests/docs/test_import_guide.py"),
    "docs/guides/existing-prometheus.md": Page(_CATALOG),
    "docs/guides/production.md": Page({"opsloop.yaml": ("README", 0)}, slow=True),
    "docs/guides/upgrade.md": Page(elsewhere="tests/make/test_wheel.py"),
}


def program(folder: Path) -> Path:
    """A folder with `opsloop` in it, as an installation puts it on PATH."""
    path = folder / "opsloop"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m opsloop "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return folder


def save_files(name: str, folder: Path) -> None:
    """The blocks that the page asks its reader to save."""
    for file, (language, number) in PAGES[name].files.items():
        text = (
            blocks("README.md", "yaml")[number]
            if language == "README"
            else blocks(name, language)[number]
        )
        (folder / file).write_text(text, encoding="utf-8")


def run(
    name: str,
    folder: Path,
    environ: Mapping[str, str],
    seconds: float,
    installed: Path | None = None,
) -> str:
    """Run the page's commands in their order, in one shell; what they said, or AssertionError.

    installed: the folder of an installed `opsloop`; without it, it is that of this checkout.
    """
    page = PAGES[name]
    lines = []
    for line in commands(name):
        if line in page.not_run:
            print(f"not run: {line}: {page.not_run[line]}")
        else:
            lines.append(line)
    assert lines, name
    script = "set -eu\n" + "".join(f"echo {shlex.quote('$ ' + line)}\n{line}\n" for line in lines)
    here = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    if installed is None:
        here["PYTHONPATH"] = str(ROOT / "src")
    path = f"{installed or program(folder / '.bin')}:{here['PATH']}"
    environment = {**here, "PATH": path, "NO_COLOR": "1", **environ}
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ran.returncode == 0, f"{name}: exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
