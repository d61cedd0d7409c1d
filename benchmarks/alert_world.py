"""What a running system would show: traffic by day and night, deploys, spikes, lost scrapes, faults."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.alert_catalog import SCRAPE_S, Target
from benchmarks.alert_write import Series, moment
from benchmarks.slo_traffic import _drawn

HOUR, DAY = 3600, 86400
TIMEOUT_S = 10.0
BASE_ERRORS = 0.0002
BOUNDS = (0.1, 0.3, 0.5, 1.0, 2.5)
SLOWER = (0.12, 0.03, 0.01, 0.002, 0.0)  # share of requests beyond each bound, when all is well
LOST = 0.0002  # share of scrapes: one a day of each target
# Requests a second and instance: at midnight, at noon; and the hours without any.
TRAFFIC = {"checkout": (2.0, 40.0, ()), "search": (0.5, 15.0, range(6)), "api": (1.0, 30.0, ())}


@dataclass(frozen=True)
class Effect:
    """Something that happens to one job from begin to end (seconds of the segment).

    what: down (no answer), hang (no answer in time), errors, slow (a share of requests), traffic
    (a factor), or a metric: its value, or what a counter grows by in a second; None: it is gone.
    to: the value at the end, where it moves. nth: of the job's instances; None: all.
    """

    what: str
    job: str
    begin: float
    end: float
    value: float | None = 1.0
    to: float | None = None
    nth: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def at(self, seconds: float) -> float:
        start = self.value or 0.0
        if self.to is None:
            return start
        return start + (self.to - start) * (seconds - self.begin) / (self.end - self.begin)

    def part(self, until: float) -> float:
        """The share of the scrape interval before `until` in which it holds."""
        return max(0.0, min(until, self.end) - max(until - SCRAPE_S, self.begin)) / SCRAPE_S


@dataclass(frozen=True)
class Segment:
    """A stretch of time by itself. start: unix time; seldom: seconds between samples of gauges."""

    name: str
    start: int
    seconds: int
    effects: tuple[Effect, ...]
    seed: int
    seldom: int = SCRAPE_S

    def chance(self, target: Target) -> random.Random:
        return random.Random(f"{self.seed} {self.name} {target.job} {target.instance}")


Value = Callable[[float, random.Random], float]


@dataclass(frozen=True)
class Shown:
    """A metric of a target that is no service. A counter's value is what it grows by in a second."""

    metric: str
    value: Value
    labels: Mapping[str, str] = field(default_factory=dict)
    counter: bool = False


def phase(chance: random.Random) -> float:
    """Each target is scraped at its own moment of an interval."""
    return round(chance.uniform(0.05, SCRAPE_S - 0.05), 3)


class Http:
    """One instance of a service: counters of requests and a histogram."""

    def __init__(
        self, target: Target, segment: Segment, effects: Sequence[Effect], chance: random.Random
    ) -> None:
        self.target, self.segment, self.effects, self.chance = target, segment, effects, chance
        self.up = Series("up", target.labels)
        self.lasted = Series("scrape_duration_seconds", target.labels)
        self.codes = {
            c: Series("http_requests_total", {**target.labels, "code": c}) for c in ("200", "500")
        }
        bounds = [*(f"{b:g}" for b in BOUNDS), "+Inf"]
        histogram = "http_request_duration_seconds"
        self.buckets = [Series(f"{histogram}_bucket", {**target.labels, "le": b}) for b in bounds]
        self.timed = Series(f"{histogram}_count", target.labels)
        self.counts: dict[str, int] = {}

    def scraped(self) -> list[Series]:
        """Every scrape of the segment, in order."""
        segment = self.segment
        first = phase(self.chance)
        answered = False
        for step in range(segment.seconds // SCRAPE_S):
            at = first + step * SCRAPE_S
            wire = moment(round((segment.start + at) * 1000))
            acting = [e for e in self.effects if e.begin < at and e.end > at - SCRAPE_S]
            away = next(
                (e for e in acting if e.what in ("down", "hang") and e.begin <= at < e.end), None
            )
            if away is not None and away.what == "down":
                self.counts = {}  # a new process counts from 0
            lost = away is not None or self.chance.random() < LOST
            if away is None:
                self._serve(at, acting)
            self._tell(wire, lost, answered, away)
            answered = not lost
        return [self.up, self.lasted, self.timed, *self.codes.values(), *self.buckets]

    def _serve(self, at: float, acting: Sequence[Effect]) -> None:
        """The requests of the last interval."""
        factor = math.prod(
            1 + ((e.value or 0.0) - 1) * e.part(at) for e in acting if e.what == "traffic"
        )
        failing = BASE_ERRORS + sum(e.at(at) * e.part(at) for e in acting if e.what == "errors")
        slow = sum(e.at(at) * e.part(at) for e in acting if e.what == "slow")
        mean = factor * rate(self.target.service, self.segment.start + at) * SCRAPE_S
        events = _drawn(self.chance, mean)
        bad = min(events, _drawn(self.chance, events * failing))
        self._count("200", events - bad)
        self._count("500", bad)
        self._count("+Inf", events)
        beyond = events
        for bound, share in zip(BOUNDS, SLOWER, strict=True):
            more = slow if bound < 1 else slow / 2 if bound < 2 else 0.0
            beyond = min(beyond, _drawn(self.chance, events * min(1.0, share + more)))
            self._count(f"{bound:g}", events - beyond)

    def _count(self, key: str, events: int) -> None:
        self.counts[key] = self.counts.get(key, 0) + events

    def _tell(self, wire: bytes, lost: bool, answered: bool, away: Effect | None) -> None:
        self.up.add(wire, 0.0 if lost else 1.0)
        late = lost and (away is None or away.what == "hang")
        self.lasted.add(wire, TIMEOUT_S if late else 0.01)
        told = [*self.codes.items(), *((s.labels["le"], s) for s in self.buckets)]
        told.append(("+Inf", self.timed))
        for key, series in told:
            if lost:
                if answered:
                    series.end(wire)
            elif key != "500" or self.counts.get(key):  # no series before the first error
                series.add(wire, self.counts[key])


def rate(service: str, at: float) -> float:
    """Requests a second that an instance has at this time of the day and week."""
    night, noon, idle = TRAFFIC[service]
    hour = at % DAY / HOUR
    if int(hour) in idle:
        return 0.01
    wave = (1 - math.cos(2 * math.pi * hour / 24)) / 2
    weekend = 0.6 if (at // DAY + 3) % 7 >= 5 else 1.0  # 1970 began on a Thursday
    return weekend * night * math.pow(noon / night, wave)
