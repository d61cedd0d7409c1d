"""Selectors of series as text: a metric with matchers, and how PromQL quotes values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from opsloop.errors import InputError

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MATCHER = re.compile(
    r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"""
    r"""("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*"""
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_SHAPE = 'write a metric with matchers, as http_requests_total{code=~"5.."}'


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher; `value` is what the quotes hold, unescaped."""

    label: str
    op: str  # =, !=, =~ or !~
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.op}{quote(self.value)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and its matchers."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """`metric{label="value",...}`; InputError says what is wrong with anything else."""
        rest = text.strip()
        match = _METRIC.match(rest)
        if match is None:
            raise InputError(repr(text), "does not begin with a metric name", _SHAPE)
        rest = rest[match.end() :].strip()
        if not rest:
            return cls(match.group())
        if not (rest.startswith("{") and rest.endswith("}")):
            raise InputError(repr(text), f"{rest!r} follows the metric name", _SHAPE)
        return cls(match.group(), _matchers(text, rest[1:-1]))

    def where(self, *matchers: str, suffix: str = "") -> str:
        """PromQL of this selector with more matchers in front."""
        inside = ",".join((*matchers, *map(str, self.matchers)))
        return f"{self.metric}{suffix}{{{inside}}}"


def _matchers(text: str, body: str) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    rest = body.strip()
    while rest:
        match = _MATCHER.match(rest)
        if match is None:
            raise InputError(repr(text), f"{rest!r} is not a matcher", _SHAPE)
        label, op, literal = match.groups()
        found.append(Matcher(label, op, _unquoted(text, literal)))
        rest = rest[match.end() :]
        if rest and not rest.startswith(","):
            raise InputError(repr(text), f"a comma is missing before {rest!r}", _SHAPE)
        rest = rest[1:].strip()
    return tuple(found)


def _unquoted(text: str, literal: str) -> str:
    inside = literal[1:-1]
    if literal.startswith("`"):
        return inside

    def plain(match: re.Match[str]) -> str:
        if match.group(1) not in _ESCAPES:
            reason = f"{match.group()!r} is no escape of PromQL"
            raise InputError(repr(text), reason, "write two backslashes for one")
        return _ESCAPES[match.group(1)]

    return _ESCAPE.sub(plain, inside)


def one_of(label: str, values: Iterable[str]) -> str:
    """A matcher for any of these values, sorted: `service=~"api|web"`, or `service="api"`."""
    ordered = sorted(set(values))
    if len(ordered) == 1:
        return f"{label}={quote(ordered[0])}"
    return f"{label}=~{quote('|'.join(re.escape(v).replace(chr(92) + '-', '-') for v in ordered))}"


def quote(text: str) -> str:
    """A PromQL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
