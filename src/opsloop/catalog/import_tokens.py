"""The words of a PromQL query, with its brackets in order."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<window>\{window\})
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    |(?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![a-zA-Z0-9_]))
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<op>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],:@])""",
    re.VERBOSE,
)
_CLOSING = {")": "(", "]": "[", "}": "{"}


class NotPromQL(ValueError):
    """The text cannot be PromQL; the message says where."""


def tokens(text: str) -> list[tuple[str, str]]:
    """(kind, word) of each word; spaces and comments are left out. Raises NotPromQL."""
    found: list[tuple[str, str]] = []
    open_: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotPromQL(f"{text[at : at + 20]!r} is not PromQL")
        at = match.end()
        kind, word = str(match.lastgroup), match.group()
        if kind == "space":
            continue
        if kind == "op" and word in "([{":
            open_.append(word)
        elif kind == "op" and word in _CLOSING and (not open_ or open_.pop() != _CLOSING[word]):
            raise NotPromQL(f"{word!r} closes nothing")
        found.append((kind, word))
    if open_:
        raise NotPromQL(f"{open_[-1]!r} is not closed")
    if not found:
        raise NotPromQL("is empty")
    return found
