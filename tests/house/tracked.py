"""The files that git knows, or would add: what the rules of the house are about."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def tracked() -> tuple[Path, ...]:
    """Paths relative to the root, of files that exist and are not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return tuple(sorted({Path(p) for p in listing.split("\0") if p and (ROOT / p).is_file()}))


def text_of(path: Path) -> str | None:
    """The text of a tracked file; None when it is no text (a picture)."""
    data = (ROOT / path).read_bytes()
    return None if b"\0" in data else data.decode()


def python_files(*folders: str) -> list[Path]:
    """Tracked Python files below these folders."""
    return [p for p in tracked() if p.suffix == ".py" and p.parts[0] in folders]
