"""The error tree: every failure that a person sees is one of these.

OpsloopError                     one sentence: the thing, the reason, the next step
├── InputError                   exit 2: what was given is wrong; a retry cannot help
│   ├── CatalogError             the catalog, with every problem and its place
│   ├── ArgumentError            a command-line argument or environment variable
│   └── BundleError              what was compiled is refused by promtool or amtool
├── MachineError                 exit 3: this machine lacks something
│   ├── MissingBinary            a program that is not installed
│   ├── PortTaken                a port that another process holds
│   └── StateUnusable            a state folder that is read-only, full or foreign
├── StackError                   exit 1: a part of the running stack
│   ├── PartFailed               a part that did not become healthy
│   └── NotRunning               a stack that is not up
├── StoreError                   exit 1: the engine's store refused
│   ├── Conflict                 an invariant held: the row exists, the lock is taken
│   ├── Paused                   the kill switch is on
│   └── StoreUnusable            its file cannot be used (also a StateUnusable: exit 3)
└── SourceError                  exit 1, a retry can help: a server did not answer as it should
    ├── PrometheusError
    ├── AlertmanagerError
    └── DriverError              a step could not be done, or its state is unknown
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in an input.

    file: path as the user gave it; line: 1-based, 0 when unknown; path: field path
    such as ``services.api.targets``; message: what is wrong; hint: what to do.
    """

    file: str
    line: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


class OpsloopError(Exception):
    """The root. `thing` failed for `reason`; `next_step` is what a person does about it."""

    exit_code = 1
    retryable = False

    def __init__(self, thing: str, reason: str, next_step: str = "") -> None:
        self.thing = thing
        self.reason = reason
        self.next_step = next_step
        super().__init__(str(self))

    def __str__(self) -> str:
        sentence = f"{self.thing}: {self.reason}" if self.thing else self.reason
        return f"{sentence}; {self.next_step}" if self.next_step else sentence


class InputError(OpsloopError):
    """What was given is wrong."""

    exit_code = 2


class CatalogError(InputError):
    """The catalog has problems; all of them are in `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        count = len(problems)
        super().__init__("catalog", f"{count} problem{'s' if count != 1 else ''}")

    def __str__(self) -> str:
        return "\n".join(str(p) for p in self.problems)


class ArgumentError(InputError):
    """A command-line argument or an environment variable is wrong."""


class BundleError(InputError):
    """promtool or amtool refuses what was compiled."""


class MachineError(OpsloopError):
    """This machine lacks something."""

    exit_code = 3


class MissingBinary(MachineError):
    """A program is not installed; `next_step` is the exact command that installs it."""


class PortTaken(MachineError):
    """A port is held by another process, which is named."""


class StateUnusable(MachineError):
    """The state folder is read-only, full, or belongs to someone else."""


class StackError(OpsloopError):
    """A part of the running stack is not as it should be."""


class PartFailed(StackError):
    """A part did not become healthy."""


class NotRunning(StackError):
    """The stack is not up."""


class StoreError(OpsloopError):
    """The engine's store refused."""


class Conflict(StoreError):
    """An invariant held: the row exists already, or the lock is taken."""


class Paused(StoreError):
    """The kill switch is on: nothing was started."""


class StoreUnusable(StoreError, StateUnusable):
    """The store's file is read-only, full, damaged or foreign; nothing was written."""


class SourceError(OpsloopError):
    """A server did not answer as it should; trying again can help."""

    retryable = True


class PrometheusError(SourceError):
    """Prometheus did not answer a query."""


class AlertmanagerError(SourceError):
    """Alertmanager did not answer."""


class DriverError(SourceError):
    """A step could not be done; `started` says whether its effect may have begun."""

    def __init__(
        self, thing: str, reason: str, next_step: str = "", *, started: bool = False
    ) -> None:
        super().__init__(thing, reason, next_step)
        self.started = started
