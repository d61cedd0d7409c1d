"""Small checkers of JSON: a value and its path in, sentences about what is wrong out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[str, Any], list[str]]
"""(path, value) -> what is wrong, as sentences that begin with the path; empty when right."""

_TS = re.compile(r"\d+(\.\d+)?")


def text(low: int = 0, high: int = 40_000) -> Check:
    """A string of `low` to `high` characters."""

    def check(path: str, value: Any) -> list[str]:
        if not isinstance(value, str):
            return [f"{path}: must be a string"]
        if len(value) < low:
            return [f"{path}: must not be empty"]
        if len(value) > high:
            return [f"{path}: is longer than {high} characters"]
        return []

    return check


def pattern(regex: re.Pattern[str], wanted: str) -> Check:
    def check(path: str, value: Any) -> list[str]:
        ok = isinstance(value, str) and regex.fullmatch(value)
        return [] if ok else [f"{path}: must be {wanted}"]

    return check


def one_of(*values: str) -> Check:
    def check(path: str, value: Any) -> list[str]:
        ok = isinstance(value, str) and value in values
        return [] if ok else [f"{path}: must be one of {', '.join(values)}"]

    return check


def boolean(path: str, value: Any) -> list[str]:
    return [] if isinstance(value, bool) else [f"{path}: must be true or false"]


def count(path: str, value: Any) -> list[str]:
    ok = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return [] if ok else [f"{path}: must be a whole number"]


def mapping(path: str, value: Any) -> list[str]:
    return [] if isinstance(value, dict) else [f"{path}: must be an object"]


def string_map(path: str, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: must be an object"]
    return [f"{path}.{k}: must be a string" for k, v in value.items() if not isinstance(v, str)]


def url(schemes: tuple[str, ...] = ("http", "https"), high: int = 3000) -> Check:
    def check(path: str, value: Any) -> list[str]:
        if not isinstance(value, str) or len(value) > high:
            return [f"{path}: must be an address of at most {high} characters"]
        scheme, separator, rest = value.partition("://")
        if not separator or not rest or scheme.lower() not in schemes:
            return [f"{path}: must begin with {' or '.join(s + '://' for s in schemes)}"]
        return []

    return check


def moment(path: str, value: Any) -> list[str]:
    """ISO 8601 with a time zone."""
    try:
        aware = datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        aware = False
    return [] if aware else [f"{path}: must be a time in ISO 8601 with its zone"]


def unix_time(path: str, value: Any) -> list[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    ok = number or (isinstance(value, str) and _TS.fullmatch(value))
    return [] if ok else [f"{path}: must be a unix time"]


def list_of(item: Check, high: int, low: int = 0) -> Check:
    def check(path: str, value: Any) -> list[str]:
        if not isinstance(value, list):
            return [f"{path}: must be a list"]
        if not low <= len(value) <= high:
            return [f"{path}: must have {low} to {high} items, not {len(value)}"]
        return [e for n, v in enumerate(value) for e in item(f"{path}[{n}]", v)]

    return check


def shape(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """An object with these fields, unknown ones refused."""

    def check(path: str, value: Any) -> list[str]:
        if not isinstance(value, dict):
            return [f"{path or 'body'}: must be an object"]
        at = f"{path}." if path else ""
        found = [f"{at}{k}: is required" for k in required if k not in value]
        for key, part in value.items():
            known = fields.get(key)
            if known is None:
                found.append(f"{at}{key}: is not a documented field")
            else:
                found += known(f"{at}{key}", part)
        return found

    return check
