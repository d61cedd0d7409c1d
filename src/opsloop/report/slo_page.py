"""One objective as a few lines: what is left, how it burns, and the incidents that spent it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from opsloop.report.slo import Budget, bar, columns, count, coverage, percent, times
from opsloop.report.slo_history import Incident, sparkline
from opsloop.report.times import clock, length

MOST_INCIDENTS: Final = 10
WIDEST: Final = 60
_NAME: Final = 11
_WINDOWS: Final = ("now", "1h", "6h", "3d")


def headline(row: Budget) -> str:
    """`api/availability: 99.9% over 30d, lasts`."""
    return f"{row.service}/{row.slo}: {row.objective} over {row.period}, {_state(row)}"


def _state(row: Budget) -> str:
    if row.left is None:
        return "not measured yet"
    if row.left <= 0:
        return "budget spent"
    if row.spent_in_s is not None:
        return f"budget spent in {length(row.spent_in_s)} at this burn"
    return "burning faster than evenly" if row.state == "burning" else "within budget"


def lines(
    row: Budget,
    points: Sequence[tuple[float, float]],
    incidents: Sequence[Incident],
    width: int,
) -> Iterator[str]:
    """Everything below the headline, at most `width` columns wide."""
    if row.left is not None:
        yield _line("left", f"{percent(row.left, 1)}  {bar(row.left)}  {_amount(row)}")
        yield _line(
            "good", f"{percent(row.sli, 3)} of events; data for {coverage(row)} of the time"
        )
        yield _line("burn", _burns(row))
    room = max(10, min(WIDEST, width - _NAME - 4))
    if points:
        yield _line("burn-down", sparkline(points, room))
        yield _line("", _ends(points, min(room, len(points))))
    yield from _incidents(incidents, width)


def _line(name: str, text: str) -> str:
    return f"  {name:<{_NAME}}{text}".rstrip()


def _amount(row: Budget) -> str:
    if row.left_errors is None:
        return ""
    if row.left_errors < 0:
        return f"{count(-row.left_errors)} errors too many"
    minutes = "" if row.left_minutes is None else f", or {length(row.left_minutes * 60)} of outage"
    return f"{count(row.left_errors)} more errors{minutes}"


def _burns(row: Budget) -> str:
    """Windows other than those of 30d are named by their own length."""
    found = []
    for name, window in zip(_WINDOWS, columns(row.period), strict=True):
        if window:
            shown = "now" if name == "now" else window
            found.append(f"{shown} {times(row.burn.get(window))}")
    return "  ".join(found) + "  (1x spends the budget evenly)"


def _ends(points: Sequence[tuple[float, float]], width: int) -> str:
    """The dates below both ends of the burn-down."""
    first, last = clock(points[0][0])[:11], clock(points[-1][0])[:11]
    if width < len(first) + len(last) + 2:
        return f"{first} to {last} UTC"
    return first + last.rjust(width - len(first))


_HEADS: Final = ("began (UTC)", "lasted", "errors", "of budget", "peak", "episodes")
_SETS: Final = ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3), (0, 3))  # what is left out where room is short


def _incidents(incidents: Sequence[Incident], width: int) -> Iterator[str]:
    if not incidents:
        yield _line("incidents", "none")
        return
    shown = [_HEADS, *(_cells(i) for i in incidents[:MOST_INCIDENTS])]
    widths = [max(len(line[n]) for line in shown) for n in range(len(_HEADS))]
    room = width - _NAME - 2
    kept = next((k for k in _SETS if sum(widths[n] + 2 for n in k) - 2 <= room), _SETS[-1])
    for nth, line in enumerate(shown):
        placed = (line[n].rjust(widths[n]) if 0 < n < 5 else line[n].ljust(widths[n]) for n in kept)
        yield _line("" if nth else "incidents", "  ".join(placed))
    rest = incidents[MOST_INCIDENTS:]
    if rest:
        spent = sum(i.share or 0.0 for i in rest)
        together = f", together {percent(spent, 1)}" if spent else ""
        yield _line("", f"and {len(rest):,} smaller{together}; --json has all")


def _cells(found: Incident) -> tuple[str, ...]:
    return (
        clock(found.began)[:11],
        length(found.ended - found.began),
        count(found.errors),
        percent(found.share, 1),
        times(found.peak),
        ", ".join(map(str, found.episodes)),
    )
