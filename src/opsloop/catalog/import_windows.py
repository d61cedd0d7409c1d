"""Alert windows of other tools as the catalog's own, and the periods that they belong to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from opsloop.catalog.import_read import Map
from opsloop.catalog.imported import Book, Origin
from opsloop.catalog.slo import (
    LONGEST_PERIOD,
    MINUTE,
    SHORTEST_LONG,
    SHORTEST_PERIOD,
    SHORTEST_SHORT,
    Objective,
    Period,
    decimal,
    windows_for,
)
from opsloop.catalog.units import Duration

Kind = Literal["page", "ticket"]
DEFAULT_PERIOD = "30d"
_PRECISION = 1_000_000
LEAST_FACTOR = {"page": Fraction(3, 2), "ticket": Fraction(1)}


@dataclass(frozen=True, slots=True)
class Window:
    """Fires when `budget` (a share, 0..1) of the period's budget burns within `long`."""

    kind: Kind
    long: Duration
    short: Duration
    budget: Fraction

    def written(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "long": str(self.long),
            "short": str(self.short),
            # Rounded up, so that a factor which is allowed stays so.
            "budget": f"{decimal(Fraction(math.ceil(self.budget * 100 * _PRECISION), _PRECISION))}%",
        }


def objective(book: Book, at: Origin, percent: Fraction | None) -> str | None:
    """An objective in percent as text; None when it is wrong, or is 100 %."""
    if percent is None:
        return None
    if percent == 100:
        book.leave(
            at,
            "the SLO, whose objective is 100%",
            "it leaves no error budget, so every burn rate would divide by zero",
            "write what users would notice, as 99.9%",
        )
        return None
    text = f"{decimal(percent)}%"
    try:
        return str(Objective.parse(text))
    except ValueError as error:
        book.problem(at, str(error))
        return None


def rolling(book: Book, at: Origin, length: Duration) -> str:
    """A rolling window as the catalog has it: 1d to 90d in whole minutes."""
    fitting = Duration(min(max(int(length), int(SHORTEST_PERIOD)), int(LONGEST_PERIOD)))
    fitting = Duration(int(fitting) - int(fitting) % int(MINUTE))
    if fitting != length:
        book.change(at, f"a window of {length}", str(fitting), "windows are 1d to 90d")
    return str(fitting)


def alerting(period: str, windows: Iterable[Window]) -> list[dict[str, Any]]:
    """The entries of `alerting.windows`; none when they are what the period has anyway."""
    found = list(windows)
    length = Period.parse(period).length
    shipped = [(p.kind, p.long, p.short, p.factor) for p in windows_for(Period.parse(period))]
    given = [(w.kind, w.long, w.short, w.budget * int(length) / int(w.long)) for w in found]
    return [] if sorted(given) == sorted(shipped) else [w.written() for w in found]


def fits(book: Book, at: Origin, window: Window, period: str) -> bool:
    """Whether the catalog takes this window; what it does not take is told."""
    length = Period.parse(period).length
    why = ""
    if window.long > length:
        why = f"its long window, {window.long}, is longer than the period of {period}"
    elif window.short >= window.long:
        why = f"its short window, {window.short}, is not shorter than the long one, {window.long}"
    elif window.short < SHORTEST_SHORT or window.long < SHORTEST_LONG:
        why = f"windows are at least {SHORTEST_SHORT} short and {SHORTEST_LONG} long"
    elif window.long % MINUTE or window.short % MINUTE:
        why = "windows are whole minutes"
    elif not 0 < window.budget <= 1:
        why = f"it asks for {_percent(window.budget)} of the budget, which is not in 0..100%"
    else:
        factor = window.budget * int(length) / int(window.long)
        least = LEAST_FACTOR[window.kind]
        if factor < least or (window.kind == "page" and factor == least):
            over = "more than 1.5" if window.kind == "page" else "at least 1"
            why = f"a {window.kind} needs a burn rate of {over}, and this is {float(factor):.3g}"
    if why:
        book.leave(at, f"a {window.kind} window", why, "change alerting.windows of the result")
    return not why


def or_shipped(
    book: Book, at: Origin, fitting: list[Window], asked: set[Kind], period: str
) -> list[Window]:
    """The shipped windows for each kind that was asked for and has none left: nobody goes deaf."""
    length = int(Period.parse(period).length)
    found = list(fitting)
    for kind in sorted(asked - {w.kind for w in fitting}):
        found += [
            Window(kind, p.long, p.short, p.factor * int(p.long) / length)
            for p in windows_for(Period.parse(period))
            if p.kind == kind
        ]
        book.change(at, f"{kind} windows", "the shipped ones", "none that is here can be taken")
    return found


def _percent(share: Fraction) -> str:
    return f"{float(share * 100):.4g}%"


def sloth_windows(document: Map) -> tuple[str, list[tuple[Origin, Window]]] | None:
    """Period and windows of an AlertWindows document; None when it is wrong."""
    spec = document.map("spec", required=True) if document.has("spec") else document
    if spec is None:
        return None
    period = spec.duration("sloPeriod", required=True)
    found: list[tuple[Origin, Window]] = []
    kinds: tuple[Kind, Kind] = ("page", "ticket")
    for kind in kinds:
        group = spec.map(kind, required=True)
        for speed in ("quick", "slow") if group is not None else ():
            given = group.map(speed, required=True) if group is not None else None
            if given is None:
                continue
            long = given.duration("longWindow", required=True)
            short = given.duration("shortWindow", required=True)
            budget = given.number("errorBudgetPercent", required=True)
            given.rest()
            if long and short and budget is not None:
                found.append((given.origin, Window(kind, long, short, budget / 100)))
        if group is not None:
            group.rest()
    spec.rest()
    if period is None or len(found) != 4:
        return None
    return rolling(document.book, spec.at("sloPeriod"), period), found
