"""Which TCP ports of this machine are listened on, reachable over loopback, and by whom."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from opsloop.stack import processes

_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening port. pid 0 and program empty: a process that this user may not look at."""

    port: int
    host: str  # how it is reached: 127.0.0.1 or [::1]
    pid: int
    program: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def listeners(proc: Path = processes.PROC) -> list[Listener]:
    """Everything that listens on loopback or on all addresses, one for each port, sorted."""
    found: dict[int, tuple[str, str]] = {}  # port -> host, socket inode
    for table in ("tcp", "tcp6"):
        for address, port, inode in _table(proc / "net" / table):
            host = _reached(address)
            if host and (port not in found or host == "127.0.0.1"):
                found[port] = host, inode
    owners = _owners(proc, {inode for _, inode in found.values()})
    return [
        Listener(port, host, pid := owners.get(inode, 0), _program(pid))
        for port, (host, inode) in sorted(found.items())
    ]


def _program(pid: int) -> str:
    """A short name; of a script its file's name, however deep that lies."""
    if not pid:
        return ""
    name = processes.command_of(pid)
    script = next((w for w in processes.arguments(pid)[1:] if not w.startswith("-")), "")
    if " " in name or not script.endswith((".py", ".js", ".jar", ".rb", ".pl")):
        return name
    return f"{name} {Path(script).name}"


def _table(path: Path) -> Iterator[tuple[str, int, str]]:
    """(address as the kernel writes it, port, inode) of each listener in a table of /proc/net."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                address, _, port = fields[1].rpartition(":")
                yield address, int(port, 16), fields[9]


def _reached(address: str) -> str:
    """127.0.0.1 or [::1] when it is listened to there, else empty."""
    found = _address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    if isinstance(found, IPv4Address):
        return "127.0.0.1" if str(found) in ("0.0.0.0", "127.0.0.1") else ""
    if found.is_unspecified:  # takes IPv4 too, as Linux has it by default
        return "127.0.0.1"
    return "[::1]" if found.is_loopback else ""


def _address(text: str) -> IPv4Address | IPv6Address:
    """The kernel writes each 32-bit word of an address in the machine's byte order."""
    raw = bytes.fromhex(text)
    words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
    return ip_address(b"".join(words))


def _owners(proc: Path, inodes: set[str]) -> dict[str, int]:
    """Socket inode -> pid of a process that holds it."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, int] = {}
    for pid in processes.pids():
        with contextlib.suppress(OSError):
            folder = proc / str(pid) / "fd"
            for name in os.listdir(folder):  # noqa: PTH208 - quick, as in processes.pids
                with contextlib.suppress(OSError):
                    inode = wanted.get(os.readlink(folder / name))  # noqa: PTH115 - no real path
                    if inode is not None:
                        found.setdefault(inode, pid)
    return found
