"""Label values that meet matchers, so that tests can make series for selectors of any user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from opsloop.compile.selectors import Matcher

# Values that monitored programs really use, for matchers that only say what is not wanted.
_USUAL = ("200", "500", "404", "2xx", "5xx", "OK", "error", "success", "GET", "0", "1", "x")
_CLASSES = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}


def meeting(matchers: Sequence[Matcher], unlike: Sequence[Matcher] = ()) -> dict[str, str] | None:
    """Labels that meet all `matchers` and, when given, fail one of `unlike`; None: none found.

    A label that need not be there is left out.
    """
    found: dict[str, str] = {}
    for label in sorted({m.label for m in matchers}):
        value = _first([m for m in matchers if m.label == label])
        if value is None:
            return None
        found[label] = value
    if not unlike:
        return {k: v for k, v in found.items() if v}
    for label in sorted({m.label for m in unlike}):
        own = [m for m in matchers if m.label == label]
        value = _first(own, [m for m in unlike if m.label == label])
        if value is not None:
            return {k: v for k, v in (found | {label: value}).items() if v}
    return None


def left_out(matchers: Sequence[Matcher]) -> dict[str, str] | None:
    """Labels that fail one of these, named even when empty; None: there is none to fail."""
    for matcher in matchers:
        value = _first([], [matcher])
        if value is not None:
            return {matcher.label: value}
    return None


def matched(pattern: str, usual: str) -> str | None:
    """A text, `usual` if it will do, that a regular expression matches; None: none found."""
    if fits(pattern, usual):
        return usual
    return _first([Matcher("", "=~", pattern), Matcher("", "!=", "")])


def fits(pattern: str, text: str) -> bool:
    """Whether a regular expression matches a text from end to end."""
    try:
        return re.fullmatch(pattern, text, re.DOTALL) is not None
    except re.error:
        return False


def _first(matchers: Sequence[Matcher], unlike: Sequence[Matcher] = ()) -> str | None:
    """The first value that meets these and, when given, fails one of `unlike`."""
    for value in _candidates((*matchers, *unlike), absent_first=not unlike):
        if not all(_meets(value, m) for m in matchers):
            continue
        if not unlike or any(not _meets(value, m) for m in unlike):
            return value
    return None


def _candidates(matchers: Sequence[Matcher], *, absent_first: bool) -> Iterator[str]:
    for matcher in matchers:
        if matcher.op in ("=", "!="):
            yield matcher.value
        else:
            yield from _Sampler(matcher.value).texts()
    yield from (("", *_USUAL) if absent_first else (*_USUAL, ""))
    yield from (m.value for m in matchers)


def _meets(value: str, matcher: Matcher) -> bool:
    plain = matcher.op in ("=", "!=")
    same = value == matcher.value if plain else fits(matcher.value, value)
    return same == (matcher.op in ("=", "=~"))


class _Sampler:
    """A shortest text for each alternative of a regular expression; wrong ones are sifted out."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def texts(self) -> list[str]:
        return self._alternatives()

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _alternatives(self) -> list[str]:
        found = [self._sequence()]
        while self._peek() == "|":
            self._next()
            found.append(self._sequence())
        return found

    def _sequence(self) -> str:
        text = ""
        while self._peek() not in ("", "|", ")"):
            text += self._quantified(self._atom())
        return text

    def _atom(self) -> str:
        char = self._next()
        if char == "(":
            self._flags()
            inner = self._alternatives()[0]
            self._next()
            return inner
        if char == "[":
            return self._class()
        if char == "\\":
            escaped = self._next()
            return _CLASSES.get(escaped, escaped)
        return {".": "0", "^": "", "$": ""}.get(char, char)

    def _flags(self) -> None:
        if self._peek() == "?":
            while self._peek() not in ("", ":", ")", ">"):
                self._next()
            if self._peek() in (":", ">"):
                self._next()

    def _class(self) -> str:
        negated = self._peek() == "^"
        members = ""
        while (char := self._next()) not in ("", "]") or not members:
            if not char:
                break
            members += _CLASSES.get(self._peek(), self._peek()) if char == "\\" else char
            if char == "\\":
                self._next()
        if negated:
            return next(c for c in "a0-_/ZQ~" if c not in members)
        return members[0] if members else ""

    def _quantified(self, atom: str) -> str:
        char = self._peek()
        if char in ("*", "?", "+"):
            self._next()
            if self._peek() == "?":
                self._next()
            return atom if char == "+" else ""
        if char == "{" and (count := re.match(r"\{(\d+)(,\d*)?\}", self._text[self._at :])):
            self._at += count.end()
            return atom * int(count.group(1))
        return atom
