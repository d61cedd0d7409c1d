"""The engine's own metrics, all with the prefix `opsloop_`; also the Signals port of the core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
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
        self.requests = Counter(
            "opsloop_intake_requests",
            "Webhooks by what became of them; all but accepted were refused.",
            ["outcome"],
            registry=self.registry,
        )
        self.accepted = self.requests.labels("accepted")
        self.alerts = Counter(
            "opsloop_intake_alerts",
            "Alerts that were made durable.",
            registry=self.registry,
        )
        self.latency = Histogram(
            "opsloop_intake_seconds",
            "From a webhook's last byte to its answer, durable.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.watchdog = Gauge(
            "opsloop_watchdog_timestamp_seconds",
            "When the Watchdog alert was heard last; 0: never.",
            registry=self.registry,
        )
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
