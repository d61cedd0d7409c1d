"""Samples into a real Prometheus by remote write, with the stale markers that failed scrapes leave."""

from __future__ import annotations

import struct
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

STALE = struct.pack("<Q", 0x7FF0000000000002)
_SAMPLE = b"\x12\x10\x09"  # field 2, 16 bytes: field 1 as double, field 2 as varint of 6 bytes
_NUMBER = struct.Struct("<d").pack


def moment(milliseconds: int) -> bytes:
    """A timestamp as the end of a sample. Six bytes hold the years 1971 to 2109."""
    found = bytearray()
    while milliseconds > 127:
        found.append(milliseconds & 127 | 128)
        milliseconds >>= 7
    found.append(milliseconds)
    if len(found) != 6:
        raise ValueError("a time outside of what six bytes hold")
    return b"\x10" + bytes(found)


@dataclass
class Series:
    """One series: its samples in the order of time, already in the form of the wire."""

    metric: str
    labels: Mapping[str, str]
    parts: list[bytes] = field(default_factory=list)

    def add(self, at: bytes, value: float) -> None:
        self.parts += (_SAMPLE, _NUMBER(value), at)

    def end(self, at: bytes) -> None:
        """The scrape at this time did not bring it."""
        self.parts += (_SAMPLE, STALE, at)

    def __len__(self) -> int:
        return len(self.parts) // 3

    def encoded(self) -> bytes:
        named = sorted({"__name__": self.metric, **self.labels}.items())
        pairs = (_field(1, k.encode()) + _field(2, v.encode()) for k, v in named)
        return b"".join([*(_field(1, p) for p in pairs), *self.parts])


def write(url: str, series: Iterable[Series]) -> int:
    """Send them in one request; the number of samples. Raises RuntimeError with its reason."""
    filled: Sequence[Series] = [s for s in series if s.parts]
    if not filled:
        return 0
    body = b"".join(_field(1, s.encoded()) for s in filled)
    request = urllib.request.Request(
        f"{url}/api/v1/write",
        data=_snappy(body),
        headers={
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=120):
            return sum(len(s) for s in filled)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"samples are refused: {error.read().decode()[:500]}") from None


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _snappy(content: bytes) -> bytes:
    """A block of one literal: nothing is compressed, and nothing needs to be on loopback."""
    return _varint(len(content)) + b"\xfc" + struct.pack("<I", len(content) - 1) + content
