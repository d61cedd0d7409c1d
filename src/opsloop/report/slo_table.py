"""The table of all error budgets, in as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from opsloop.report.slo import Budget, bar, columns, count, coverage, percent, times
from opsloop.report.times import clock, length

GAP: Final = 3  # between two columns on a terminal
EDGES: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """drop: which goes first where there is no room, 0 never."""

    header: str
    drop: int = 0
    right: bool = False


COLUMNS: Final = (
    Column("SERVICE/SLO"),
    Column("OBJECTIVE", 10),
    Column("SLI", 7, right=True),
    Column("LEFT", right=True),
    Column("", 5),
    Column("ERR LEFT", 8, right=True),
    Column("MIN LEFT", 3, right=True),
    Column("BURN", right=True),
    Column("1H", 9, right=True),
    Column("6H", 6, right=True),
    Column("3D", 4, right=True),
    Column("DATA", 2, right=True),
    Column("SPENT IN", 11),
    Column("ON (UTC)", 1),
)
HEADERS: Final = tuple(c.header for c in COLUMNS)


def table(
    rows: Sequence[Budget], now: float, width: int | None = None
) -> tuple[list[str], list[list[str]]]:
    """(headers, lines), numbers at the right. width: of the terminal; None keeps every column.

    The columns that say least are left out first, until a line fits.
    """
    lines = [cells(r, now) for r in rows]
    widths = [max(len(c.header), *(len(line[n]) for line in lines)) for n, c in enumerate(COLUMNS)]
    kept = [n for n in range(len(COLUMNS)) if any(line[n] for line in lines)]
    droppable = sorted((n for n in kept if COLUMNS[n].drop), key=lambda n: COLUMNS[n].drop)
    while width is not None and droppable and _total(widths, kept) > width:
        kept.remove(droppable.pop(0))
    headers = [_placed(COLUMNS[n].header, n, widths) for n in kept]
    return headers, [[_placed(line[n], n, widths) for n in kept] for line in lines]


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[n] for n in kept) + GAP * (len(kept) - 1) + EDGES


def _placed(text: str, column: int, widths: Sequence[int]) -> str:
    return text.rjust(widths[column]) if COLUMNS[column].right else text


def cells(row: Budget, now: float) -> tuple[str, ...]:
    """A line under HEADERS."""
    burns = [row.burn.get(w) if w else None for w in columns(row.period)]
    return (
        f"{row.service}/{row.slo}",
        f"{row.objective} / {row.period}",
        percent(row.sli, 3),
        percent(row.left, 1),
        bar(row.left),
        count(row.left_errors),
        count(row.left_minutes),
        *(times(b) for b in burns),
        coverage(row),
        spent_in(row),
        "" if row.spent_in_s is None else clock(now + row.spent_in_s)[:-3],
    )


def spent_in(row: Budget) -> str:
    """How long the budget lasts at the present burn."""
    if row.left is None:
        return "not measured yet"
    if row.left <= 0:
        return "spent"
    return "lasts" if row.spent_in_s is None else length(row.spent_in_s)
