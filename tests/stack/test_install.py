"""Installing: services stay down, what was there is put back, failures carry apt's own words.

apt-get, dpkg-query and the like are small scripts on the PATH of a machine in a folder; they
write down how they were called and what they saw.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from opsloop.errors import MachineError
from opsloop.stack.install import install, install_command
from opsloop.stack.quiet import MARK, Machine
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")

DPKG_QUERY = """
case "$1" in
-W) echo "installed base-files"; [ -e "$ROOT/installed" ] && sed 's/^/installed /' "$ROOT/installed" ;;
-L) echo /usr/bin/x; echo "/lib/systemd/system/$2.service"; echo "/lib/systemd/system/$2@.service" ;;
esac
"""
APT_CACHE = """
[ -e "$ROOT/lists" ] && echo "  Candidate: 1.0" || echo "  Candidate: (none)"
"""
APT_GET = """
case "$*" in
*update*) [ -e "$ROOT/no-network" ] && { echo "E: Failed to fetch the lists"; exit 100; }
    touch "$ROOT/lists" ;;
*install*)
    cp "$ROOT/usr/sbin/policy-rc.d" "$ROOT/seen-policy"
    cp "$ROOT/etc/postgresql-common/createcluster.conf" "$ROOT/seen-cluster" 2>/dev/null
    if [ -e "$ROOT/hang" ]; then
        trap 'echo "E: interrupted"; exit 100' INT
        touch "$ROOT/hanging"
        while :; do sleep 0.05; done
    fi
    [ -e "$ROOT/broken" ] && { echo "E: Unable to correct problems"; exit 100; }
    echo "Get:1 http://mirror bookworm/main amd64 prometheus amd64 2.42 [1 B]"
    echo "Unpacking prometheus (2.42) ..."
    for word; do package=$word; case "$package" in prometheus*|postgresql*) echo "$package" >> "$ROOT/installed" ;; esac; done
    ;;
esac
exit 0
"""


class Toy:
    """A machine in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []
        bin_dir = root / "bin"
        bin_dir.mkdir(parents=True)
        scripts = {
            "apt-get": APT_GET,
            "apt-cache": APT_CACHE,
            "dpkg-query": DPKG_QUERY,
            "systemctl": "",
        }
        for name, body in scripts.items():
            path = bin_dir / name
            log = f'echo "{name} $*" >> "$ROOT/calls"'
            path.write_text(f"#!/bin/sh\nROOT={root}\n{log}\n{body}")
            path.chmod(0o755)
        self.machine = Machine(root, f"{bin_dir}:{os.environ['PATH']}")

    def install(self, *packages: str) -> list[str]:
        return install(packages, self.said.append, self.machine)

    def calls(self, program: str) -> list[str]:
        lines = (self.root / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(program)]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "root")


def test_installs_quietly_and_leaves_no_trace(toy: Toy) -> None:
    assert toy.install("prometheus") == ["prometheus"]
    assert "exit 101" in (toy.root / "seen-policy").read_text()
    assert not toy.machine.policy.exists()
    assert not (toy.root / "usr").exists()
    assert toy.calls("systemctl") == ["systemctl disable prometheus.service"]
    (call,) = [c for c in toy.calls("apt-get") if "install" in c]
    assert "--no-install-recommends" in call
    assert "DPkg::Lock::Timeout" in call
    assert any("downloading prometheus" in line for line in toy.said)
    assert any("unpacking prometheus" in line for line in toy.said)


def test_lists_are_read_only_when_a_candidate_is_unknown(toy: Toy) -> None:
    (toy.root / "lists").touch()
    toy.install("prometheus")
    assert not [c for c in toy.calls("apt-get") if "update" in c]
    (toy.root / "lists").unlink()
    toy.install("prometheus-alertmanager")
    assert [c for c in toy.calls("apt-get") if "update" in c]


def test_nothing_is_called_when_all_is_there(toy: Toy) -> None:
    (toy.root / "installed").write_text("prometheus\n")
    assert toy.install("prometheus") == []
    assert not toy.calls("apt-get")


