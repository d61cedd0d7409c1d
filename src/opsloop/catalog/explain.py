"""Pydantic's errors as findings of ours: a field path, a plain sentence, the nearest known name."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from opsloop.catalog.fieldpath import Path
from opsloop.catalog.model import Catalog

# What a pattern of the models asks for, in words; a test holds that every pattern is here.
PATTERNS = {
    r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$": "a host name in lower-case letters, without a port",
    r"^https?://[^\s/?#]+(/[^\s?#]*)?$": "an address as https://host/path, without ? and #",
    r"^[a-z][a-z0-9-]{0,47}$": "lower-case letters, digits and dashes, a letter first, 48 at most",
    r"^[a-zA-Z_:][a-zA-Z0-9_:]*$": "letters, digits, underscores and colons, no digit first",
    r"^[a-zA-Z_][a-zA-Z0-9_]*$": "letters, digits and underscores, no digit first",
    r"^[A-Za-z0-9.\-\[\]:]+:\d{1,5}$": "host:port, without http:// and without a path",
    r"^([01]\d|2[0-3]):[0-5]\d$": "a time of day as 22:30",
    r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$": "a time of day as 22:30, or 24:00",
    r"^[^\r\n]*$": "one line",
    r"^[A-Za-z0-9_+\-/]{1,64}$": "a time zone as Europe/Berlin",
    r"^[A-Za-z_][A-Za-z0-9_]{0,63}$": "letters, digits and underscores, no digit first, 64 at most",
    r"^[^/\s]+:[^/\s]+(/\S*)?$": "host:port, or host:port/path for one that answers over HTTP",
    r"^[A-Z][A-Za-z0-9]{1,63}$": "letters and digits, a capital first, as QueueStuck",
}


@dataclass(frozen=True, slots=True)
class Finding:
    path: Path
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Located:
    """An error at its field path; `branch` is the member of a union that it comes from."""

    error: ErrorDetails
    path: Path
    union: Path | None
    branch: str
    value: Any  # what stands at `union`


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to `name`, or all of them when they are few."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.65)
    if not near:
        folded = {n.lower().replace("_", "-"): n for n in names}
        twin = folded.get(name.lower().replace("_", "-"))
        near = [twin] if twin else []
    if near:
        return f"did you mean {near[0]!r}?"
    if names and len(names) <= 16:
        return "known here: " + ", ".join(names)
    return ""


def findings(error: ValidationError, data: Any) -> list[Finding]:
    """Each mistake once; of a union's errors only those of the member that was meant."""
    located = [_locate(details, data) for details in error.errors(include_url=False)]
    unions: dict[Path, list[_Located]] = {}
    for item in located:
        if item.union is not None:
            unions.setdefault(item.union, []).append(item)
    result: list[Finding] = []
    for item in located:
        if item.union is None:
            result.append(_finding(item))
        elif item.union in unions:
            members = unions.pop(item.union)
            result += [_finding(m) for m in _meant(members)]
    return list(dict.fromkeys(result))


def _locate(error: ErrorDetails, data: Any) -> _Located:
    """Follow pydantic's loc through the data; parts that are not in it are labels of a union."""
    path: list[str | int] = []
    here: Any = data
    union: Path | None = None
    branch, value = "", None
    loc = error["loc"]
    last = len(loc) - 1
    for i, part in enumerate(loc):
        in_list = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if in_list or (isinstance(here, dict) and part in here):
            here = here[part]
            path.append(part)
        elif i == last and error["type"] == "missing":
            path.append(part)
        elif union is None and part != "[key]" and (i < last or error["type"] != "extra_forbidden"):
            union, branch, value = tuple(path), str(part), here
    return _Located(error, tuple(path), union, branch, value)


def _meant(members: list[_Located]) -> list[_Located]:
    """For a mapping, the model's own errors; for a plain value, the one that explains most."""
    of_model = [m for m in members if m.branch[:1].isupper()]
    if isinstance(members[0].value, dict) and of_model:
        return of_model
    plain = [m for m in members if m not in of_model] or members
    best = [m for m in plain if m.error["type"] == "value_error"] or plain
    return best[:1]


