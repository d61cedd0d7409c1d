"""The wheel, installed by hashes into an empty environment, does all of it outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import opsloop
from tests.docs import scripts
from tests.drills.whole import PROGRAMS
from tests.support.servers import require
from tests.support.stack import free_port_base

ROOT = Path(__file__).parents[2]
FIRST = "docs/guides/first-ten-minutes.md"
UPGRADE = "docs/guides/upgrade.md"
pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Installed:
    """An environment with nothing in it but the lock's packages and the wheel."""

    folder: Path
    wheel: Path
    environ: dict[str, str]

    def run(self, *words: str, seconds: float = 300) -> str:
        """What the installed command says; AssertionError when it fails."""
        ran = subprocess.run(
            [self.folder / "venv/bin/opsloop", *words],
            cwd=self.folder / "elsewhere",
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert ran.returncode == 0, f"opsloop {words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    folder = Path(tempfile.mkdtemp(prefix="ow-"))
    clean = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("OPSLOOP_", "PYTHON", "VIRTUAL_ENV", "PIP_REQUIRE"))
    }
    try:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = folder.glob("*.whl")
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [
            str(folder / "venv/bin/python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "-q",
            "install",
        ]
        lock = str(ROOT / "requirements/runtime.lock")
        for words in (["--require-hashes", "-r", lock], ["--no-deps", str(wheel)]):
            ran = subprocess.run(
                [*pip, *words], cwd=folder, env=clean, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, ran.stderr
        (folder / "elsewhere").mkdir()
        environ = {**clean, "OPSLOOP_PORT_BASE": str(free_port_base()), "NO_COLOR": "1"}
        yield Installed(folder, wheel, environ)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_version_has_one_place(installed: Installed) -> None:
    assert installed.run("--version") == f"opsloop, version {opsloop.__version__}\n"
    with zipfile.ZipFile(installed.wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("METADATA"))
        metadata = archive.read(name).decode()
    assert f"\nVersion: {opsloop.__version__}\n" in metadata


def test_no_code_of_the_checkout_is_used(installed: Installed) -> None:
    python = installed.folder / "venv/bin/python"
    code = "import opsloop; print(opsloop.__file__)"
    said = subprocess.run([python, "-c", code], cwd=installed.folder, env=installed.environ,
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert said.startswith(str(installed.folder))


def test_the_guides_work_elsewhere_word_by_word(installed: Installed) -> None:
    """Init, up, drill and down of the first ten minutes, then a backup; check and build of both."""
    for program in PROGRAMS:
        require(*program)
    elsewhere, programs = installed.folder / "elsewhere", installed.folder / "venv/bin"
    environ = {"OPSLOOP_STATE": str(installed.folder / "s")}
    environ["OPSLOOP_PORT_BASE"] = installed.environ["OPSLOOP_PORT_BASE"]
    state = installed.folder / "s"
    try:
        said = scripts.run(FIRST, elsewhere, environ, 580, programs)
        assert "passed: healed by run" in said
        scripts.run(UPGRADE, elsewhere, environ, 60, programs)
        assert (elsewhere / "engine-backup.sqlite").stat().st_size > 0
        catalog = ("--catalog", "shop/opsloop.yaml")
        assert "fine: " in installed.run("check", *catalog)
        installed.run("build", *catalog, "--out", "build")
        assert installed.run("schema").startswith("{")
    finally:
        installed.run("down", "--state", str(state))
        record = state / "data/database.path"
        if record.exists():
            cluster = Path(record.read_text().strip())
            if installed.folder not in cluster.parents:
                shutil.rmtree(cluster.parent, ignore_errors=True)
