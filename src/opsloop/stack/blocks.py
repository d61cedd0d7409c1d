"""Blocks of a Prometheus: made of text by promtool, and moved into its folder whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opsloop.catalog.units import Duration
from opsloop.errors import StackError, StateUnusable
from opsloop.stack.files import usable

BYTES_PER_SAMPLE = 3  # measured: 2.5 in blocks of 18h, 2.9 in blocks of 2h, index and all
TEXT_PER_SAMPLE = 110  # longest names of the shop: 90
_UNFINISHED = ".tmp-for-creation"  # Prometheus ignores such a folder, and removes it when it starts
_NO_ROOM = "no space left on device"


@dataclass(frozen=True, slots=True)
class Block:
    """One block on disk; `end` is unix milliseconds, excluded."""

    path: Path
    end: int
    samples: int


def make_blocks(promtool: Path, text: Path, folder: Path, longest: Duration | None) -> None:
    """Have promtool turn an OpenMetrics file into blocks in `folder`.

    longest: the server's own longest block. Blocks are cut where its are, so that it merges each
    with those of the same time and never two of its own into one.
    Raises StateUnusable when the disk is full, StackError with promtool's words else.
    """
    words = ["tsdb", "create-blocks-from"]
    arguments = ["openmetrics", "-q", str(text), str(folder)]
    limit = [f"--max-block-duration={int(longest) // 1000}s"] if longest else []
    done = _run(promtool, [*words, *limit, *arguments], text.parent)
    if done.returncode != 0 and limit and "unknown" in done.stderr and "flag" in done.stderr:
        done = _run(promtool, [*words, *arguments], text.parent)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        if _NO_ROOM in said.lower():
            raise full(folder)
        raise StackError(
            "promtool", f"made no blocks: {said[-300:] or done.returncode}", "run it again"
        )


def _run(promtool: Path, words: list[str], scratch: Path) -> subprocess.CompletedProcess[str]:
    """Whatever ends this process ends promtool; its scratch files lie where the blocks will."""
    setpriv = shutil.which("setpriv")
    guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    return subprocess.run(
        [*guard, str(promtool), *words],
        env={**os.environ, "TMPDIR": str(scratch)},
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )


def blocks_in(folder: Path) -> list[Block]:
    """The finished blocks there, in the order of their names; none when there is no folder."""
    found = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        try:
            meta = json.loads((path / "meta.json").read_text())
            found.append(Block(path, int(meta["maxTime"]), int(meta["stats"]["numSamples"])))
        except (OSError, ValueError, KeyError):
            continue
    return found


def move(block: Path, data: Path) -> None:
    """Into the folder of a Prometheus, by one rename. Raises StateUnusable."""
    target = data / block.name
    with usable(data):
        try:
            block.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            unfinished = data / f"{block.name}{_UNFINISHED}"
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(block, unfinished)
            for path in [*_files(unfinished), unfinished]:
                sync(path)
            unfinished.rename(target)
            shutil.rmtree(block)
        sync(data)


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("*"))


def sync(path: Path) -> None:
    """Have the disk hold a file or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_without_room(folder: Path, needed: int) -> None:
    """Raise StateUnusable when fewer than `needed` bytes are free there."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise full(folder, f"has {free >> 20} MiB free and {-(-needed >> 20)} MiB are needed")


def full(folder: Path, reason: str = "is on a full disk") -> StateUnusable:
    return StateUnusable(
        str(folder), reason, "free some space, then run the same command again: it goes on"
    )
