"""`opsloop doctor`: what lacks, the command that mends it, and its exit codes."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from opsloop.cli.main import cli
from tests.support.net import free_port

PROGRAMS = (
    *("prometheus", "promtool", "prometheus-alertmanager", "amtool", "prometheus-node-exporter"),
    *("prometheus-blackbox-exporter", "setpriv"),
)


class Machine:
    """A PATH, a catalog and a state folder of one's own."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in (*PROGRAMS, "apt-get"):
            self.add(name)
        self.state = folder / "state"
        self.catalog = folder / "opsloop.yaml"
        self.port = free_port()
        self.catalog.write_text(
            "apiVersion: opsloop/v1\n"
            f"processes:\n  web: {{command: [x], port: {self.port}}}\n"
            "services:\n  web: {team: a, process: web, metrics: http}\n"
        )

    def add(self, name: str) -> None:
        (self.bin / name).write_text("#!/bin/sh\nexit 1\n")
        (self.bin / name).chmod(0o755)

    def doctor(self, *words: str) -> Result:
        where = ("--catalog", str(self.catalog), "--state", str(self.state))
        return CliRunner().invoke(cli, ["doctor", *words, *where, "--port-base", "0"])

    def checks(self, *words: str) -> dict[str, Any]:
        report = json.loads(self.doctor("--json", *words).output)
        return {c["name"]: c for c in report["checks"]}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(machine.bin))
    # The ports of a stack that somebody runs on this machine are no matter of these tests.
    for name in (
        "prometheus",
        "alertmanager",
        "engine",
        "console",
        "inbox",
        "node_exporter",
        "blackbox_exporter",
    ):
        monkeypatch.setattr(f"opsloop.settings.Ports.{name}", free_port())
    return machine


def test_nothing_lacks(machine: Machine) -> None:
    done = machine.doctor()
    assert done.exit_code == 0, done.output
    assert "nothing that is needed lacks" in done.output
    assert not machine.state.exists()
    found = machine.checks()
    assert found["prometheus"]["found"] == str(machine.bin / "prometheus")
    assert found["python"]["ok"]
    assert "postgres" not in found  # this catalog has no database


def test_what_lacks_has_its_command_once(machine: Machine) -> None:
    (machine.bin / "prometheus").unlink()
    (machine.bin / "promtool").unlink()
    done = machine.doctor()
    assert done.exit_code == 3
    assert f"prometheus, promtool: {sys.executable} -m opsloop doctor --install" in (
        done.output.replace("sudo ", "")
    )
    check = machine.checks()["prometheus"]
    assert (check["ok"], check["needed"], check["found"]) == (False, True, "not installed")


def test_a_taken_port_is_named_with_its_holder(machine: Machine) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", machine.port))
        server.listen()
        done = machine.doctor()
        check = machine.checks()[f"port {machine.port}"]
        assert done.exit_code == 3
        assert "held by" in check["found"]
        assert "--port-base" in check["fix"]
        # A port that is taken now is nothing that an installation mends.
        installed = machine.doctor("--install")
        assert (installed.exit_code, installed.output) == (
            0,
            "everything that the stack needs is installed\n",
        )


def test_a_state_folder_that_cannot_be_used(machine: Machine) -> None:
    machine.state.write_text("a file")
    check = machine.checks()["state folder"]
    assert (check["ok"], check["needed"]) == (False, True)
    assert "--state" in check["fix"]
    assert machine.doctor().exit_code == 3


def test_a_broken_catalog_is_a_note(machine: Machine) -> None:
    machine.catalog.write_text("apiVersion: opsloop/v1\nnonsense: 1\n")
    found = machine.checks()
    assert found["catalog"]["needed"] is False
    assert found["catalog"]["fix"] == "opsloop check"
    assert found["postgres"]["name"] == "postgres"  # without a catalog: all programs


def test_install_without_apt_says_what_to_do(machine: Machine) -> None:
    (machine.bin / "apt-get").unlink()
    (machine.bin / "prometheus").unlink()
    done = machine.doctor("--install")
    assert done.exit_code == 3
    assert "there is no apt-get" in done.output
