"""Port offsets for whole stacks, so that stacks of tests stand beside each other."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from tests.support.net import is_free

# The default ports of the stack and of the shop.
_PORTS = (3000, 8000, 8001, 8002, 8003, 8004, 8080, 8081, 8082, 9090, 9093, 9100, 9115, 9187, 5433)
_STEP = 31  # no multiple of it below 1800 is the difference of two default ports
_held: list[IO[str]] = []  # the locks of this process, released when it ends


def free_port_base() -> int:
    """An offset at which every default port is free, and that no other test process holds.

    All ports stay below 20000, where `free_ports` begins.
    """
    folder = Path(tempfile.gettempdir()) / f"opsloop-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for base in range(9000, 10800, _STEP):
        lock = (folder / str(base)).open("w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        if all(is_free(port + base) for port in _PORTS):
            _held.append(lock)
            return base
        lock.close()
    raise RuntimeError("no free port offset between 9000 and 10800")
