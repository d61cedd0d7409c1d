"""What a back-fill will write: which stretches of which SLIs, in which pieces, and how much it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opsloop.compile.slo_names import PAGE, TILE
from opsloop.compile.slo_past import Past, page_of, samples_of
from opsloop.stack.backfill_journal import Journal, Reach
from opsloop.stack.blocks import BYTES_PER_SAMPLE
from opsloop.stack.tsdb import Key, Storage

MOST_SAMPLES: Final = 750_000  # of a piece: 70 MiB of text, and as much memory of promtool
MOST_HOURS: Final = 24
_TILE, _PAGE = int(TILE), int(PAGE)


@dataclass(frozen=True, slots=True)
class Span:
    """What is missing of one SLI of one service. Times are unix milliseconds.

    last: its last tile that can be written; first_page: where it begins; end: the first tile that
    the rules wrote themselves. The tiles between lie in the memory of Prometheus.
    """

    past: Past
    service: str
    first_page: int
    last: int
    end: int

    @property
    def key(self) -> Key:
        return self.past.name, self.service

    @property
    def phase(self) -> int:
        """When in a minute its rules are evaluated."""
        return self.last % _TILE

    @property
    def last_page(self) -> int:
        return page_of(self.last)

    @property
    def months(self) -> bool:
        return self.service in self.past.calendar

    @property
    def carried(self) -> range:
        """The tiles that only a page can tell of."""
        return range(self.last + _TILE, self.end, _TILE)

    def grid(self, first_page: int, end_page: int) -> range:
        """Its evaluations in these pages."""
        first = on_grid(start_of(max(first_page, self.first_page)) - 1, self.phase)
        return range(first, min(self.last, start_of(end_page) - 1) + 1, _TILE)


@dataclass(frozen=True, slots=True)
class Plan:
    """pieces: (first page, end page), the newest first, so that an end at any moment leaves no hole.

    waiting: minutes that lie in the memory of Prometheus and can be written later; ripe: those
    of earlier runs that can be now.
    """

    spans: tuple[Span, ...]
    pieces: tuple[tuple[int, int], ...]
    ripe: tuple[Reach, ...] = ()
    waiting: tuple[Reach, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.spans or self.ripe)

    @property
    def first(self) -> int:
        begun = [start_of(s.first_page) for s in self.spans] + [r.first for r in self.ripe]
        return min(begun, default=0)

    @property
    def end(self) -> int:
        return max([s.end for s in self.spans] + [r.end for r in self.ripe], default=0)

    @property
    def samples(self) -> int:
        """At most so many: as if there were data for every minute."""
        ledger = sum(samples_of(_minutes(s), months=s.months) for s in self.spans)
        return ledger + sum(2 * (r.end - r.first) // _TILE for r in self.ripe)

    @property
    def bytes(self) -> int:
        return self.samples * BYTES_PER_SAMPLE

    @property
    def queries(self) -> int:
        asked = sum(len({s.past.name for s in members(self.spans, p)}) for p in self.pieces)
        return 2 * (asked + len({r.key[0] for r in self.ripe}))

    @property
    def query_hours(self) -> int:
        """Hours of one SLI that are asked for, summed."""
        asked = sum(
            (end - first) * len({s.past.name for s in members(self.spans, (first, end))})
            for first, end in self.pieces
        )
        return asked + sum((r.end - r.first) // _PAGE + 1 for r in self.ripe)


def make_plan(
    pasts: Sequence[Past],
    storage: Storage,
    tiles: Mapping[Key, int],
    journal: Journal,
    since: int,
    now: int,
) -> Plan:
    """tiles: the first of each (SLI, service) that Prometheus has; since, now: unix ms."""
    earliest = page_of(since)  # whole pages: what is open when a window begins is known then
    if storage.retention is not None:
        earliest = max(earliest, page_of(now - int(storage.retention)) + 1)
    if storage.lowest is not None:
        earliest = max(earliest, page_of(storage.lowest))
    phase = usual_phase(tiles.values())
    spans = []
    for past in pasts:
        for service in past.indicator.services:
            key = (past.name, service)
            end = tiles.get(key, now - (now - phase) % _TILE)
            if (done := journal.done_from(key)) is not None:
                end = min(end, done)
            own_phase = tiles.get(key, phase) % _TILE
            span = _span(past, service, earliest, end, storage.head_began, own_phase)
            if span is not None:
                spans.append(span)
    named = {p.name for p in pasts}
    left = [r for r in journal.entries.waiting if r.key[0] in named]
    ripe = tuple(r for r in left if r.end <= storage.head_began)
    new = [Reach(s.key, s.carried[0], s.end) for s in spans if s.carried]
    waiting = [*(r for r in left if r not in ripe), *new]
    return Plan(tuple(spans), tuple(_pieces(spans)), ripe, tuple(waiting))


def usual_phase(moments: Iterable[int]) -> int:
    """When in a minute the rules are evaluated: all SLIs stand in one group."""
    found = Counter(m % _TILE for m in moments).most_common(1)
    return found[0][0] if found else 0


def _span(
    past: Past, service: str, first_page: int, end: int, head_began: int, phase: int
) -> Span | None:
    last = on_grid(min(end, head_began) - 1 - _TILE, phase)
    if first_page > page_of(last):
        if last + _TILE >= end:
            return None
        first_page = page_of(last)  # all of its past lies in memory
    return Span(past, service, first_page, last, end)


def on_grid(after: int, phase: int) -> int:
    """The first evaluation after that moment."""
    return after + 1 + (phase - after - 1) % _TILE


def start_of(page: int) -> int:
    """The moment at which its first tile may be."""
    return page * _PAGE + _TILE


def members(spans: Iterable[Span], piece: tuple[int, int]) -> list[Span]:
    """Those that have something in the piece."""
    return [s for s in spans if s.first_page < piece[1] and s.last_page >= piece[0]]


def _pieces(spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    if not spans:
        return
    hourly = sum(samples_of(60, months=s.months) for s in spans)
    hours = max(1, min(MOST_HOURS, MOST_SAMPLES // hourly))
    lowest = min(s.first_page for s in spans)
    end = max(s.last_page for s in spans) + 1
    while end > lowest:
        first = max(lowest, (end - 1) // hours * hours)
        if members(spans, (first, end)):
            yield first, end
        end = first


def _minutes(span: Span) -> int:
    return len(span.grid(span.first_page, span.last_page + 1))
