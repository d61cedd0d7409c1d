"""Playbooks run for real on this machine: the contract, and what ansible is told."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from opsloop.drivers import ansible, command
from opsloop.drivers.ansible import PlaybookDriver
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, Work
from tests.drivers.driver_contract import DriverContract
from tests.support.wait import wait_until

LIMIT_S = 120.0
HERE = "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
needs_ansible = pytest.mark.skipif(
    importlib.util.find_spec("ansible_runner") is None,
    reason="ansible-runner is not installed (extra `ansible`)",
)


def task(module: str, **values: object) -> str:
    return f"    - {module}: {json.dumps(values)}\n"


class PlaybookRig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "state").mkdir()
        self.driver = PlaybookDriver(Words(folder / "state", folder, {}))

    def playbook(self, name: str, *tasks: str) -> Action:
        (self.folder / f"{name}.yml").write_text(HERE + "".join(tasks))
        work = Work(id=f"id-{name}", command=(f"{name}.yml",))
        return Action("playbook", "api", "api", limit_s=LIMIT_S, idempotent=False, work=work)

    def good(self) -> Action:
        done = self.folder / "done"
        return self.playbook("good", task("shell", cmd=f"echo x >> {done}"))

    def bad(self) -> Action:
        return self.playbook("bad", task("fail", msg="no such luck"))

    def slow(self) -> Action:
        pid = self.folder / "pid"
        action = self.playbook("slow", task("shell", cmd=f"echo $$ > {pid}; exec sleep 600"))
        return replace(action, limit_s=8.0)

    def impossible(self) -> Action:
        return replace(self.good(), work=Work(command=("nowhere.yml",)))

    def effects(self) -> int:
        done = self.folder / "done"
        return len(done.read_text().splitlines()) if done.exists() else 0

    def quiet(self) -> bool:
        pid = self.folder / "pid"
        if not pid.exists():
            return True
        try:
            stat = Path(f"/proc/{pid.read_text().strip()}/stat").read_text()
        except OSError:
            return True
        return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def rig(tmp_path: Path) -> PlaybookRig:
    return PlaybookRig(tmp_path)


@needs_ansible
@pytest.mark.full
class TestPlaybook(DriverContract):
    pass


@needs_ansible
def test_a_playbook_acts_and_knows_the_alert_as_text(rig: PlaybookRig) -> None:
    said = rig.folder / "said"
    action = rig.playbook(
        "tell",
        task(
            "copy", dest=str(said), content="{{ opsloop_alert }} {{ mode }} {{ opsloop_action_id }}"
        ),
    )
    assert action.work is not None
    evil = "{{ lookup('pipe', 'touch owned') }}"
    work = replace(
        action.work, values=(("OPSLOOP_ALERT", "DiskFull"),), environment=(("mode", evil),)
    )
    result = rig.driver.perform(replace(action, work=work), 1)
    assert result.ok, result.output
    assert said.read_text() == f"DiskFull {evil} id-tell"
    assert not (rig.folder / "owned").exists()
    wait_until(lambda: not list((rig.folder / "state").rglob("[0-9]*")), "no record is left")


@needs_ansible
def test_a_task_that_fails_is_a_failure_that_says_why(rig: PlaybookRig) -> None:
    result = rig.driver.perform(rig.bad(), 1)
    assert (result.ok, result.started) == (False, True)
    assert "no such luck" in result.output


ENGINE = """
import sys
from pathlib import Path
from opsloop.drivers.ansible import PlaybookDriver
from opsloop.drivers.words import Words
from opsloop.remediation.plan import Action, Work
folder = Path(sys.argv[1])
driver = PlaybookDriver(Words(folder / "state", folder, {}))
work = Work(id="x", command=("slow.yml",))
driver.perform(Action("playbook", "api", "api", limit_s=600, work=work), 1)
"""


@needs_ansible
@pytest.mark.full
def test_what_a_playbook_left_when_the_engine_died_is_ended_and_a_service_lives(
    rig: PlaybookRig,
) -> None:
    """Workers have a session of their own, as a service has that the playbook started."""
    service, slow = rig.folder / "service", rig.folder / "pid"
    start = f"setsid -f sh -c 'echo $$ > {service}; exec sleep 600' < /dev/null > /dev/null 2>&1"
    rig.playbook(
        "slow",
        task("shell", cmd=start),
        task("shell", cmd=f"echo $$ > {slow}; exec sleep 600"),
    )
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(rig.folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_until(lambda: slow.exists() and slow.read_text().strip(), "its slow task runs", 120)
        engine.kill()
        engine.wait(30)
        found = command.sweep(rig.folder / "state")
        assert int(slow.read_text()) in found
        assert rig.quiet()
        assert os.getsid(int(service.read_text())) == int(service.read_text())
        assert int(service.read_text()) not in found
        assert command.sweep(rig.folder / "state") == []
    finally:
        engine.kill()
        engine.wait(30)
        for file in (service, slow):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def test_without_ansible_it_says_how_to_get_it(
    rig: PlaybookRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ansible, "_playbook_program", lambda: Path(sys.prefix) / "nowhere")
    with pytest.raises(DriverError, match=r"ansible is not installed; pip install") as caught:
        rig.driver.perform(rig.good(), 1)
    assert not caught.value.started
    assert rig.effects() == 0
