"""Histories that rules read, as OpenMetrics text: raw counters, and what rules wrote before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

HOUR, DAY = 3600, 86400
STEP = 60  # seconds between samples
SLI = "http"


@dataclass(frozen=True)
class Fleet:
    """Services that share one metric. `series` each, three of eight of which count errors."""

    services: int
    series: int = 8

    @property
    def names(self) -> list[str]:
        return [f"s{n:05d}" for n in range(self.services)]

    def labels(self, service: str) -> Iterable[str]:
        for nth in range(self.series):
            code = f"50{nth % 8}" if nth % 8 < 3 else f"20{nth % 8}"
            yield f'service="{service}",job="{service}",instance="i{nth // 8}",code="{code}"'


def raw(out: TextIO, fleet: Fleet, end: int, seconds: int) -> int:
    """The counters of the last `seconds`; the number of samples."""
    times = range(end - seconds // STEP * STEP, end + 1, STEP)
    tails = [f" {n * 100} {at}" for n, at in enumerate(times)]
    out.write("# TYPE http_requests counter\n")
    return sum(
        _line(out, f"http_requests_total{{{labels}}}", tails)
        for service in fleet.names
        for labels in fleet.labels(service)
    )


def tiles(out: TextIO, fleet: Fleet, end: int, sli: str | None = SLI) -> int:
    """Two hours of tiles, 30 days of pages, and the open pages that windows begin with.

    sli: of all services; None: each has its own, named as itself.
    """
    count = 0
    recent = [f" {50 + n % 40} {at}" for n, at in enumerate(range(end - 2 * HOUR, end + 1, STEP))]
    hour = end // HOUR * HOUR
    pages = [
        f" {3000 + n % 500} {at}" for n, at in enumerate(range(hour - 31 * DAY, hour + 1, HOUR))
    ]
    begins = [
        at
        for window in (30 * DAY, 3 * DAY, DAY, 6 * HOUR, 2 * HOUR, 0)
        for at in range(end - window - HOUR - 5 * STEP, end - window + 1, STEP)
    ]
    opened = [f" {at % HOUR} {at}" for at in sorted(set(begins))]
    for kinds, suffix, tails in (
        (("total", "errors"), "tile1m", recent),
        (("total", "errors", "minutes"), "page1h", pages),
        (("total", "errors", "minutes"), "open", opened),
    ):
        for kind in kinds:
            out.write(f"# TYPE slo:{kind}:{suffix} gauge\n")
            for name in fleet.names:
                labels = f'service="{name}",sli="{sli or name}"'
                count += _line(out, f"slo:{kind}:{suffix}{{{labels}}}", tails)
    return count


def sloth(out: TextIO, fleet: Fleet, end: int) -> int:
    """30 days of its 5m ratios, which its 30d rule reads."""
    tails = [f" 0.00{n % 9} {at}" for n, at in enumerate(range(end - 30 * DAY, end + 1, STEP))]
    out.write("# TYPE slo:sli_error:ratio_rate5m gauge\n")
    return sum(
        _line(
            out,
            f'slo:sli_error:ratio_rate5m{{sloth_id="{name}-availability",sloth_service="{name}",'
            f'sloth_slo="availability",sloth_window="5m"}}',
            tails,
        )
        for name in fleet.names
    )


def _line(out: TextIO, series: str, tails: Sequence[str]) -> int:
    out.write(series + ("\n" + series).join(tails) + "\n")
    return len(tails)
