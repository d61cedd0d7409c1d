"""Built alerting rules over a past: when each would have been firing, by range queries."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.alert_catalog import Rule
from benchmarks.alert_world import Segment
from benchmarks.alert_write import Series, moment

Labels = tuple[tuple[str, str], ...]
MOST_POINTS = 10_000  # Prometheus answers at most 11,000 of one series


@dataclass(frozen=True)
class Firing:
    """An alert from its first evaluation as firing to the first as resolved; seconds of a segment."""

    alert: str
    labels: Mapping[str, str]
    begin: float
    end: float

    @property
    def service(self) -> str:
        return self.labels.get("service", "")

    @property
    def severity(self) -> str:
        return self.labels.get("severity", "")


def fired(url: str, rule: Rule, segment: Segment, every: float | None = None) -> list[Firing]:
    """When a rule fired in a segment, evaluated as its group is (or `every` so many seconds)."""
    step = every or rule.every
    held: dict[Labels, list[float]] = {}
    for begin, end in stretches(segment, step):
        for labels, values in asked(url, rule.expr, begin, end, step):
            held.setdefault(tuple(sorted(labels.items())), []).extend(at for at, _ in values)
    return [
        Firing(
            rule.alert,
            {**dict(labels), **rule.labels, "alertname": rule.alert},
            begin - segment.start,
            end - segment.start,
        )
        for labels, times in held.items()
        for begin, end in spells(times, step, rule.for_)
    ]


def told_of(firings: Iterable[Firing], segment: Segment, every: float) -> Iterator[Series]:
    """ALERTS, as Prometheus writes it of alerts that fire; `every`: seconds between samples."""
    found: dict[Labels, list[Firing]] = {}
    for firing in firings:
        found.setdefault(tuple(sorted(firing.labels.items())), []).append(firing)
    for labels, some in found.items():
        series = Series("ALERTS", {**dict(labels), "alertstate": "firing"})
        for firing in sorted(some, key=lambda f: f.begin):
            at = firing.begin
            while at < firing.end:
                series.add(moment(round((segment.start + at) * 1000)), 1.0)
                at += every
            series.end(moment(round((segment.start + firing.end) * 1000)))
        yield series


def spells(times: Iterable[float], step: float, wait: float) -> Iterator[tuple[float, float]]:
    """(firing, resolved) of a condition that held at these evaluations, for `wait` at least.

    As the rule manager does it: an alert is pending from the first evaluation at which its
    condition holds, fires at the first that is `wait` later, and ends with the first without.
    """
    begin = last = -math.inf
    for at in sorted(times):
        if at - last > step * 1.5:
            yield from _spell(begin, last, step, wait)
            begin = at
        last = at
    yield from _spell(begin, last, step, wait)


def _spell(begin: float, last: float, step: float, wait: float) -> Iterator[tuple[float, float]]:
    if begin == -math.inf:
        return
    fires = begin + math.ceil(wait / step) * step
    if fires <= last:
        yield fires, last + step


def stretches(segment: Segment, step: float) -> Iterator[tuple[float, float]]:
    at, end = float(segment.start), float(segment.start + segment.seconds)
    while at < end:
        until = min(end, at + (MOST_POINTS - 1) * step)
        yield at, until
        at = until + step


def asked(
    url: str, expr: str, begin: float, end: float, step: float
) -> Iterator[tuple[dict[str, str], list[tuple[float, float]]]]:
    """(labels, [(unix time, value)]) of each series that an expression has in a range."""
    fields = {"query": expr, "start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
    data = urllib.parse.urlencode(fields).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query_range", data, timeout=300) as answer:
            found = json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{expr}: {error.read().decode()[:500]}") from None
    for series in found:
        labels = {k: v for k, v in series["metric"].items() if k != "__name__"}
        yield labels, [(float(at), float(value)) for at, value in series["values"]]
