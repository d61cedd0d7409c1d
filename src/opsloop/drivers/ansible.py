"""Playbooks through ansible-runner, in a process of their own with the limits of any command."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from opsloop.drivers import command
from opsloop.drivers.fence import Fence
from opsloop.drivers.script import result_of, values_of
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, Work
from opsloop.remediation.ports import StepResult

INSTALL: Final = "pip install 'opsloop[ansible]'"
_HERE: Final = f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n"


class PlaybookDriver:
    """Runs `work.command[0]`, a playbook, on this machine or, where the catalog's folder has an
    `inventory` beside it, on the hosts that the playbook names.

    Variables of the step and the values of the alert (lower case) are its extra variables: data
    for ansible, which are never templates of ours.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._fence = Fence()

    def perform(self, action: Action, token: int) -> StepResult:
        """Raises DriverError: not started where ansible is not installed."""
        self._fence.check(action.target, token)
        if importlib.util.find_spec("ansible_runner") is None or not _playbook_program().exists():
            raise DriverError("playbook", "ansible is not installed", INSTALL)
        work = action.work
        if work is None or not work.command:
            raise DriverError(action.target, "there is no playbook to run")
        playbook = self._words.path(work.command[0])
        if not playbook.is_file():
            raise DriverError(str(playbook), "there is no such playbook", "see `opsloop check`")
        with tempfile.TemporaryDirectory(prefix="opsloop-playbook-") as name:
            folder = Path(name)
            self._prepare(folder, work)
            ended = command.run(
                [
                    self._words.python, "-m", "ansible_runner", "run", str(folder),
                    "-p", str(playbook), "--ident", work.id or "run", "--omit-event-data",
                ],
                environment={
                    **values_of(work),
                    "PATH": f"{_playbook_program().parent}{os.pathsep}{os.environ.get('PATH', '')}",
                    "ANSIBLE_NOCOLOR": "1",
                    "ANSIBLE_LOCALHOST_WARNING": "False",
                    "ANSIBLE_DEPRECATION_WARNINGS": "False",
                    "ANSIBLE_HOME": str(folder / "home"),
                },
                document=b"",
                folder=self._words.catalog_dir,
                limit_s=action.limit_s,
                state=self._words.state,
                leavers="ansible-playbook",
            )  # fmt: skip
        return result_of(ended, action)

    def _prepare(self, folder: Path, work: Work) -> None:
        variables = {name.lower(): _unsafe(value) for name, value in values_of(work).items()}
        variables |= {name: _unsafe(self._words.put(value)) for name, value in work.environment}
        (folder / "env").mkdir()
        (folder / "project").mkdir()
        (folder / "env" / "extravars").write_text(_yaml(variables))
        own = self._words.catalog_dir / "inventory"
        if own.exists():
            (folder / "inventory").symlink_to(own.resolve())
        else:
            (folder / "inventory").mkdir()
            (folder / "inventory" / "hosts").write_text(_HERE)


def _playbook_program() -> Path:
    return Path(sys.executable).parent / "ansible-playbook"


def _unsafe(value: str) -> str:
    return f"!unsafe {json.dumps(value)}"


def _yaml(variables: dict[str, str]) -> str:
    """Each value tagged so that ansible takes it for text and never for a template."""
    return "".join(f"{name}: {value}\n" for name, value in sorted(variables.items())) or "{}\n"
