"""tools/setup.sh: on machines that lack something, beside itself, and after a crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.house.tracked import ROOT, tracked
from tests.support.wait import wait_until

_TOOLS = "bash cat cut dirname env flock grep mkdir mv rm sha256sum touch".split()  # noqa: SIM905
_MADE = "setup: making .venv with Python"


class Machine:
    """A machine with only the programs that the test puts into `bin`."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        (self.clone / "tools").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / "tools/setup.sh", self.clone / "tools")
        for name in _TOOLS:
            path = shutil.which(name)
            assert path is not None
            (self.bin / name).symlink_to(path)
        self.program("id", "echo 1000")

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{self.bin}/bash\n{script}\n")
        path.chmod(0o755)

    def setup(self, *words: str, python: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "tools/setup.sh", *words],
            cwd=self.clone,
            env={"PATH": str(self.bin)} | ({"PYTHON": python} if python else {}),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# A python3 that answers the question after its version with yes, and lacks ensurepip.
_PYTHON_WITHOUT_VENV = """
case "$*" in
    *"import ensurepip"*) exit 1 ;;
    *"%d.%d"*) echo 3.13 ;;
esac
"""


def test_without_root_and_venv_it_says_the_exact_line(machine: Machine) -> None:
    machine.program("python3", _PYTHON_WITHOUT_VENV)
    machine.program("apt-get", "exit 99")
    done = machine.setup("runtime")
    assert done.returncode == 3
    line = "run: sudo apt-get install -y --no-install-recommends python3.13-venv; then run this"
    assert line in done.stderr
    assert not (machine.clone / ".venv").exists()


def test_without_any_python_it_says_the_exact_line(machine: Machine) -> None:
    machine.program("apt-get", "exit 99")
    done = machine.setup("runtime")
    assert done.returncode == 3
    assert "sudo apt-get install -y --no-install-recommends python3 python3-venv" in done.stderr


def test_an_old_python_is_named(machine: Machine) -> None:
    machine.program("python3", 'case "$*" in -V) echo Python 3.10.6 ;; *) exit 1 ;; esac')
    done = machine.setup("runtime")
    assert done.returncode == 3
    assert "python3 is Python 3.10.6; Python 3.11 or later is needed" in done.stderr


def test_a_python_that_was_asked_for_and_does_not_do_is_named(machine: Machine) -> None:
    done = machine.setup("runtime", python="no-such-python")
    assert done.returncode == 3
    assert "PYTHON=no-such-python is not Python 3.11 or later" in done.stderr


def test_as_root_it_installs_venv_and_reads_the_lists_only_when_needed(machine: Machine) -> None:
    machine.program("id", "echo 0")
    machine.program("python3", _PYTHON_WITHOUT_VENV + 'case "$*" in *"-m venv"*) exit 1 ;; esac')
    machine.program("apt-get", f'echo "$*" >>{machine.calls}; [ "$1" = update ]')
    done = machine.setup("runtime")
    assert done.returncode == 3
    assert "apt-get install -y --no-install-recommends python3.13-venv failed" in done.stderr
    calls = machine.calls.read_text().splitlines()
    assert [c.split()[0] for c in calls] == ["install", "update", "install"]
    assert "--no-install-recommends" in calls[0]
    assert "DPkg::Lock::Timeout=" in calls[0]


def test_without_apt_it_names_what_is_missing(machine: Machine) -> None:
    machine.program("python3", _PYTHON_WITHOUT_VENV)
    done = machine.setup("runtime")
    assert done.returncode == 3
    assert "python3.13-venv must be installed, and this machine has no apt-get" in done.stderr


# A .venv whose playwright has no browser until it is told to install one, if it can.
_VENV_PYTHON = """
echo "$*" >>{calls}
case "$*" in
    "-m tools.chromium") [ -e {folder}/downloaded ] ;;
    "-m playwright install chromium") {download} ;;
esac
"""


def with_venv(machine: Machine, download: str) -> None:
    folder = machine.clone / ".venv/bin"
    folder.mkdir(parents=True)
    text = _VENV_PYTHON.format(calls=machine.calls, folder=folder, download=download)
    (folder / "python").write_text(f"#!{machine.bin}/bash\n{text}")
    (folder / "python").chmod(0o755)
    path = shutil.which("timeout")
    assert path is not None
    (machine.bin / "timeout").symlink_to(path)


