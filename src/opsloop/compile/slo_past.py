"""What the SLO rules would have written over a past: how to ask for its tiles, and their ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile.selectors import quote
from opsloop.compile.slo_names import (
    ERRORS_TILE,
    KINDS,
    MONTH,
    PAGE,
    SLI,
    TILE,
    TOTAL_TILE,
    Kind,
    closed_page,
    half_open,
    month_page,
    open_page,
)
from opsloop.compile.slo_spec import Indicator, SLOSpec, indicators
from opsloop.compile.slo_tiles import tile_rules
from opsloop.compile.slo_windows import MOST_NAMED

_TILE, _PAGE = int(TILE), int(PAGE)

Points = list[tuple[int, float]]
"""(unix milliseconds, value), oldest first."""


@dataclass(frozen=True, slots=True)
class Past:
    """One SLI with the queries that answer its tiles. calendar: services whose pages have months."""

    indicator: Indicator
    total: str
    errors: str
    calendar: frozenset[str]

    @property
    def name(self) -> str:
        return self.indicator.name

    def service(self, labels: Mapping[str, str]) -> str:
        """Whose tile a series of an answer is."""
        own = self.indicator.source.own
        return labels.get(names.SERVICE, "") if own else self.indicator.services[0]


def pasts(specs: Iterable[SLOSpec]) -> list[Past]:
    """One for each SLI of these objectives. Raises InputError as `indicators` does."""
    ordered = list(specs)
    calendar = {s.service for s in ordered if s.period.calendar}
    # Beyond so many the rules name no service, and every page gets its month.
    everywhere = len(calendar) > MOST_NAMED
    found = []
    for indicator in indicators(ordered):
        total, errors = (rule["expr"] for rule in tile_rules(indicator))
        months = frozenset(s for s in indicator.services if everywhere or s in calendar)
        found.append(Past(indicator, total, _without_written(errors, indicator, total), months))
    return found


def _without_written(errors: str, indicator: Indicator, total: str) -> str:
    """The rule of the errors reads the tile that the rule above it wrote; a past has none yet."""
    written = f"last_over_time({TOTAL_TILE}{{{SLI}={quote(indicator.name)}}}[{half_open(TILE)}])"
    return errors.replace(written, f"(\n{total}\n)")


# Tiles become pages


@dataclass(frozen=True, slots=True)
class Tiles:
    """Of one service: events and failed events of the minute that ends at unix milliseconds."""

    total: Mapping[int, float] = field(default_factory=dict)
    errors: Mapping[int, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.total or self.errors)

    def of(self, kind: Kind) -> Mapping[int, float]:
        """Minutes that have data are counted on the total, which has a tile for each of them."""
        if kind == "minutes":
            return dict.fromkeys(self.total, 1.0)
        return self.errors if kind == "errors" else self.total

    def between(self, first: int, end: int) -> Tiles:
        """Those of first <= time < end."""
        return Tiles(
            *({t: v for t, v in m.items() if first <= t < end} for m in (self.total, self.errors))
        )


NO_TILES = Tiles()


def page_of(at: int) -> int:
    """The number (hours since 1970) of the page that holds the tile of `at`.

    A page is closed at the first evaluation of the next hour, whose tile it still holds.
    """
    return (at - _TILE) // _PAGE


def tiles_only(tiles: Tiles, grid: range) -> dict[tuple[str, str], Points]:
    """The tiles themselves: by (series, month), which is empty here."""
    return {
        (name, ""): [(t, of[t]) for t in grid if t in of]
        for name, of in ((TOTAL_TILE, tiles.total), (ERRORS_TILE, tiles.errors))
    }


def recorded(
    tiles: Tiles, grid: range, *, carried: Tiles = NO_TILES, months: bool = False
) -> dict[tuple[str, str], Points]:
    """The series that the rules would have written at `grid`, by (name, month or nothing).

    grid: the evaluations, milliseconds, beginning with the first tile of a page. What is open at
    its end is closed there: the rules that began after it do not know of it. carried: tiles
    after `grid` that cannot be written; that last page holds them too, so that every sum is right.
    """
    found = tiles_only(tiles, grid)
    for kind in KINDS:
        opened, closed = _ledger(tiles.of(kind), grid)
        found[open_page(kind), ""] = opened
        later: dict[str, float] = {}
        for t, value in carried.of(kind).items():
            later[month_of(t)] = later.get(month_of(t), 0.0) + value
        if months:
            for at, value in closed:
                found.setdefault((month_page(kind), month_of(at)), []).append((at, value))
            for month, value in later.items():
                _add(found.setdefault((month_page(kind), month), []), grid[-1], value)
        for value in later.values():
            _add(closed, grid[-1], value)
        found[closed_page(kind), ""] = closed
    return {key: points for key, points in found.items() if points}


def _ledger(tiles: Mapping[int, float], grid: range) -> tuple[Points, Points]:
    """(open, closed) pages, as the rules write them one minute after the other."""
    opened: Points = []
    closed: Points = []
    for at in grid:
        known = bool(opened) and at - opened[-1][0] < _PAGE
        before = opened[-1][1] if known else 0.0
        if at in tiles:
            page = before + tiles[at]
        elif before > 0:
            page = before
        else:
            continue
        if at % _PAGE < _TILE or at == grid[-1]:
            closed.append((at, page))
            page = 0.0
        opened.append((at, page))
    return opened, closed


def _add(points: Points, at: int, value: float) -> None:
    """To the sample of `at`, which is the last one when it is there."""
    if points and points[-1][0] == at:
        value += points.pop()[1]
    points.append((at, value))


def month_of(at: int) -> str:
    """The month (UTC, 1 to 12) of a tile, or of the page that is closed at `at`."""
    return str(datetime.fromtimestamp((at - _TILE) / 1000, UTC).month)


def samples_of(minutes: int, *, months: bool) -> int:
    """How many samples one SLI of one service has at most over so many minutes."""
    hourly = len(KINDS) * (2 if months else 1)
    return minutes * (2 + len(KINDS)) + -(-minutes * hourly * _TILE // _PAGE)


# Text for promtool


def openmetrics(
    sli: str, service: str, series: Mapping[tuple[str, str], Sequence[tuple[int, float]]]
) -> Iterator[str]:
    """Lines of OpenMetrics, each with its time in seconds; the file still needs LAST_LINE."""
    own = f"{SLI}={quote(sli)},{names.SERVICE}={quote(service)}"
    return chain.from_iterable(
        _lines(f'{name}{{{own},{MONTH}="{month}"}}' if month else f"{name}{{{own}}}", points)
        for (name, month), points in series.items()
    )


LAST_LINE = "# EOF\n"


def _lines(series: str, points: Sequence[tuple[int, float]]) -> Iterator[str]:
    for at, value in points:
        seconds, ms = divmod(at, 1000)
        yield f"{series} {value!r} {seconds}.{ms:03d}\n"


def longest_period(specs: Iterable[SLOSpec]) -> Duration:
    """How far back any of these objectives looks; a month is its 31 days."""
    month = Duration(31 * 86_400_000)
    return max((month if s.period.calendar else s.period.length for s in specs), default=month)
