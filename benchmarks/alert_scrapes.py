"""What Prometheus would have scraped from each target of a segment."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from benchmarks.alert_catalog import SCRAPE_S, Target
from benchmarks.alert_metrics import metrics_of
from benchmarks.alert_world import LOST, TIMEOUT_S, Effect, Http, Segment, Shown, phase
from benchmarks.alert_write import Series, moment


def show(target: Target, nth: int, segment: Segment) -> list[Series]:
    """All series of a target. nth: which of its job's instances it is."""
    effects = [
        e for e in segment.effects if e.job == target.job and (e.nth is None or e.nth == nth)
    ]
    chance = segment.chance(target)
    if target.kind == "http":
        return Http(target, segment, effects, chance).scraped()
    return list(_gauges(target, segment, effects, chance))


def _gauges(
    target: Target, segment: Segment, effects: Sequence[Effect], chance: random.Random
) -> Iterator[Series]:
    """A target that is no service: each metric is a value, or grows by one.

    Values are told each `seldom` seconds, and at every scrape around a scrape that failed.
    """
    up = Series("up", target.labels)
    lasted = Series("scrape_duration_seconds", target.labels)
    shown = metrics_of(target)
    series = [Series(s.metric, {**target.labels, **s.labels}) for s in shown]
    grown = [0.0] * len(shown)
    first = phase(chance)
    stride = segment.seldom // SCRAPE_S
    lost_at = {k for k in range(segment.seconds // SCRAPE_S) if chance.random() < LOST}
    told_down, last = False, 0.0
    for step in range(segment.seconds // SCRAPE_S):
        at = first + step * SCRAPE_S
        acting = [e for e in effects if e.begin <= at < e.end]
        if step % stride and not acting and step not in lost_at and not told_down:
            continue
        wire = moment(round((segment.start + at) * 1000))
        away = next((e for e in acting if e.what in ("down", "hang")), None)
        down = away is not None or step in lost_at
        late = down and (away is None or away.what == "hang")
        up.add(wire, 0.0 if down else 1.0)
        slow = next((e.at(at) for e in acting if e.what == "scrape_duration_seconds"), 0.02)
        lasted.add(wire, TIMEOUT_S if late else slow)
        for nth, (metric, one) in enumerate(zip(shown, series, strict=True)):
            effect = next((e for e in acting if _meant(e, metric)), None)
            if down or (effect is not None and effect.value is None):
                one.end(wire)
                continue
            value = effect.at(at) if effect else metric.value(segment.start + at, chance)
            if metric.counter:
                grown[nth] += value * (at - last)
                value = math.floor(grown[nth])
            one.add(wire, value)
        told_down, last = down, at
    return iter([up, lasted, *series])


def _meant(effect: Effect, shown: Shown) -> bool:
    return effect.what == shown.metric and effect.labels.items() <= shown.labels.items()
