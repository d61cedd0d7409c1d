"""What a guard may answer: pass, refuse, wait or ignore, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pass:
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """No action, and people are told, unless `pages` is False."""

    reason: str
    pages: bool = True


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now; ask again at `until` (unix seconds)."""

    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing for the loop to do."""

    reason: str


Answer = Pass | Refuse | Wait | Ignore
