"""Plain data to the models; pydantic's findings in plain words, and what is left without them."""

from __future__ import annotations

import copy
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from opsloop.catalog import explain
from opsloop.catalog.fieldpath import Path, related
from opsloop.catalog.model import Catalog
from opsloop.catalog.places import Places
from opsloop.errors import Problem

_ROUNDS = 12  # a broken field takes its parent away at most this often


@dataclass(frozen=True, slots=True)
class Outcome:
    """catalog: without what is broken, None when nothing can be made of it.

    declared: section -> every name written there, broken or not. broken: paths with a problem.
    """

    catalog: Catalog | None
    problems: list[Problem]
    declared: dict[str, frozenset[str]]
    broken: frozenset[Path]


def validate(data: dict[str, Any], places: Places, refused: AbstractSet[Path]) -> Outcome:
    """Make a Catalog of `data`; `refused` paths have a problem already and are left out."""
    declared = {
        section: frozenset(entries)
        for section, entries in data.items()
        if isinstance(entries, dict)
    }
    try:
        if not refused:
            return Outcome(Catalog.model_validate(data), [], declared, frozenset())
        errors = _errors(data)
    except ValidationError as error:
        errors = explain.findings(error, data)
    findings = [f for f in errors if not any(related(f.path, path) for path in refused)]
    problems = [places.problem(f.path, f.message, f.hint) for f in findings]
    broken = {f.path for f in findings} | set(refused)
    return Outcome(_without(data, broken), problems, declared, frozenset(broken))


def _errors(data: dict[str, Any]) -> list[explain.Finding]:
    try:
        Catalog.model_validate(data)
    except ValidationError as error:
        return explain.findings(error, data)
    return []


def _without(data: dict[str, Any], broken: AbstractSet[Path]) -> Catalog | None:
    """The catalog that is left when broken fields, or else what holds them, are taken out."""
    data = copy.deepcopy(data)
    data["apiVersion"] = "opsloop/v1"
    doomed = set(broken)
    gone: set[Path] = set()
    for _ in range(_ROUNDS):
        for path in doomed:
            while path in gone or not _remove(data, path):
                if len(path) <= 1:
                    break
                path = path[:-1]
            gone.add(path)
        try:
            return Catalog.model_validate(data)
        except ValidationError as error:
            doomed = {f.path for f in explain.findings(error, data)}
    return None


def _remove(data: dict[str, Any], path: Path) -> bool:
    """Take out what is at `path`; an item of a list takes the list along, since indexes move."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    here: Any = data
    for part in path[:-1]:
        in_list = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if not in_list and not (isinstance(here, dict) and part in here):
            return False
        here = here[part]
    if path and isinstance(here, dict) and path[-1] in here:
        del here[path[-1]]
        return True
    return False
