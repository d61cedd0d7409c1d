"""Free loopback ports."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_FLOOR = 20000
_FEWEST = 2000


def free_ports(n: int) -> list[int]:
    """`n` different ports of 127.0.0.1 that nothing listens on; 0 < n < 200.

    They lie below the range that the kernel gives to outgoing connections, so nothing takes
    one between here and the server's bind by chance. A port is not given twice by one process,
    and two test processes (xdist) start their search at places of their own.
    """
    found: list[int] = []
    for port in itertools.islice(_CANDIDATES, _ceiling() - _FLOOR):
        if is_free(port):
            found.append(port)
            if len(found) == n:
                return found
    raise RuntimeError(f"no {n} free loopback ports between {_FLOOR} and {_ceiling()}")


def free_port() -> int:
    """One port of 127.0.0.1 that nothing listens on."""
    return free_ports(1)[0]


def _candidates() -> Iterator[int]:
    span = _ceiling() - _FLOOR
    for step in itertools.count(os.getpid() * 613):
        yield _FLOOR + step % span


def _ceiling() -> int:
    """The first port that the kernel gives to outgoing connections (32768 on Linux)."""
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        ceiling = int(text.split()[0])
    except (OSError, ValueError):
        ceiling = 32768
    return ceiling if ceiling >= _FLOOR + _FEWEST else 60000


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_CANDIDATES = _candidates()
