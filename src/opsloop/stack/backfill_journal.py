"""The journal of a back-fill: what is written, what waits, and which blocks are on their way."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsloop.errors import StateUnusable
from opsloop.stack.files import usable, write_file
from opsloop.stack.tsdb import Key

FORMAT = 1
_FILE = "journal.json"


@dataclass(frozen=True, slots=True)
class Reach:
    """A stretch of one SLI of one service: first <= time < end, unix milliseconds."""

    key: Key
    first: int
    end: int

    def as_list(self) -> list[Any]:
        return [*self.key, self.first, self.end]

    @classmethod
    def of(cls, raw: list[Any]) -> Reach:
        sli, service, first, end = raw
        return cls((str(sli), str(service)), int(first), int(end))


@dataclass(slots=True)
class Entries:
    """done: in the ledger; waiting: in the ledger as one page, their minutes can come later."""

    done: list[Reach] = field(default_factory=list)
    waiting: list[Reach] = field(default_factory=list)
    filled: list[Reach] = field(default_factory=list)  # of `waiting`, that wait no longer

    def as_dict(self) -> dict[str, Any]:
        return {
            name: [r.as_list() for r in getattr(self, name)]
            for name in ("done", "waiting", "filled")
        }

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Entries:
        return cls(*([Reach.of(r) for r in raw[n]] for n in ("done", "waiting", "filled")))


class Journal:
    """In `folder`, together with the blocks that are being made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chunk = folder / "chunk"
        self.blocks = self.chunk / "blocks"
        self.entries = Entries()
        self.moving: Entries | None = None
        self.moving_names: tuple[str, ...] = ()

    def read(self) -> Journal:
        """Itself, as it stands on disk. Raises StateUnusable when it is no journal of ours."""
        path = self.folder / _FILE
        try:
            raw = json.loads(path.read_text())
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']}")
            self.entries = Entries.of(raw)
            moving = raw["moving"]
            self.moving = Entries.of(moving) if moving else None
            self.moving_names = tuple(moving["blocks"]) if moving else ()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateUnusable(
                str(path),
                f"is no journal of a back-fill ({error})",
                "remove it when Prometheus shows what was back-filled",
            ) from error
        return self

    def begin_chunk(self) -> Path:
        """An empty folder for the next blocks; what an interrupted run left is removed."""
        with usable(self.folder):
            if self.chunk.exists():
                shutil.rmtree(self.chunk)
            self.chunk.mkdir(mode=0o700)
        return self.chunk

    def begin_move(self, names: list[str], entries: Entries) -> None:
        """From here on the chunk counts as made: its blocks only need to be moved."""
        self.moving, self.moving_names = entries, tuple(names)
        self._write()

    def end_move(self) -> None:
        """They are all in place."""
        if self.moving is not None:
            self.entries = merged(self.entries, self.moving)
        self.moving, self.moving_names = None, ()
        self._write()
        shutil.rmtree(self.chunk, ignore_errors=True)

    def done_from(self, key: Key) -> int | None:
        """The beginning of what is written of it; None when nothing is."""
        return min((r.first for r in self.entries.done if r.key == key), default=None)

    def _write(self) -> None:
        moving = None
        if self.moving is not None:
            moving = {"blocks": list(self.moving_names), **self.moving.as_dict()}
        value = {"format": FORMAT, **self.entries.as_dict(), "moving": moving}
        write_file(self.folder / _FILE, json.dumps(value) + "\n", 0o600)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder and hold it. Raises StateUnusable when another back-fill has it."""
        path = self.folder / "lock"
        with usable(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                raise StateUnusable(
                    str(self.folder), f"another back-fill (pid {holder}) is at work", "wait for it"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def merged(before: Entries, new: Entries) -> Entries:
    """One stretch for each key: those of one key touch, since a run goes from new to old."""
    done: dict[Key, Reach] = {}
    for reach in [*before.done, *new.done]:
        known = done.get(reach.key, reach)
        done[reach.key] = Reach(reach.key, min(known.first, reach.first), max(known.end, reach.end))
    filled = {(r.key, r.first) for r in new.filled}
    waiting = [r for r in [*before.waiting, *new.waiting] if (r.key, r.first) not in filled]
    return Entries(list(done.values()), waiting)
