"""Whether one selector is surely not a part of another: what it counts that the other does not."""

from __future__ import annotations

import re

from opsloop.catalog.selector import Matcher, Selector

_PLAIN = re.compile(r"[^\\.+*?()\[\]{}|^$]+")


def outside(part: Selector, total: Selector) -> Matcher | None:
    """The matcher of `total` that keeps out something which `part` counts; None: none is seen.

    Both are of one metric. Patterns are compared by the texts that they list, so an answer is
    sure, and None is no proof.
    """
    for matcher in total.matchers:
        mine = [m for m in part.matchers if m.label == matcher.label]
        if matcher not in mine and _lets_through(mine, matcher):
            return matcher
    return None


def _lets_through(mine: list[Matcher], wanted: Matcher) -> bool:
    """Whether matchers of one label surely meet a value that `wanted` does not."""
    candidates = {text for m in mine for text in _listed(m)}
    if not mine:
        # Everything is met: what `wanted` names as unwanted, or any text that it does not.
        candidates = {"", "a", "0", *_listed(wanted)}
    return any(
        all(_meets(text, m) for m in mine) and not _meets(text, wanted) for text in candidates
    )


def _listed(matcher: Matcher) -> set[str]:
    """The texts that a matcher names."""
    if matcher.op in ("=", "!="):
        return {matcher.value}
    parts = matcher.value.split("|")
    return set(parts) if all(_PLAIN.fullmatch(p) or not p for p in parts) else set()


def _meets(text: str, matcher: Matcher) -> bool:
    if matcher.op in ("=", "!="):
        same = matcher.value == text
    else:
        try:
            same = re.fullmatch(matcher.value, text) is not None
        except re.error:
            return True  # promtool says what is wrong with it
    return same == (matcher.op in ("=", "=~"))