def _finding(item: _Located) -> Finding:
    error = item.error
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        key = str(loc[-1])
        parent = item.path[:-1] if item.path and item.path[-1] == loc[-1] else item.path
        return Finding(item.path, f"unknown key {key!r}", nearest(key, known_keys(parent)))
    if kind == "missing":
        where = "the catalog" if len(item.path) == 1 else "this entry"
        return Finding(item.path, f"{item.path[-1]} is missing", _missing_hint(item.path, where))
    if loc and loc[-1] == "[key]":
        wanted = PATTERNS.get((error.get("ctx") or {}).get("pattern", ""), "another form")
        return Finding(item.path, f"{item.path[-1]!r} is not a name here", f"write {wanted}")
    worder = _WORDS.get(kind)
    if worder is not None:
        message, hint = worder(error)
        return Finding(item.path, message, hint)
    text = error["msg"]
    return Finding(item.path, text[:1].lower() + text[1:])


def _missing_hint(path: Path, where: str) -> str:
    if path == ("apiVersion",):
        return "write apiVersion: opsloop/v1 as the first line"
    return f"add {path[-1]}: to {where}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, default=str) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wanted(what: str) -> Callable[[ErrorDetails], tuple[str, str]]:
    def word(error: ErrorDetails) -> tuple[str, str]:
        value = error.get("input")
        hint = ""
        if what == "text" and isinstance(value, int | float):
            hint = f'put it in quotes: "{json.dumps(value)}"'
        elif value is None:
            hint = "write a value, or remove the key"
        return f"{what} is wanted here, not {_shown(value)}", hint

    return word


def _literal(error: ErrorDetails) -> tuple[str, str]:
    expected = str((error.get("ctx") or {}).get("expected", ""))
    value = error.get("input")
    names = [part.strip("' ") for part in expected.replace(" or ", ", ").split(",")]
    hint = nearest(value, names) if isinstance(value, str) else ""
    message = f"{_shown(value)} is not {'one of ' if len(names) > 1 else ''}{', '.join(names)}"
    return message, hint if hint.startswith("did") else ""


def _bound(words: str, key: str) -> Callable[[ErrorDetails], tuple[str, str]]:
    def word(error: ErrorDetails) -> tuple[str, str]:
        limit = (error.get("ctx") or {}).get(key)
        return f"must be {words} {limit}, not {_shown(error.get('input'))}", ""

    return word


def _pattern(error: ErrorDetails) -> tuple[str, str]:
    pattern = str((error.get("ctx") or {}).get("pattern", ""))
    wanted = PATTERNS.get(pattern, f"what matches {pattern}")
    return f"{_shown(error.get('input'))} does not fit", f"write {wanted}"


def _value(error: ErrorDetails) -> tuple[str, str]:
    message, _, hint = str((error.get("ctx") or {}).get("error", error["msg"])).partition("; ")
    return message, hint


def _too_short(_: ErrorDetails) -> tuple[str, str]:
    return "is empty; at least one is wanted", ""


def _too_long(error: ErrorDetails) -> tuple[str, str]:
    return f"is too long; {(error.get('ctx') or {}).get('max_length')} at most", ""


_WORDS: dict[str, Callable[[ErrorDetails], tuple[str, str]]] = {
    "string_type": _wanted("text"),
    "int_type": _wanted("a whole number"),
    "int_parsing": _wanted("a whole number"),
    "int_from_float": _wanted("a whole number"),
    "bool_type": _wanted("true or false"),
    "bool_parsing": _wanted("true or false"),
    "dict_type": _wanted("a mapping"),
    "model_type": _wanted("a mapping"),
    "model_attributes_type": _wanted("a mapping"),
    "list_type": _wanted("a list"),
    "literal_error": _literal,
    "greater_than_equal": _bound("at least", "ge"),
    "less_than_equal": _bound("at most", "le"),
    "string_pattern_mismatch": _pattern,
    "value_error": _value,
    "too_short": _too_short,
    "string_too_short": _too_short,
    "too_long": _too_long,
    "string_too_long": _too_long,
}


def known_keys(path: Path) -> list[str]:
    """The keys that the model at `path` has, as they are written in the catalog."""
    annotation: Any = Catalog
    for part in path:
        annotation = _step(annotation, part)
    keys: list[str] = []
    for model in _models(annotation):
        keys += [field.alias or name for name, field in model.model_fields.items()]
    return keys


def _step(annotation: Any, part: str | int) -> Any:
    """The type of what stands at key or index `part` of `annotation`."""
    for model in _models(annotation):
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                return field.annotation
    for member in _members(annotation):
        origin, arguments = typing.get_origin(member), typing.get_args(member)
        if origin is dict:
            return arguments[1]
        if origin is list and isinstance(part, int):
            return arguments[0]
    return None


def _members(annotation: Any) -> list[Any]:
    """A union's members, without Annotated around them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [m for a in typing.get_args(annotation) for m in _members(a)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
