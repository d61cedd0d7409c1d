"""Which series carry a service's signals: metric profiles, own selectors, rate windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog, Metrics
from opsloop.catalog.selector import Matcher, Selector, one_of, quote
from opsloop.catalog.units import Duration

__all__ = ["Matcher", "Selector", "one_of", "quote"]

HTTP = Metrics(
    requests="http_requests_total",
    errors='http_requests_total{code=~"5.."}',
    latency="http_request_duration_seconds",
)
BY_SERVICE = ", ".join(names.SERVICE_LABELS)
BY_INSTANCE = f"{BY_SERVICE}, {names.INSTANCE}"
RECORDED_WINDOW = Duration(60_000)  # of the rules whose name ends in rate1m


def metrics_of(catalog: Catalog, service: str) -> Metrics:
    """The selectors of a service; a service without a profile has none."""
    declared = catalog.services[service].metrics
    if isinstance(declared, Metrics):
        return declared
    return HTTP if declared == "http" else Metrics()


def scrape_interval(catalog: Catalog, service: str) -> Duration:
    return catalog.services[service].scrape.interval or catalog.stack.scrape_interval


def scrape_timeout(catalog: Catalog, service: str) -> Duration:
    """Never longer than the interval, which Prometheus would refuse."""
    scrape = catalog.services[service].scrape
    wanted = scrape.timeout or catalog.stack.effective_scrape_timeout
    return Duration(min(int(wanted), int(scrape_interval(catalog, service))))


def rate_window(catalog: Catalog, service: str, wanted: Duration) -> Duration:
    """At least four scrapes: a rate over fewer loses its value when one scrape is late."""
    return Duration(max(int(wanted), 4 * int(scrape_interval(catalog, service))))


def windows(catalog: Catalog, service: str) -> tuple[Duration, Duration]:
    """(long, short) windows of a service's rate alerts; the short one resets them after a cure.

    They are one where the short one would be hardly shorter.
    """
    long = rate_window(catalog, service, catalog.services[service].alerts.window)
    short = rate_window(catalog, service, Duration(int(long) // 4))
    return long, long if 4 * int(short) > 3 * int(long) else short


@dataclass(frozen=True, slots=True)
class Signal:
    """Services that share selectors and a window, so that one expression serves them all."""

    metrics: Metrics
    window: Duration
    services: tuple[str, ...]

    @property
    def _service(self) -> str:
        return one_of(names.SERVICE, self.services)

    def _series(self, selector: str, suffix: str = "") -> str:
        return Selector.parse(selector).where(self._service, suffix=suffix)

    def _rate(self, selector: str, window: Duration | None, suffix: str = "") -> str:
        return f"rate({self._series(selector, suffix)}[{window or self.window}])"

    def requests(self, window: Duration | None = None) -> str | None:
        """Events a second by service."""
        text = self.metrics.requests
        return f"sum by ({BY_SERVICE}) ({self._rate(text, window)})" if text else None

    def errors(self, window: Duration | None = None) -> str | None:
        """Failed events a second by service; no series where none ever failed."""
        text = self.metrics.errors
        return f"sum by ({BY_SERVICE}) ({self._rate(text, window)})" if text else None

    def ratio(self, window: Duration | None = None) -> str | None:
        """Share of failed events; no value without traffic, 0 where nothing ever failed."""
        requests, errors = self.requests(window), self.errors(window)
        if requests is None or errors is None:
            return None
        return f"(\n  {errors}\nor\n  0 * {requests}\n)\n/\n({requests} > 0)"

    def events(self) -> str | None:
        """How many events the window holds, by service."""
        if (text := self.metrics.requests) is None:
            return None
        return f"sum by ({BY_SERVICE}) (increase({self._series(text)}[{self.window}]))"

    def timed(self) -> str | None:
        """How many events of the histogram the window holds, by service."""
        if (text := self.metrics.latency) is None:
            return None
        series = Selector.parse(text).where(f'le="+Inf",{self._service}', suffix="_bucket")
        return f"sum by ({BY_SERVICE}) (increase({series}[{self.window}]))"

    def latency(self, quantile: float, window: Duration | None = None) -> str | None:
        """A quantile in seconds; NaN without traffic."""
        text = self.metrics.latency
        if text is None:
            return None
        rate = self._rate(text, window, suffix="_bucket")
        inner = f"sum by (le, {BY_SERVICE}) ({rate})"
        return f"histogram_quantile({quantile}, {inner})"


def signals(catalog: Catalog, services: Iterable[str], window: Duration) -> list[Signal]:
    """Services grouped by selectors and effective window, sorted by their first name."""
    groups: dict[tuple[str, int], list[str]] = {}
    for name in sorted(services):
        metrics = metrics_of(catalog, name)
        if metrics == Metrics():
            continue
        key = (metrics.model_dump_json(), int(rate_window(catalog, name, window)))
        groups.setdefault(key, []).append(name)
    return [
        Signal(metrics_of(catalog, members[0]), Duration(key[1]), tuple(members))
        for key, members in groups.items()
    ]
