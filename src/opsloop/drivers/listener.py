"""Who listens on a port, by /proc: an answer from there says nothing while an orphan gives it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LISTEN: Final = "0A"


def listens(pid: int, port: int) -> bool | None:
    """Whether process `pid`, or one below it, listens on TCP `port` of this machine.

    None when that cannot be known: no /proc, or a process of another user.
    """
    try:
        sockets = _listeners(port)
        if not sockets:
            return False
        if _holds(pid, sockets):
            return True
        return any(_holds(child, sockets) for child in _below(pid))
    except OSError:
        return None


def _listeners(port: int) -> set[str]:
    """`socket:[INODE]` of everything that listens on the port."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{fields[9]}]")
    return found


def _holds(pid: int, sockets: set[str]) -> bool:
    """Raises PermissionError for a process of another user."""
    try:
        names = os.listdir(_PROC / str(pid) / "fd")  # noqa: PTH208 - names are all it takes
    except (FileNotFoundError, ProcessLookupError):
        return False
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(_PROC / str(pid) / "fd" / name) in sockets:  # noqa: PTH115
                return True
    return False


def _below(pid: int) -> list[int]:
    """Every process below `pid`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(_PROC):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError):
                text = (_PROC / name / "stat").read_text(errors="replace")
                parent = int(text.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
