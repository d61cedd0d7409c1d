"""What an import carries over, what it changes and what it leaves out, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsloop.catalog.slo import SLO
from opsloop.errors import Problem


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was written: file as given, line (1-based), field path in its document."""

    file: str
    line: int
    path: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class NotCarried:
    """Something of the input that the catalog does not say. `instead` is what a person can do."""

    file: str
    line: int
    path: str
    what: str
    why: str
    instead: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: {self.path}" if self.path else f"{self.file}:{self.line}"
        return f"{place}: {self.what}: {self.why}" + (f" ({self.instead})" if self.instead else "")


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that the catalog says in another way than the input."""

    file: str
    line: int
    path: str
    was: str
    now: str
    why: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: {self.path}" if self.path else f"{self.file}:{self.line}"
        return f"{place}: {self.was} became {self.now}: {self.why}"


@dataclass(frozen=True, slots=True)
class Measured:
    """An SLI as the catalog writes it. why: empty where every event is counted exactly."""

    sli: Mapping[str, Any]
    why: str = ""

    @property
    def exact(self) -> bool:
        return not self.why


@dataclass(slots=True)
class DraftSLO:
    """One objective on its way into the catalog; `name` is still the input's."""

    name: str
    origin: Origin
    objective: str
    window: str
    measured: Measured
    description: str = ""
    alerting: dict[str, Any] = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """The entry as plain values, in the order in which it is written."""
        entry: dict[str, Any] = {"objective": self.objective, "window": self.window}
        if self.description:
            entry["description"] = self.description
        entry["sli"] = dict(self.measured.sli)
        if self.alerting:
            entry["alerting"] = self.alerting
        return entry


@dataclass(slots=True)
class DraftService:
    """One service on its way into the catalog; unset fields were not named by the input."""

    name: str
    origin: Origin
    team: str | None = None
    tier: int | None = None
    description: str = ""
    runbook: str | None = None
    slos: list[DraftSLO] = field(default_factory=list)


class Book:
    """All that the readers of one import find, whatever the format."""

    def __init__(self) -> None:
        self.services: dict[str, DraftService] = {}  # by the input's own name
        self.problems: list[Problem] = []
        self.not_carried: list[NotCarried] = []
        self.changed: list[Changed] = []
        self._slos: dict[tuple[str, str], DraftSLO] = {}

    def problem(self, at: Origin, message: str, hint: str = "") -> None:
        """The input is wrong here: nothing will be written."""
        self.problems.append(Problem(at.file, at.line, at.path, message, hint))

    def leave(self, at: Origin, what: str, why: str, instead: str = "") -> None:
        """Something is right but has no place in the catalog."""
        self.not_carried.append(NotCarried(at.file, at.line, at.path, what, why, instead))

    def change(self, at: Origin, was: str, now: str, why: str) -> None:
        self.changed.append(Changed(at.file, at.line, at.path, was, now, why))

    def service(self, name: str, at: Origin) -> DraftService:
        """The service of this name; documents that name the same one share it."""
        return self.services.setdefault(name, DraftService(name, at))

    def add(self, service: DraftService, slo: DraftSLO) -> None:
        """Put an objective into its service; the same name twice is a mistake of the input."""
        first = self._slos.setdefault((service.name, slo.name), slo)
        if first is slo:
            service.slos.append(slo)
        else:
            message = f"SLO {slo.name!r} of {service.name!r} is here twice, first in {first.origin}"
            self.problem(slo.origin, message, "rename one of them, or give its file alone")


@dataclass(frozen=True, slots=True)
class CarriedSLO:
    """One objective of the result, under its catalog names."""

    service: str
    name: str
    origin: Origin
    value: SLO
    why: str  # empty where every event is counted exactly

    @property
    def exact(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Imported:
    """A catalog text that passes `opsloop check`, and everything that a person should know."""

    text: str
    slos: tuple[CarriedSLO, ...]
    not_carried: tuple[NotCarried, ...]
    changed: tuple[Changed, ...]
