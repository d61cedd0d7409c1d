"""The engine's own metrics, all with the prefix `opsloop_`; also the Signals port of the core."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from opsloop.web.signals import CORE, GAUGES, INTAKE, Signal

log = logging.getLogger("opsloop.metrics")
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

Facts = Mapping[str, Mapping[tuple[str, ...], float]]
"""gauge name -> label values -> value, read when Prometheus scrapes."""


class EngineMetrics:
    """Counters of the intake, of the core (by name), and gauges that are read at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.intake = IntakeCounts()
        self.registry.register(self.intake)
        self._core = {signal.name: _made(signal, self.registry) for signal in CORE}
        self._unknown: set[str] = set()

    def count(self, name: str, **labels: str) -> None:
        """One more of opsloop_NAME_total."""
        metric = self._find(f"opsloop_{name}_total")
        if isinstance(metric, Counter):
            (metric.labels(**labels) if labels else metric).inc()

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """One duration into the histogram opsloop_NAME."""
        metric = self._find(f"opsloop_{name}")
        if isinstance(metric, Histogram):
            (metric.labels(**labels) if labels else metric).observe(seconds)

    def _find(self, name: str) -> Counter | Histogram | None:
        """None for one that is not declared: a signal that is forgotten stops no loop."""
        if name not in self._core and name not in self._unknown:
            self._unknown.add(name)
            log.error("the metric %s is not declared in opsloop.web.signals", name)
        return self._core.get(name)

    def read_at_scrape(self, facts: Callable[[], Facts], gauges: Sequence[Signal] = GAUGES) -> None:
        """Gauges from `facts`. Facts that cannot be read are left out."""
        self.registry.register(_Read(facts, gauges))

    def text(self) -> bytes:
        return generate_latest(self.registry)


def _made(signal: Signal, registry: CollectorRegistry) -> Counter | Histogram:
    if signal.kind == "counter":
        return Counter(signal.name, signal.help, signal.labels, registry=registry)
    return Histogram(signal.name, signal.help, signal.labels, buckets=_SECONDS, registry=registry)


class IntakeCounts(Collector):
    """What the intake did. Plain numbers of its one thread: a Counter costs it 2 us a webhook."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {"accepted": 0}
        self.alerts = 0
        self.seconds = 0.0
        self.watchdog_at = 0.0
        self._buckets = [0] * (len(_SECONDS) + 1)

    def refused(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def accepted(self, alerts: int, seconds: float) -> None:
        self.outcomes["accepted"] += 1
        self.alerts += alerts
        self.seconds += seconds
        self._buckets[bisect.bisect_left(_SECONDS, seconds)] += 1

    def describe(self) -> Iterator[Metric]:
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        requests, alerts, seconds, watchdog = INTAKE
        by_outcome = CounterMetricFamily(requests.name, requests.help, labels=requests.labels)
        for outcome, count in list(self.outcomes.items()):
            by_outcome.add_metric([outcome], count)
        yield by_outcome
        yield CounterMetricFamily(alerts.name, alerts.help, value=self.alerts)
        total, buckets = 0, []
        for bound, count in zip([*map(str, _SECONDS), "+Inf"], self._buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        yield HistogramMetricFamily(
            seconds.name, seconds.help, buckets=buckets, sum_value=self.seconds
        )
        yield GaugeMetricFamily(watchdog.name, watchdog.help, value=self.watchdog_at)


class _Read(Collector):
    def __init__(self, facts: Callable[[], Facts], gauges: Sequence[Signal]) -> None:
        self._facts = facts
        self._gauges = gauges

    def describe(self) -> Iterator[Metric]:
        return iter(())  # nothing is read when it is registered

    def collect(self) -> Iterator[Metric]:
        values = self._facts()
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for key, value in values.get(gauge.name, {}).items():
                family.add_metric(key, value)
            yield family
