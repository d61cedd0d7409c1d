"""The shop's spool: a folder with a quota, where jobs wait that nobody fetched."""

from __future__ import annotations

import os
import time
from pathlib import Path

LIMIT = 10 * 1024 * 1024  # bytes; a quota of our own, so that a drill needs no disk
FULL = 0.8
OLD_S = 2 * 3600.0
_JOB = 256 * 1024


class Spool:
    """Files of one folder, which all instances share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def used(self) -> float:
        """The share of the quota that is used."""
        try:
            sizes = [entry.stat().st_size for entry in os.scandir(self._folder)]
        except OSError:
            return 0.0
        return sum(sizes) / LIMIT

    def fill(self) -> None:
        """As after hours in which nobody fetched anything."""
        self._folder.mkdir(parents=True, exist_ok=True)
        at = time.time() - OLD_S
        for n in range(LIMIT // _JOB):
            path = self._folder / f"{n:04}.job"
            path.write_bytes(b"\0" * _JOB)
            os.utime(path, (at + n, at + n))

    def clear(self) -> None:
        for path in self._folder.glob("*.job"):
            path.unlink(missing_ok=True)