def test_as_root_a_browser_comes_from_debian(machine: Machine) -> None:
    with_venv(machine, "exit 1")
    machine.program("id", "echo 0")
    machine.program("apt-get", f'echo "apt-get $*" >>{machine.calls}')
    done = machine.setup("browser")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "setup: installing a Chromium for the browser tests\n"
    calls = machine.calls.read_text().splitlines()
    assert [c.split()[0] for c in calls] == ["-m", "apt-get"]
    assert calls[1].endswith(" chromium")
    assert "--no-install-recommends" in calls[1]


def test_without_root_the_browser_is_playwrights(machine: Machine) -> None:
    with_venv(machine, "touch {folder}/downloaded".format(folder=machine.clone / ".venv/bin"))
    machine.program("apt-get", "exit 99")
    assert machine.setup("browser").stdout == "setup: installing a Chromium for the browser tests\n"
    assert machine.setup("browser").stdout == ""


def test_a_browser_that_cannot_be_had_stops_nothing_and_is_tried_once(machine: Machine) -> None:
    with_venv(machine, "exit 1")
    machine.program("id", "echo 0")
    machine.program("apt-get", "echo E: no network; exit 100")
    done = machine.setup("browser")
    assert done.returncode == 0
    assert "apt-get could not install chromium: E: no network" in done.stdout
    assert "no Chromium could be had, so the browser tests are skipped" in done.stdout
    assert machine.setup("browser").stdout == ""


def test_a_browser_that_is_there_is_left_alone(machine: Machine) -> None:
    machine.program("chromium", "exit 99")
    done = machine.setup("browser")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("words", [[], ["everything"]])
def test_it_says_what_can_be_set_up(machine: Machine, words: list[str]) -> None:
    done = machine.setup(*words)
    assert done.returncode == 3
    assert "runtime, dev" in done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files of this repository, as a clone would have them."""
    folder = tmp_path / "a clone"  # a blank in the name is no reason to fail
    for path in tracked():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["tools/setup.sh", "runtime"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"},
    )


def said(process: subprocess.Popen[str]) -> str:
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.full
def test_setup_beside_itself_again_killed_and_moved(copy: Path, tmp_path: Path) -> None:
    opsloop = copy / ".venv/bin/opsloop"
    first, second = start(copy), start(copy)
    outputs = sorted((said(first), said(second)), key=lambda text: _MADE not in text)
    assert _MADE in outputs[0]
    assert outputs[1] == "setup: another setup runs in this folder; waiting for it\n"
    version = subprocess.run([opsloop, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("opsloop, version ")
    assert said(start(copy)) == ""  # nothing to do

    (copy / ".venv/.runtime.stamp").unlink()
    killed = start(copy)
    wait_until((copy / ".setup.unfinished").exists, "pip is at work", interval=0.01)
    os.killpg(killed.pid, 9)
    killed.communicate()
    assert _MADE in said(start(copy))
    assert not (copy / ".setup.unfinished").exists()

    moved = copy.rename(tmp_path / "moved")
    assert _MADE in said(start(moved))
    subprocess.run([moved / ".venv/bin/opsloop", "--version"], check=True, capture_output=True)


@pytest.mark.full
def test_the_wheel_has_code_sql_and_the_demo_and_nothing_else(copy: Path, tmp_path: Path) -> None:
    (copy / "examples/shop/__pycache__").mkdir()
    (copy / "examples/shop/__pycache__/api.cpython-311.pyc").touch()
    shutil.copy(ROOT / ".gitignore", copy)
    subprocess.run(
        [ROOT / ".venv/bin/python", "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
        metadata = archive.read(next(n for n in archive.namelist() if n.endswith("METADATA")))
    package = {str(p.relative_to("src")) for p in tracked() if p.parts[0] == "src"}
    demo = {f"opsloop/{p}" for p in tracked() if p.parts[:2] == ("examples", "shop")}
    assert names == package | demo
    assert {"opsloop/py.typed", "opsloop/store/schema.sql"} <= names
    assert b"License-Expression: Apache-2.0" in metadata
    assert b"Provides-Extra: demo" in metadata
