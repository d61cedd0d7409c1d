"""Plain values to YAML text: one fixed form, so that equal values are equal bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"(?:\.\./)*[A-Za-z_/][A-Za-z0-9_./-]*|(?:\d+(?:ms|[smhdwy]))+")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


def dump(value: Mapping[str, Any], comment: str = "") -> str:
    """YAML of mappings, sequences, text, numbers and booleans, in their given order.

    Text of several lines becomes a literal block; other text that is not a plain word is quoted
    as JSON, which YAML reads too. Raises TypeError for any other type.
    """
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return head + "\n".join(_lines(value, "")) + "\n"


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        return [line for k, v in value.items() for line in _entry(f"{_scalar(k)}:", v, indent)]
    return [line for item in value for line in _item(item, indent)]


def _entry(key: str, value: Any, indent: str) -> list[str]:
    if _is_block(value):
        return [f"{indent}{key} |-", *_block(value, indent + "  ")]
    if _nested(value):
        return [f"{indent}{key}", *_lines(value, indent + "  ")]
    return [f"{indent}{key} {_scalar(value)}"]


def _item(value: Any, indent: str) -> list[str]:
    if _is_block(value):
        return [f"{indent}- |-", *_block(value, indent + "  ")]
    if _nested(value):
        first, *rest = _lines(value, indent + "  ")
        return [f"{indent}- {first.lstrip()}", *rest]
    return [f"{indent}- {_scalar(value)}"]


def _is_block(value: Any) -> bool:
    # A leading blank would set the block's indentation, so it is kept out of literal form.
    if not isinstance(value, str) or "\n" not in value or value != value.strip():
        return False
    return all(c.isprintable() for c in value.replace("\n", ""))


def _block(text: str, indent: str) -> list[str]:
    return [f"{indent}{line}" if line else "" for line in text.split("\n")]


def _nested(value: Any) -> bool:
    if isinstance(value, (str, int, float)):  # as most are; checks of the others are slow
        return False
    return isinstance(value, (Mapping, Sequence)) and bool(value)


def _quoted(text: str) -> str:
    if '"' in text and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    # JSON leaves some characters raw that YAML does not allow, and escapes others in pairs.
    raw = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in raw)


def _scalar(value: Any) -> str:
    if isinstance(value, str):  # as most are
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        text = repr(value)
        # YAML 1.1 takes an exponent without a point for text.
        return text if "." in text else text.replace("e", ".0e")
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, Sequence):
        return "[]"
    raise TypeError(f"{type(value).__name__} has no YAML form here")
