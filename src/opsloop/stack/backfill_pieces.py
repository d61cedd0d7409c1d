"""One piece of a back-fill: its tiles as text, the text as blocks, the blocks in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsloop.compile.selectors import one_of
from opsloop.compile.slo_names import SLI, TILE, TOTAL_TILE
from opsloop.compile.slo_past import (
    LAST_LINE,
    NO_TILES,
    Past,
    Points,
    Tiles,
    openmetrics,
    recorded,
    tiles_only,
)
from opsloop.errors import StackError
from opsloop.stack.backfill_journal import Entries, Journal, Reach
from opsloop.stack.backfill_plan import Span, on_grid, start_of
from opsloop.stack.blocks import (
    BYTES_PER_SAMPLE,
    TEXT_PER_SAMPLE,
    blocks_in,
    make_blocks,
    move,
    refuse_without_room,
    sync,
)
from opsloop.stack.files import usable
from opsloop.stack.tsdb import Key, Storage, Tsdb

SPARE: Final = 32 << 20  # bytes that stay free beside what is written
_TILE = int(TILE)

Found = dict[tuple[str, str], Points]


@dataclass(frozen=True, slots=True)
class Target:
    """data: the folder that takes the blocks; folder: the journal, best on the same file system.

    running: its Prometheus evaluates the rules, and reads `data` itself.
    """

    data: Path
    folder: Path
    promtool: Path
    running: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """A piece in its place. `selector` over `seconds` before `at` (ms) has this many `tiles`."""

    samples: int = 0
    blocks: int = 0
    tiles: int = 0
    selector: str = ""
    seconds: int = 0
    at: int = 0


class Writer:
    """Writes pieces, each whole or not at all, and keeps the journal."""

    def __init__(self, tsdb: Tsdb, target: Target, journal: Journal) -> None:
        self.journal = journal
        self._tsdb = tsdb
        self._target = target

    def pages(self, spans: Sequence[Span], piece: tuple[int, int], storage: Storage) -> Written:
        """Tiles and ledger of these pages. Raises as `run` of a back-fill does."""
        entries = Entries()
        series: list[tuple[Key, Found]] = []
        for past, some in _together(spans):
            first = min(s.grid(*piece)[0] for s in some)
            tiles = self._tsdb.tiles(past, first, max(_end(s, piece) for s in some) - _TILE)
            for span in some:
                found, waiting = _ledger(span, piece, tiles.get(span.service, NO_TILES))
                series.append((span.key, found))
                begun = start_of(max(piece[0], span.first_page))
                entries.done.append(Reach(span.key, begun, _end(span, piece)))
                entries.waiting += [waiting] if waiting else []
        return self._put(series, entries, storage)

    def minutes(self, ripe: Sequence[Reach], pasts: Iterable[Past], storage: Storage) -> Written:
        """Tiles of stretches whose page is written already."""
        entries = Entries(filled=list(ripe))
        series: list[tuple[Key, Found]] = []
        by_name = {p.name: p for p in pasts}
        stretches = sorted({(r.key[0], r.first, r.end) for r in ripe})
        for name, first, end in stretches:
            tiles = self._tsdb.tiles(by_name[name], first, end - _TILE)
            for reach in ripe:
                if (reach.key[0], reach.first, reach.end) == (name, first, end):
                    own = tiles.get(reach.key[1], NO_TILES)
                    series.append((reach.key, tiles_only(own, range(first, end, _TILE))))
        return self._put(series, entries, storage)

    def end_move(self, storage: Storage) -> None:
        """Move what is made and not yet moved."""
        for block in blocks_in(self.journal.blocks):
            if block.path.name not in self.journal.moving_names:
                continue
            if self._target.running and block.end > storage.head_began:
                raise StackError(
                    str(self._target.data),
                    "is not the folder that this back-fill began with: its memory begins earlier",
                    f"remove {self.journal.folder}, then start again",
                )
            move(block.path, self._target.data)
        self.journal.end_move()

    def _put(
        self, series: Sequence[tuple[Key, Found]], entries: Entries, storage: Storage
    ) -> Written:
        samples = sum(len(points) for _, found in series for points in found.values())
        if not samples:
            self.journal.begin_move([], entries)
            self.journal.end_move()
            return Written()
        folder = self.journal.begin_chunk()
        needed = samples * (TEXT_PER_SAMPLE + 2 * BYTES_PER_SAMPLE) + SPARE
        refuse_without_room(folder, needed)
        text = folder / "samples.om"
        _write_text(text, series)
        make_blocks(self._target.promtool, text, self.journal.blocks, storage.longest_block)
        text.unlink()
        blocks = blocks_in(self.journal.blocks)
        made = sum(b.samples for b in blocks)
        if made != samples:
            raise StackError("promtool", f"made {made} samples of {samples}", "nothing was moved")
        for place in (self.journal.blocks, folder, self.journal.folder):
            sync(place)
        self.journal.begin_move([b.path.name for b in blocks], entries)
        self.end_move(storage)
        return _written(series, samples, len(blocks))


def _together(spans: Sequence[Span]) -> Iterator[tuple[Past, list[Span]]]:
    """Those that one query answers: of one SLI, evaluated at the same moments."""
    groups: dict[tuple[str, int], list[Span]] = {}
    for span in spans:
        groups.setdefault((span.past.name, span.phase), []).append(span)
    for some in groups.values():
        yield some[0].past, some


def _end(span: Span, piece: tuple[int, int]) -> int:
    """Where the piece ends for it: with its last page it also takes what lies in memory."""
    if piece[0] <= span.last_page < piece[1]:
        return span.end if span.carried else span.last + _TILE
    return on_grid(start_of(piece[1]) - 1, span.phase)


def _ledger(span: Span, piece: tuple[int, int], tiles: Tiles) -> tuple[Found, Reach | None]:
    """What is to be written of it, and what waits."""
    grid = span.grid(*piece)
    own = tiles.between(grid[0], grid[-1] + 1)
    carried = NO_TILES
    if span.carried and piece[0] <= span.last_page < piece[1]:
        carried = tiles.between(span.carried[0], span.end)
    found = recorded(own, grid, carried=carried, months=span.months)
    return found, Reach(span.key, span.carried[0], span.end) if carried else None


def _write_text(path: Path, series: Sequence[tuple[Key, Found]]) -> None:
    with usable(path.parent), path.open("w", encoding="utf-8") as out:
        for (sli, service), found in series:
            out.writelines(openmetrics(sli, service, found))
        out.write(LAST_LINE)


def _written(series: Sequence[tuple[Key, Found]], samples: int, blocks: int) -> Written:
    tiles: Mapping[Key, Points] = {
        key: found[TOTAL_TILE, ""] for key, found in series if (TOTAL_TILE, "") in found
    }
    if not tiles:
        return Written(samples, blocks)
    first = min(points[0][0] for points in tiles.values())
    at = max(points[-1][0] for points in tiles.values())
    return Written(
        samples,
        blocks,
        sum(map(len, tiles.values())),
        f"{TOTAL_TILE}{{{one_of(SLI, {sli for sli, _ in tiles})}}}",
        (at - first) // 1000 + 1,
        at,
    )
