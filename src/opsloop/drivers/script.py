"""Scripts, certificate renewals and backups: a command of the catalog, its exit status the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from opsloop.drivers import command
from opsloop.drivers.command import Ended
from opsloop.drivers.fence import Fence
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, Work
from opsloop.remediation.ports import StepResult

ACTION_ID: Final = "OPSLOOP_ACTION_ID"


class ScriptDriver:
    """Runs `work.command` as it is in the catalog, in the catalog's folder.

    What of the alert it may know comes as environment (OPSLOOP_...) and as JSON on stdin. A
    backup goes through `opsloop backup-run`, which leaves its result as metrics.
    """

    def __init__(self, words: Words, *, term_wait_s: float = command.TERM_WAIT_S) -> None:
        self._words = words
        self._term_wait_s = term_wait_s
        self._fence = Fence()

    def perform(self, action: Action, token: int) -> StepResult:
        """Raises DriverError: `started` when its time was over before it had ended."""
        self._fence.check(action.target, token)
        work = action.work
        if work is None or not work.command:
            raise DriverError(action.target, f"there is no command to {action.kind} it with")
        argv = [self._words.put(word) for word in work.command]
        if action.kind == "backup":
            argv = [*self._backup_run(action.target), *argv]
        ended = command.run(
            argv,
            environment={
                **values_of(work),
                **{name: self._words.put(value) for name, value in work.environment},
            },
            document=document_of(work),
            folder=self._words.catalog_dir,
            limit_s=action.limit_s,
            state=self._words.state,
            term_wait_s=self._term_wait_s,
        )
        return result_of(ended, action)

    def _backup_run(self, target: str) -> list[str]:
        name = target.rpartition("/")[2]
        state = str(self._words.state)
        return [
            self._words.python, "-m", "opsloop", "backup-run", name, "--state", state, "--"
        ]  # fmt: skip


def values_of(work: Work) -> Mapping[str, str]:
    """The alert's values and the action's id as environment variables."""
    return {**dict(work.values), ACTION_ID: work.id}


def document_of(work: Work) -> bytes:
    """The same as JSON, for stdin."""
    return json.dumps({**dict(work.values), ACTION_ID: work.id}, sort_keys=True).encode() + b"\n"


def result_of(ended: Ended, action: Action) -> StepResult:
    """Exit status 0 is success. One that had to be ended leaves it unknown: DriverError."""
    if ended.timed_out:
        said = f": {ended.output[-400:]}" if ended.output else ""
        raise DriverError(
            action.target,
            f"the {action.kind} did not end within {action.limit_s:g} s and was ended{said}",
            "give its step a longer timeout",
            started=True,
        )
    how = f"exit status {ended.code}" if ended.code >= 0 else f"ended by signal {-ended.code}"
    head = f"{how} after {ended.took_s:.1f} s"
    output = f"{head}\n{ended.output}" if ended.output else head
    return StepResult(ok=ended.code == 0, started=True, output=output)
