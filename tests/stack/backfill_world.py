"""A real Prometheus with a past of known events: in blocks, in its memory, and the tiles of rules."""

from __future__ import annotations

import math
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import urllib3

from opsloop.catalog.units import Duration
from opsloop.compile.slo_budget import SETTLED
from opsloop.compile.slo_names import SLI
from opsloop.compile.slo_past import LAST_LINE, Tiles, pasts, recorded
from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_windows import counted
from opsloop.compile.yamltext import dump
from opsloop.stack.backfill import Estimate, Result, estimate, run
from opsloop.stack.backfill_pieces import Target
from opsloop.stack.tsdb import Tsdb
from tests.support.net import free_port
from tests.support.servers import Server, prometheus, require

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
INSTANCES = {"a": 7_000, "b": 23_000}  # when in a minute each is scraped
DELAY = 10_000  # of the tiles: the scrape timeout of the objectives of these tests


@cache
def events(minute: int, service: str = "api") -> tuple[int, int]:
    """(all, failed) of a minute: twenty times more by day than at night, two kinds of bursts."""
    day = 1.05 - math.cos(2 * math.pi * (minute % 1440) / 1440)
    total = int(40 * day) + minute * 7919 % 7 + len(service)
    failed = 0
    if minute % 1440 in range(700, 712):
        failed = total // 4
    elif minute % 4013 < 3:
        failed = total // 2
    return total, failed


