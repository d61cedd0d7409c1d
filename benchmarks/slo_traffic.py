"""Traffic with known event counts: the counters that Prometheus would see, and what was true."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

MINUTE = 60
DAY = 1440  # minutes
INSTANCES = ("10.0.0.1:8000", "10.0.0.2:8000")
PHASES = (7.3, 41.9)  # seconds after the full minute at which an instance is scraped
QUIET, PEAK = 20.0, 400.0  # events a minute and instance, at night and at noon
ERRORS = 0.0005  # share, when nothing is wrong
Rate = Callable[[int], float]


@dataclass(frozen=True)
class Kind:
    """One kind of traffic. Times are minutes from the start."""

    name: str
    rate: Rate
    share: Rate  # of errors
    born: int = 0
    restarts: tuple[int, ...] = ()
    lost: float = 0.0  # share of scrapes
    gap: tuple[int, int] = (0, 0)  # minutes without a scrape
    errors_from: int = 0  # no error before, so no error series
    allowed: float = 0.001  # relative error of ratio and count


@dataclass
class Truth:
    """Events and errors of each minute, over all instances."""

    total: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)

    def between(self, first: int, last: int) -> tuple[int, int]:
        """(events, errors) of minutes first..last-1."""
        return sum(self.total[first:last]), sum(self.errors[first:last])


def rhythm(at: int) -> float:
    """A day: 20 times as much at noon as at midnight."""
    wave = (1 - math.cos(2 * math.pi * (at % DAY) / DAY)) / 2
    return QUIET * math.pow(PEAK / QUIET, wave)


def flat(_at: int) -> float:
    return 120.0


def _burst(*spans: tuple[int, int, float]) -> Rate:
    """The usual share of errors, and another in each (first minute, length, share)."""

    def share(at: int) -> float:
        for first, length, height in spans:
            if first <= at < first + length:
                return height
        return ERRORS

    return share


def _nights_off(at: int) -> float:
    return 0.0 if at % DAY < 360 else rhythm(at)


def _rare(_at: int) -> float:
    """One event in five minutes, over both instances."""
    return 0.1


def kinds(days: int) -> list[Kind]:
    """Eleven kinds; incidents lie in the middle of the run."""
    middle = days // 2 * DAY
    night, noon = (middle + 60, 45, 0.5), (middle + 700, 45, 0.2)
    chance = random.Random(60)
    count = 60 * days // 32
    restarts = tuple(sorted(chance.sample(range(DAY, days * DAY), count)))
    return [
        Kind("day rhythm", rhythm, _burst()),
        Kind("night burst", rhythm, _burst(night)),
        Kind("peak burst", rhythm, _burst(noon)),
        Kind("night and peak burst", rhythm, _burst(night, noon)),
        Kind("flat", flat, _burst((middle, 30, 0.1))),
        Kind(f"{count} restarts", rhythm, _burst(noon), restarts=restarts, allowed=0.003),
        Kind(
            "lost scrapes, 20m gap in a burst",
            rhythm,
            _burst(noon),
            lost=0.02,
            gap=(middle + 710, middle + 730),
        ),
        Kind("idle nights", _nights_off, _burst(noon)),
        Kind(
            "five days old", rhythm, _burst(((days - 2) * DAY + 60, 45, 0.5)), born=(days - 5) * DAY
        ),
        Kind("very low traffic", _rare, lambda _at: 0.02),
        Kind("error series appears late", rhythm, _burst(night), errors_from=middle),
    ]


def generate(kind: Kind, service: str, days: int, start: int, seed: int) -> tuple[list[str], Truth]:
    """(OpenMetrics lines of its series, truth). start: unix time, a full day."""
    chance = random.Random(f"{seed} {kind.name}")
    truth = Truth([0] * (days * DAY), [0] * (days * DAY))
    lines: list[str] = []
    for nth, (instance, phase) in enumerate(zip(INSTANCES, PHASES, strict=True)):
        lines += _instance(kind, service, nth, instance, start + phase, truth, chance)
    return lines, truth


def _instance(
    kind: Kind,
    service: str,
    nth: int,
    instance: str,
    first: float,
    truth: Truth,
    chance: random.Random,
) -> Iterator[str]:
    """Lines of one instance; adds its events to the truth."""
    labels = f'service="{service}",job="{service}",instance="{instance}"'
    restarts = set(kind.restarts[nth :: len(INSTANCES)])
    good = failed = 0
    seen_failed = False
    good_lines: list[str] = []
    failed_lines: list[str] = []
    for at in range(kind.born, len(truth.total)):
        time = f"{first + at * MINUTE:.3f}"
        if not (kind.gap[0] <= at < kind.gap[1]) and chance.random() >= kind.lost:
            good_lines.append(f'http_requests_total{{{labels},code="200"}} {good} {time}')
            if seen_failed:
                failed_lines.append(f'http_requests_total{{{labels},code="500"}} {failed} {time}')
        events = _drawn(chance, kind.rate(at))
        share = kind.share(at) if at >= kind.errors_from else 0.0
        errors = min(events, _drawn(chance, events * share))
        truth.total[at] += events
        truth.errors[at] += errors
        if at in restarts:  # what came before it in this minute, nobody ever reads
            after = chance.random()
            good, failed = 0, 0
            events, errors = round(events * after), round(errors * after)
            seen_failed = errors > 0
        good += events - errors
        failed += errors
        seen_failed = seen_failed or errors > 0
    yield from good_lines
    yield from failed_lines


def _drawn(chance: random.Random, mean: float) -> int:
    """A whole number with this mean: uneven for small means, near it for large ones."""
    if mean > 50:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    whole = int(mean)
    return whole + (chance.random() < mean - whole)


def write(out: TextIO, lines: list[str]) -> None:
    """One OpenMetrics text of all services."""
    out.write("# TYPE http_requests counter\n")
    out.write("\n".join(lines))
    out.write("\n# EOF\n")
