"""What the rules must say, worked out from events tick by tick and not from the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from opsloop.catalog.slo import Objective, decimal
from opsloop.catalog.units import Duration
from opsloop.compile.slo_alerts import covered, factor_text
from opsloop.compile.slo_names import PAGE, TILE, Kind
from opsloop.compile.slo_spec import SLOSpec

Count = float | None  # of one tick; None: no data
HALF_PAGE = Duration(int(PAGE) // 2)


@lru_cache(maxsize=1000)
def _budget(objective: Objective) -> float:
    """As the rules have it: from its decimal text."""
    return float(decimal(objective.budget))


@dataclass(frozen=True, slots=True)
class Timeline:
    """Events of each tick.

    Ticks of minutes are told in tiles, one a tick, which count as one minute of data each. Ticks
    of half a page are told in open pages: all of an hour's events come at its half.
    """

    tick: Duration
    total: Sequence[Count]
    errors: Sequence[Count]
    _sums: dict[Kind, list[tuple[float, int]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.total)

    @property
    def in_pages(self) -> bool:
        return self.tick == HALF_PAGE

    def time(self, at: int) -> str:
        return str(Duration(at * int(self.tick)))

    def values(self, kind: Kind) -> Sequence[Count]:
        if kind != "minutes":
            return self.errors if kind == "errors" else self.total
        minutes = int(PAGE) // int(TILE) if self.in_pages else 1
        return [None if v is None else float(minutes) for v in self.total]

    def counted(self, kind: Kind, at: int, window: Duration) -> Count:
        """Of the ticks in the window that ends with tick `at`; None when none has data."""
        ticks = -(-int(window) // int(self.tick))
        sums = self._sums.get(kind) or self._summed(kind)
        (before, none), (up_to, some) = sums[max(0, at - ticks + 1)], sums[at + 1]
        return up_to - before if some > none else None

    def _summed(self, kind: Kind) -> list[tuple[float, int]]:
        """Sum and number of the values before each tick; whole numbers, so sums are exact."""
        sums, total, known = [(0.0, 0)], 0.0, 0
        for value in self.values(kind):
            if value is not None:
                total, known = total + value, known + 1
            sums.append((total, known))
        self._sums[kind] = sums
        return sums

    def ratio(self, at: int, window: Duration) -> float | None:
        """No value without events."""
        total, errors = self.counted("total", at, window), self.counted("errors", at, window)
        return errors / total if total and errors is not None else None

    def burn(self, spec: SLOSpec, at: int, window: Duration) -> float | None:
        """None also for a window of tiles where only pages are told."""
        if self.in_pages and window <= PAGE:
            return None
        ratio = self.ratio(at, window)
        return None if ratio is None else ratio / _budget(spec.objective)

    def burning(self, spec: SLOSpec, kind: str, at: int) -> float | None:
        """The value of the burn-rate alert, which is the short window's burn; None: not firing."""
        for pair, floor in zip(spec.pairs, spec.floors, strict=True):
            short, long = (self.burn(spec, at, w) for w in pair.windows)
            factor = float(factor_text(pair.factor))
            if pair.kind != kind or short is None or long is None:
                continue
            errors = self.counted("errors", at, pair.long) or 0
            minutes = self.counted("minutes", at, pair.long) or 0
            enough = errors >= floor and minutes >= covered(pair)
            if short > factor and long > factor and enough:
                return short
        return None


def turns(length: int, value: Callable[[int], float | None]) -> list[tuple[int, float | None]]:
    """Ticks right before and at each change between firing and not, and the last tick."""
    states = [value(at) for at in range(length)]
    wanted = {length - 1}
    for at in range(1, length):
        if (states[at] is None) != (states[at - 1] is None):
            wanted |= {at - 1, at}
    return [(at, states[at]) for at in sorted(wanted)]