@dataclass
class History:
    """Counters of `service` from `first` to `last` minute, and what is true of them."""

    first: int
    last: int
    service: str = "api"
    resets: frozenset[int] = frozenset()
    scraped: Mapping[str, int] = field(default_factory=lambda: dict(INSTANCES))

    def series(self) -> Iterator[tuple[dict[str, str], list[tuple[int, float]]]]:
        """Labels, and (milliseconds, value). A code that never came has no series yet."""
        for nth, (instance, offset) in enumerate(self.scraped.items()):
            good: list[tuple[int, float]] = []
            bad: list[tuple[int, float]] = []
            count = {"200": 1000, "500": 0}
            for minute in range(self.first, self.last + 1):
                if minute in self.resets:
                    count = {"200": 0, "500": 0}
                total, failed = self.of(nth, minute)
                count["200"] += total - failed
                count["500"] += failed
                at = minute * MINUTE + offset
                good.append((at, float(count["200"])))
                if bad or failed:
                    bad.append((at, float(count["500"])))
            for code, points in (("200", good), ("500", bad)):
                labels = {"job": self.service, "instance": instance, "service": self.service}
                yield {"__name__": "http_requests_total", **labels, "code": code}, points

    def of(self, nth: int, minute: int) -> tuple[int, int]:
        """(all, failed) of one instance."""
        total, failed = events(minute, self.service)
        return (total // 2, failed // 2) if nth else (total - total // 2, failed - failed // 2)

    def tile(self, at: int) -> tuple[int, int]:
        """(all, failed) of the tile of that moment; the first scrape counts nothing."""
        found = [0, 0]
        for nth, offset in enumerate(self.scraped.values()):
            minute = (at - DELAY - offset) // MINUTE
            if self.first < minute <= self.last:
                total, failed = self.of(nth, minute)
                found[0] += total
                found[1] += failed
        return found[0], found[1]

    def true(self, first: int, end: int, phase: int) -> tuple[int, int]:
        """(all, failed) of the tiles of first < time <= end."""
        begin = first + 1 + (phase - first - 1) % MINUTE
        tiles = [self.tile(t) for t in range(begin, end + 1, MINUTE)]
        return sum(t[0] for t in tiles), sum(t[1] for t in tiles)

    def tiles(self, grid: range) -> Tiles:
        told = {t: self.tile(t) for t in grid}
        return Tiles(*({t: float(v[n]) for t, v in told.items()} for n in (0, 1)))


class World:
    """A folder with the data of a Prometheus, started as often as a test wants."""

    def __init__(self, folder: Path, specs: Sequence[SLOSpec]) -> None:
        self.folder = folder
        self.data = folder / "prometheus-data"
        self.journal = folder / "backfill"
        self.specs = list(specs)
        self.pasts = pasts(specs)
        self.port = free_port()
        self.data.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> Target:
        return Target(self.data, self.journal, require("promtool"))

    def remember(self, lines: Iterable[str]) -> None:
        """Samples as blocks."""
        text = self.folder / "past.om"
        with text.open("w") as out:
            out.writelines(lines)
            out.write(LAST_LINE)
        subprocess.run(
            [
                *(str(require("promtool")), "tsdb", "create-blocks-from"),
                *("--max-block-duration=162h", "openmetrics", "-q", str(text), str(self.data)),
            ],
            check=True,
            capture_output=True,
        )
        text.unlink()

    def start(self, *flags: str, rules: bool = True) -> AbstractContextManager[Server]:
        """With the rules of the objectives; nothing is scraped, and remote write is taken."""
        file = self.folder / "slo.yml"
        # The rules are there and are not evaluated: what they would write now, hours after the
        # past that is told, would make Prometheus cut its memory.
        groups = [{**group, "interval": "1000d"} for group in slo_groups(self.specs)]
        file.write_text(dump({"groups": groups if rules else []}))
        every = (
            "--storage.tsdb.retention.time=90d",
            "--web.enable-remote-write-receiver",
            *flags,
        )
        return prometheus(f"rule_files: [{file}]\n", self.folder, port=self.port, flags=every)


def evaluate(server: Server, specs: Sequence[SLOSpec], at: int) -> None:
    """Write what every recording rule answers at `at` (ms), in the order of the rules."""
    for group in slo_groups(specs):
        for rule in group["rules"]:
            if "record" not in rule:
                continue
            found = server.get("/api/v1/query", query=rule["expr"], time=f"{at / 1000:.3f}")
            own = {**rule.get("labels", {}), "__name__": rule["record"]}
            samples = [
                ({**item["metric"], **own}, at, float(item["value"][1]))
                for item in found["data"]["result"]
            ]
            write(server, samples)


class Shown:
    """A display that keeps what it is told; `then` is called after each piece."""

    def __init__(self, then: Callable[[int], None] = lambda _: None) -> None:
        self.said: list[str] = []
        self.pieces: list[int] = []
        self._then = then

    def say(self, text: str) -> None:
        self.said.append(text)

    def piece(self, done: int, of: int, first: int, samples: int, left_s: float) -> None:
        assert 0 < done <= of
        assert left_s >= 0
        self.pieces.append(done)
        self._then(done)


def look(world: World, now: int, length: int) -> Estimate:
    """The estimate."""
    return estimate(Tsdb(world.url), world.target, world.pasts, now - length, now)


def fill(world: World, now: int, length: int, shown: Shown | None = None) -> Result:
    """A run, without the minute in which a running Prometheus does not look for new blocks."""
    tsdb = Tsdb(world.url, recovery_s=0)
    shown = shown or Shown()
    return run(tsdb, world.target, world.pasts, now - length, now, shown, seen_within_s=0)[1]


def raw_lines(history: History, before: int = 1 << 62) -> Iterator[str]:
    """As text, what was scraped before that moment."""
    for labels, points in history.series():
        name = labels.pop("__name__")
        words = ",".join(f'{k}="{v}"' for k, v in labels.items())
        for at, value in points:
            if at < before:
                yield f"{name}{{{words}}} {value!r} {at / 1000:.3f}\n"


def write(server: Server, samples: Iterable[tuple[Mapping[str, str], int, float]]) -> None:
    """Into the memory of Prometheus, by remote write; in the order of their times."""
    ordered = sorted(samples, key=lambda s: s[1])
    for at in range(0, len(ordered), 2000):
        body = b"".join(
            _field(1, b"".join(map(_label, sorted(labels.items()))) + _sample(ms, value))
            for labels, ms, value in ordered[at : at + 2000]
        )
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        with urllib3.PoolManager(retries=False, timeout=30.0) as pool:
            answer = pool.request(
                "POST", f"{server.url}/api/v1/write", body=_snappy(body), headers=headers
            )
        assert answer.status in (200, 204), answer.data


def raw_samples(
    history: History, first: int, end: int
) -> Iterator[tuple[dict[str, str], int, float]]:
    """What was scraped in first <= time < end."""
    for labels, points in history.series():
        yield from ((labels, at, value) for at, value in points if first <= at < end)


def rule_samples(
    history: History, sli: str, first: int, end: int
) -> Iterator[tuple[dict[str, str], int, float]]:
    """What rules that began with the tile of `first` had written before `end`."""
    grid = range(first, end + HOUR, MINUTE)  # beyond the end, so that a page stays open there
    for (name, _), points in recorded(history.tiles(grid), grid).items():
        labels = {"__name__": name, SLI: sli, "service": history.service}
        yield from ((labels, at, value) for at, value in points if at < end)


def counts(server: Server, at: int, window: Duration, sli: str) -> tuple[int, int]:
    """(all, failed) of the window as the budget rules count them, evaluated at `at` (ms)."""
    found = []
    for kind in ("total", "errors"):
        expr = counted(kind, window, f'{SLI}="{sli}"', SETTLED)
        answer = server.get("/api/v1/query", query=expr, time=f"{at / 1000:.3f}")["data"]["result"]
        assert len(answer) == 1, (kind, answer)
        found.append(int(answer[0]["value"][1]))
    return found[0], found[1]


def count(server: Server, selector: str, at: int, window: str = "60d") -> float:
    """How many samples `selector` has before `at` (ms)."""
    expr = f"sum(count_over_time({selector}[{window}]))"
    answer = server.get("/api/v1/query", query=expr, time=f"{at / 1000:.3f}")["data"]["result"]
    return float(answer[0]["value"][1]) if answer else 0.0


# Protocol buffers and snappy, as much as remote write needs


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _label(pair: tuple[str, str]) -> bytes:
    return _field(1, _field(1, pair[0].encode()) + _field(2, pair[1].encode()))


def _sample(at: int, value: float) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at))


def _snappy(data: bytes) -> bytes:
    """Literals only."""
    out = _varint(len(data))
    for at in range(0, len(data), 60_000):
        part = data[at : at + 60_000]
        out += bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part
    return out
