"""The engine's own metrics, all with the prefix `opsloop_`; also the Signals port of the core."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator, Mapping
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
        self._core: dict[str, Counter | Histogram] = {}
        self._lock = threading.Lock()

    def count(self, name: str, **labels: str) -> None:
        """One more of opsloop_NAME_total."""
        metric = self._core.get(name)
        if metric is None:
            metric = self._make(name, lambda full: self._counter(full, sorted(labels)))
        if isinstance(metric, Counter):
            (metric.labels(**labels) if labels else metric).inc()

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """One duration into the histogram opsloop_NAME_seconds."""
        metric = self._core.get(name)
        if metric is None:
            metric = self._make(name, lambda full: self._histogram(full, sorted(labels)))
        if isinstance(metric, Histogram):
            (metric.labels(**labels) if labels else metric).observe(seconds)

    def read_at_scrape(self, facts: Callable[[], Facts], described: Mapping[str, str]) -> None:
        """Gauges from `facts`; described: name -> "help | label, label". Facts that cannot be
        read are left out."""
        self.registry.register(_Read(facts, described))

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def _make(self, name: str, make: Callable[[str], Counter | Histogram]) -> Counter | Histogram:
        with self._lock:
            if name not in self._core:
                self._core[name] = make(f"opsloop_{name}")
            return self._core[name]

    def _counter(self, full: str, labels: list[str]) -> Counter:
        return Counter(full, full.replace("_", " "), labels, registry=self.registry)

    def _histogram(self, full: str, labels: list[str]) -> Histogram:
        full = full if full.endswith("_seconds") else f"{full}_seconds"
        return Histogram(
            full, full.replace("_", " "), labels, buckets=_SECONDS, registry=self.registry
        )


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
        requests = CounterMetricFamily(
            "opsloop_intake_requests",
            "Webhooks by what became of them; all but accepted were refused.",
            labels=["outcome"],
        )
        for outcome, count in list(self.outcomes.items()):
            requests.add_metric([outcome], count)
        yield requests
        yield CounterMetricFamily(
            "opsloop_intake_alerts", "Alerts of accepted webhooks, durable.", value=self.alerts
        )
        total, buckets = 0, []
        for bound, count in zip([*map(str, _SECONDS), "+Inf"], self._buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        yield HistogramMetricFamily(
            "opsloop_intake_seconds",
            "From a webhook's last byte to its answer, durable.",
            buckets=buckets,
            sum_value=self.seconds,
        )
        yield GaugeMetricFamily(
            "opsloop_watchdog_timestamp_seconds",
            "When the Watchdog alert was heard last; 0: never.",
            value=self.watchdog_at,
        )


class _Read(Collector):
    def __init__(self, facts: Callable[[], Facts], described: Mapping[str, str]) -> None:
        self._facts = facts
        self._described = described

    def describe(self) -> Iterator[Metric]:
        return iter(())  # nothing is read when it is registered

    def collect(self) -> Iterator[Metric]:
        values = self._facts()
        for name, described in self._described.items():
            text, _, labels = described.partition(" | ")
            family = GaugeMetricFamily(name, text, labels=[x for x in labels.split(", ") if x])
            for key, value in values.get(name, {}).items():
                family.add_metric(key, value)
            yield family
