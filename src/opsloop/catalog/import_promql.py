"""Which queries are counters in disguise: the shapes that can be proven, and why another is not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from opsloop.catalog.import_tokens import tokens
from opsloop.catalog.imported import Measured

_ESCAPES = re.compile(r"(?:[^\\\n]|\\[ntr\\\"'])*")


class Unproven(Exception):
    """Why a query may be more than counters."""


@dataclass(frozen=True, slots=True)
class _Selector:
    """A metric with matchers; equal when it selects the same, in whatever order."""

    metric: str
    matchers: frozenset[str]
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Part:
    """Counters that are added up, each so many times."""

    counts: tuple[tuple[_Selector, int], ...]
    or_zero: bool = False

    def plus(self, other: _Part, sign: int) -> _Part:
        counts = dict(self.counts)
        for selector, times in other.counts:
            counts[selector] = counts.get(selector, 0) + sign * times
        return _Part(tuple((s, n) for s, n in counts.items() if n))


@dataclass(frozen=True, slots=True)
class _Share:
    """A part of all, or (when `complement`) what is left of 1."""

    above: _Part
    below: _Part
    complement: bool = False


def events(failed: _Part, every: _Part) -> Measured:
    total = _one(every)
    counts = dict(failed.counts)
    minus = [s for s, n in counts.items() if n == -1]
    if len(counts) == 2 and counts.get(total) == 1 and len(minus) == 1:
        return _written(total, good=minus[0])
    return _written(total, errors=_one(failed))


def good_of(good: _Part, every: _Part) -> Measured:
    total = _one(every)
    counts = dict(good.counts)
    minus = [s for s, n in counts.items() if n == -1]
    if len(counts) == 2 and counts.get(total) == 1 and len(minus) == 1:
        return _written(total, errors=minus[0])
    return _written(total, good=_one(good))


def _one(part: _Part) -> _Selector:
    if len(part.counts) == 1 and part.counts[0][1] == 1:
        return part.counts[0][0]
    raise Unproven("more than one counter is added up")


def _written(
    total: _Selector, *, errors: _Selector | None = None, good: _Selector | None = None
) -> Measured:
    sli: dict[str, Any] = {"total": total.text}
    if errors is not None:
        sli["errors"] = errors.text
    if good is not None:
        sli["good"] = good.text
    return Measured({"events": {**sli, "series": "all"}})


def selector_text(query: str) -> str:
    """`query` when it is one metric with matchers. Raises Unproven when it is more."""
    parser = _Parser(tokens(query), Proof(True))
    selector = parser.selector()
    parser.end()
    return selector.text


class Proof:
    """What the queries of one SLI have in common: one function and one range."""

    def __init__(self, counters: bool) -> None:
        self.counters = counters
        self._seen: tuple[str, str] | None = None

    def linear(self, query: str) -> _Part:
        found = self._parsed(query)
        if isinstance(found, _Part):
            return found
        raise Unproven("it is not a sum of counters")

    def ratio(self, query: str, success: bool) -> Measured:
        found = self._parsed(query)
        if not isinstance(found, _Share):
            raise Unproven("it is not one sum of counters divided by another")
        good = success != found.complement
        return (good_of if good else events)(found.above, found.below)

    def same(self, function: str, window: str) -> None:
        self._seen = self._seen or (function, window)
        if self._seen != (function, window):
            raise Unproven("its parts use different functions or ranges")

    def _parsed(self, query: str) -> _Part | _Share | int:
        parser = _Parser(tokens(query), self)
        found = parser.alternatives()
        parser.end()
        return found


class _Parser:
    """A recursive descent over the few shapes that are proven; anything else is Unproven."""

    def __init__(self, tokens: list[tuple[str, str]], proof: Proof) -> None:
        self._tokens, self._at, self._proof, self._depth = tokens, 0, proof, 0

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "its end")

    def _take(self, *words: str) -> str:
        kind, word = self._peek()
        if kind in ("op", "name", "window") and word in words:
            self._at += 1
            return word
        return ""

    def _want(self, *words: str) -> str:
        return self._take(*words) or self._refuse()

    def _refuse(self) -> str:
        kind, word = self._peek()
        if word in ("by", "without"):
            raise Unproven(f"it is grouped with {word}")
        raise Unproven(
            f"{word!r} is no part of a sum of rates" if kind != "end" else "it is cut off"
        )

    def end(self) -> None:
        if self._peek()[0] != "end":
            self._refuse()

    def alternatives(self) -> _Part | _Share | int:
        left = self._sum()
        while self._take("or"):
            if self._take("on"):
                self._want("(")
                self._want(")")
            self._want("vector")
            self._want("(")
            if self._peek()[1] != "0":
                self._refuse()
            self._at += 1
            self._want(")")
            # For one counter "none" and 0 are the same; for a difference they are not.
            if not isinstance(left, _Part) or len(left.counts) != 1:
                raise Unproven("`or vector(0)` stands behind more than one counter")
        return left

    def _sum(self) -> _Part | _Share | int:
        left = self._quotient()
        while sign := self._take("+", "-"):
            right = self._quotient()
            if isinstance(left, _Part) and isinstance(right, _Part):
                left = left.plus(right, 1 if sign == "+" else -1)
            elif left == 1 and sign == "-" and isinstance(right, _Share):
                left = _Share(right.above, right.below, not right.complement)
            else:
                raise Unproven("it adds what are not counters")
        return left

    def _quotient(self) -> _Part | _Share | int:
        left = self._operand()
        while self._take("/"):
            right = self._operand()
            if not isinstance(left, _Part) or not isinstance(right, _Part):
                raise Unproven("it divides what are not counters")
            left = _Share(left, right)
        return left

    def _operand(self) -> _Part | _Share | int:
        kind, word = self._peek()
        if kind == "op" and word == "(":
            self._depth += 1
            if self._depth > 50:
                raise Unproven("it is nested too deeply")
            self._at += 1
            inner = self.alternatives()
            self._want(")")
            self._depth -= 1
            return inner
        if kind == "number" and word == "1":
            self._at += 1
            return 1
        if kind == "name" and word == "sum":
            return self._counter()
        following = self._tokens[self._at + 1][1] if self._at + 1 < len(self._tokens) else ""
        if kind == "name" and following != "(" and self._proof.counters:
            self._proof.same("", "")
            return _Part(((self.selector(), 1),))
        if word in ("rate", "increase"):
            raise Unproven(f"there is no sum around {word}")
        self._refuse()
        return 0

    def _counter(self) -> _Part:
        self._want("sum")
        self._want("(")
        function = self._take("rate", "increase")
        if not function and not self._proof.counters:
            self._refuse()
        if function:
            self._want("(")
        selector = self.selector()
        window = ""
        if function:
            self._want("[")
            window = self._peek()[1]
            if self._peek()[0] not in ("window", "duration"):
                self._refuse()
            self._at += 1
            self._want("]")
            self._want(")")
        self._want(")")
        if self._peek()[1] in ("by", "without"):
            self._refuse()
        self._proof.same(function, window)
        return _Part(((selector, 1),))

    def selector(self) -> _Selector:
        kind, metric = self._peek()
        if kind != "name":
            self._refuse()
        self._at += 1
        if self._peek()[0] == "window" or not self._take("{"):
            self._no_modifier()
            return _Selector(metric, frozenset(), metric)
        matchers: list[str] = []
        while not self._take("}"):
            label = self._peek()[1]
            if self._peek()[0] != "name" or label == "__name__" or ":" in label:
                self._refuse()
            self._at += 1
            operator = self._want("=", "!=", "=~", "!~")
            kind, literal = self._peek()
            if kind != "string" or not _plain(literal):
                self._refuse()
            self._at += 1
            matchers.append(f"{label}{operator}{literal}")
            if not self._take(","):
                self._want("}")
                break
        self._no_modifier()
        text = f"{metric}{{{','.join(matchers)}}}" if matchers else metric
        return _Selector(metric, frozenset(matchers), text)

    def _no_modifier(self) -> None:
        if self._peek()[1] in ("offset", "@") or self._peek()[0] == "window":
            self._refuse()


def _plain(literal: str) -> bool:
    """Whether the catalog reads this string as Prometheus does."""
    return literal.startswith("`") or _ESCAPES.fullmatch(literal[1:-1]) is not None
