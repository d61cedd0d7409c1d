"""`opsloop logs`: the log of a part, or of all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import click

from opsloop.cli import output
from opsloop.cli.options import with_settings
from opsloop.errors import ArgumentError, NotRunning
from opsloop.settings import Settings

_POLL_S = 0.2
_BLOCK = 64 * 1024


@click.command(short_help="Show the log of a part.")
@with_settings
@click.argument("part", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many lines of each log.",
)
def command(settings: Settings, part: str | None, follow: bool, lines: int) -> int:
    """Show the last lines of the log of PART (a name from `opsloop status`), or of all parts.

    PART may be a process with slots (`api`) or one of them (`api-0`).
    """
    from opsloop.stack.state import StateFolder

    state = StateFolder(settings.state)
    found = choose(state.logs, part)
    many = len(found) > 1
    for path in found:
        for line in last_lines(path, lines):
            output.say(f"{path.stem}: {line}" if many else line)
    if follow:
        for path, line in followed(found):
            output.say(f"{path.stem}: {line}" if many else line)
    return 0


def choose(folder: Path, part: str | None) -> list[Path]:
    """The log files of a part. Raises NotRunning without any, ArgumentError for a wrong name."""
    there = {p.stem: p for p in sorted(folder.glob("*.log"))} if folder.is_dir() else {}
    if not there:
        raise NotRunning("logs", f"there are none in {folder}", "start the stack: `opsloop up`")
    if part is None:
        return list(there.values())
    if part in there:
        return [there[part]]
    slots = [
        p for name, p in there.items() if name.rpartition("-")[0] == part and name[-1].isdigit()
    ]
    if not slots:
        raise ArgumentError(part, "is no part with a log", f"there are: {', '.join(there)}")
    return slots


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines, read from the end."""
    if count == 0:
        return []
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        data = b""
        while at > 0 and data.count(b"\n") <= count:
            step = min(_BLOCK, at)
            at -= step
            file.seek(at)
            data = file.read(step) + data
    return data.decode(errors="replace").splitlines()[-count:]


def followed(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """Whole lines as they are written, for ever; a log that is rotated is read on from its new."""
    places = {path: _place(path) for path in paths}
    rests = dict.fromkeys(paths, b"")
    while True:
        quiet = True
        for path in paths:
            inode, at = places[path]
            now_inode, size = _place(path)
            if now_inode != inode or size < at:
                inode, at, rests[path] = now_inode, 0, b""
            if size > at:
                quiet = False
                with path.open("rb") as file:
                    file.seek(at)
                    data = rests[path] + file.read(size - at)
                *whole, rests[path] = data.split(b"\n")
                for line in whole:
                    yield path, line.decode(errors="replace")
            places[path] = (inode, max(at, size))
        if quiet:
            time.sleep(_POLL_S)


def _place(path: Path) -> tuple[int, int]:
    """(inode, size); (0, 0) while it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size
