"""The console's own metrics: requests, how long they took, and what its questions cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opsloop.web.metrics import CONTENT_TYPE
from opsloop.web.world import World

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ConsoleMetrics:
    """One registry."""

    content_type = CONTENT_TYPE

    def __init__(self, world: World) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "opsloop_console_requests",
            "Answers by status.",
            ["status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "opsloop_console_request_seconds",
            "From a request to the first byte of its answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Questions(world))

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            began = time.perf_counter()

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._requests.labels(f"{message['status'] // 100}xx").inc()
                    self._seconds.observe(time.perf_counter() - began)
                await send(message)

            await app(scope, receive, watched)

        return counted


class _Questions(Collector):
    def __init__(self, world: World) -> None:
        self._world = world

    def describe(self) -> Iterator[Metric]:
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        shared = self._world.shared
        yield CounterMetricFamily(
            "opsloop_console_questions", "What pages asked for.", value=shared.asked
        )
        yield CounterMetricFamily(
            "opsloop_console_questions_made",
            "Of these, what was asked of Prometheus, Alertmanager and the store.",
            value=shared.made,
        )