def test_an_existing_policy_is_put_back(toy: Toy) -> None:
    toy.machine.policy.parent.mkdir(parents=True)
    toy.machine.policy.write_text("#!/bin/sh\nexit 0 # the admin's\n")
    toy.machine.policy.chmod(0o750)
    toy.install("prometheus")
    assert "opsloop" in (toy.root / "seen-policy").read_text()
    assert "the admin's" in toy.machine.policy.read_text()
    assert toy.machine.policy.stat().st_mode & 0o777 == 0o750
    assert [p.name for p in toy.machine.policy.parent.iterdir()] == ["policy-rc.d"]


def test_an_existing_link_is_put_back_as_a_link(toy: Toy) -> None:
    toy.machine.policy.parent.mkdir(parents=True)
    toy.machine.policy.symlink_to("/etc/alternatives/policy-rc.d")
    toy.install("prometheus")
    assert toy.machine.policy.is_symlink()
    assert toy.machine.policy.readlink() == Path("/etc/alternatives/policy-rc.d")


def test_postgresql_makes_no_cluster(toy: Toy) -> None:
    template = toy.machine.cluster_template
    template.parent.mkdir(parents=True)
    template.write_text("#create_main_cluster = true\n")
    toy.install("postgresql")
    assert "create_main_cluster = false" in (toy.root / "seen-cluster").read_text()
    # The machine is as if the package had been installed by hand.
    assert toy.machine.cluster_conf.read_text() == template.read_text()


def test_the_admins_cluster_settings_are_put_back(toy: Toy) -> None:
    conf = toy.machine.cluster_conf
    conf.parent.mkdir(parents=True)
    conf.write_text("data_directory = '/big'\n")
    toy.install("postgresql")
    assert conf.read_text() == "data_directory = '/big'\n"


def test_a_failure_has_apts_words_and_puts_back(toy: Toy) -> None:
    (toy.root / "broken").touch()
    toy.machine.policy.parent.mkdir(parents=True)
    toy.machine.policy.write_text("exit 0")
    with pytest.raises(MachineError, match="Unable to correct problems"):
        toy.install("prometheus")
    assert toy.machine.policy.read_text() == "exit 0"


def test_without_network_the_failure_is_apts(toy: Toy) -> None:
    (toy.root / "no-network").touch()
    with pytest.raises(MachineError, match="Failed to fetch the lists"):
        toy.install("prometheus")
    assert not toy.machine.policy.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_puts_back(toy: Toy, number: signal.Signals) -> None:
    (toy.root / "hang").touch()
    (toy.root / "lists").touch()
    toy.machine.policy.parent.mkdir(parents=True)
    toy.machine.policy.write_text("exit 0")
    code = (
        "import signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from opsloop.stack.install import install; from opsloop.stack.quiet import Machine\n"
        "install(['prometheus'], print, Machine(Path(sys.argv[1]), sys.argv[2]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(toy.root), toy.machine.path or ""],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            wait_until((toy.root / "hanging").exists, "apt-get is under way")
            assert MARK in toy.machine.policy.read_text()
            process.send_signal(number)
            assert process.wait(30) != 0
        finally:
            process.kill()
    assert toy.machine.policy.read_text() == "exit 0"


def test_what_a_killed_installation_left_is_put_right(toy: Toy) -> None:
    """kill -9 half-way leaves our file and the saved one; the next run restores the saved one."""
    folder = toy.machine.policy.parent
    folder.mkdir(parents=True)
    toy.machine.policy.write_text(f"#!/bin/sh\n{MARK}\nexit 101\n")
    (folder / "policy-rc.d.opsloop-saved").write_text("the admin's")
    toy.install("prometheus")
    assert toy.machine.policy.read_text() == "the admin's"
    # Without a saved one there was none.
    toy.machine.policy.write_text(f"#!/bin/sh\n{MARK}\nexit 101\n")
    toy.install("prometheus-alertmanager")
    assert not toy.machine.policy.exists()


def test_without_apt_or_root_the_sentence_has_the_way(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MachineError, match="there is no apt-get"):
        install(["prometheus"], print, Machine(toy.root, "/nonexistent"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match=r"only root .* run: .*doctor --install"):
        toy.install("prometheus")


def test_the_command_is_one_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/apt-get")
    assert install_command(["x"]) == f"{sys.executable} -m opsloop doctor --install"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert install_command(["x"]) == f"sudo {sys.executable} -m opsloop doctor --install"
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "package manager for x" in install_command(["x"])
