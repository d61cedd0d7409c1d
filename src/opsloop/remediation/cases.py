"""Case files: a situation in JSON with what has to be decided in it, readable by operators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opsloop.catalog.facts import EngineInput
from opsloop.errors import InputError
from opsloop.remediation.decide import Decision
from opsloop.remediation.ladder import describe
from opsloop.remediation.replay import FROM_CATALOG, today
from opsloop.remediation.situation import Situation

_EXPECTED: Final = frozenset(
    {"kind", "reason", "stopped_by", "guards", "plan", "due_at", "attempt", "escalates"}
)


@dataclass(frozen=True, slots=True)
class Case:
    """A situation and what is expected of the decision.

    expected: kind; and where given reason (a part of it), stopped_by (the guard), guards
    (answers by guard), plan (in words, null for none), due_at, attempt, escalates.
    """

    name: str
    situation: Situation
    expected: Mapping[str, Any]


def parse_case(
    file: str,
    text: str,
    bases: Mapping[str, Mapping[str, Any]],
    given: EngineInput | None = None,
) -> Case:
    """Read a case: `base` names a whole situation, of which `situation` changes parts.

    Objects are merged, everything else is replaced. With `given`, a case that names no policy
    has it, and all else that a catalog says, from there. Raises InputError that names the file.
    """
    try:
        raw = json.loads(text)
        base = bases[raw["base"]] if "base" in raw else {}
        parts = merged(base, raw.get("situation", {}))
        if given is not None and "policy" not in parts:
            situation = today(Situation.from_mapping({**FROM_CATALOG, **parts}), given)
        else:
            situation = Situation.from_mapping(parts)
        expected = dict(raw["expect"])
        unknown = expected.keys() - _EXPECTED
        if unknown or "kind" not in expected:
            raise ValueError(f"expect has {sorted(unknown) or 'no kind'}")
        return Case(str(raw["name"]), situation, expected)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(file, f"is no case: {error}", "start from one of tests/cases") from error


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`: objects merge key by key, all else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def differences(case: Case, decision: Decision) -> list[str]:
    """What of the decision is not as expected, one sentence each; empty when all is."""
    expected, found = case.expected, []
    actual: dict[str, Any] = {
        "kind": decision.kind,
        "stopped_by": decision.stopped_by,
        "plan": None if decision.plan is None else describe(decision.plan),
        "due_at": decision.due_at,
        "attempt": decision.attempt,
        "escalates": decision.escalates,
    }
    found += [
        f"{key} is {actual[key]!r}, expected {expected[key]!r} ({decision.reason})"
        for key in actual
        if key in expected and actual[key] != expected[key]
    ]
    if expected.get("reason", "") not in decision.reason:
        found.append(f"reason is {decision.reason!r}, expected {expected['reason']!r} in it")
    answers = {a.guard: a.answer for a in decision.guards}
    found += [
        f"guard {guard} says {answers.get(guard, 'nothing')}, expected {answer}"
        for guard, answer in expected.get("guards", {}).items()
        if answers.get(guard) != answer
    ]
    return found
