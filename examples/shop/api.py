"""The shop's API: products and orders over PostgreSQL, with a real queue and fault switches."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import prometheus_client as prometheus
import uvicorn
from certificate import make
from connections import Connections, NoDatabase
from faults import BadFault, Switch, allowed, number, same, secret
from psycopg.conninfo import make_conninfo
from spool import FULL, Spool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

WORKERS = 2  # requests served at once by one instance
SERVICE_TIME_S = 0.05  # what each takes: 2 workers of 50 ms carry 40 requests a second
QUEUE_LIMIT = 200  # requests that may wait, 5 s of work; more get 503 at once
LEAST_CONNECTIONS = 3
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_BODY = 4096  # bytes
FAULTS = ("kill", "hang", "errors", "latency", "leak", "fill", "clear")

Work = Callable[[Request], Awaitable[Response]]


class Signals:
    """What Prometheus reads, and plain true counts beside it."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "http_requests",
            "Requests that were answered.",
            ["method", "route", "code"],
            registry=self.registry,
        )
        self.seconds = prometheus.Histogram(
            "http_request_duration_seconds",
            "Seconds from arrival to answer, waiting included.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = self._gauge("http_requests_in_flight", "Requests waiting or served.")
        self.workers = self._gauge("shop_workers", "Requests that can be served at once.")
        self.busy = self._gauge("shop_workers_busy", "Requests being served.")
        self.queue = self._gauge("shop_queue_length", "Requests that wait for a worker.")
        self.spool = self._gauge("shop_spool_used_ratio", "Share of the spool's quota in use.")
        self.workers.set(WORKERS)
        self.codes: Counter[str] = Counter()
        self.slow = 0  # took longer than 500 ms
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        prometheus.ProcessCollector(registry=self.registry)

    def _gauge(self, name: str, text: str) -> prometheus.Gauge:
        return prometheus.Gauge(name, text, registry=self.registry)

    def expect(self, method: str, route: str) -> None:
        """Begin at zero: rate() does not see the first event of a series that was not there."""
        self.seconds.labels(method, route)
        for code in ("201" if method == "POST" else "200", "500", "503"):
            self.requests.labels(method, route, code)

    def answered(self, method: str, route: str, code: int, seconds: float) -> None:
        self.requests.labels(method, route, str(code)).inc()
        self.seconds.labels(method, route).observe(seconds)
        self.codes[str(code)] += 1
        self.slow += seconds > 0.5


class Shop:
    """One instance: its queue, its connections, and what is broken on purpose."""

    def __init__(self, connections: Connections, spool: Spool) -> None:
        self.signals = Signals()
        self.spool = spool
        self.signals.spool.set_function(spool.used)
        self.connections = connections
        self._workers = asyncio.Semaphore(WORKERS)
        self._waiting = 0
        self._error_share = 0.0
        self._extra_s = 0.0
        self._held = 0
        self._random = random.Random()

    def serve(self, route: str, work: Work, method: str = "GET") -> Route:
        """Put `work` behind the queue and count its answers under `route`."""
        signals = self.signals
        signals.expect(method, route)

        async def endpoint(request: Request) -> Response:
            began = time.perf_counter()
            code = 500
            signals.in_flight.inc()
            try:
                response = await self._in_turn(request, work)
                code = response.status_code
                return response
            finally:
                signals.in_flight.dec()
                signals.answered(request.method, route, code, time.perf_counter() - began)

        return Route(route.replace("{id}", "{id:int}"), endpoint, methods=[method])

    async def _in_turn(self, request: Request, work: Work) -> Response:
        if self._waiting >= QUEUE_LIMIT:
            return JSONResponse({"error": "too many requests wait"}, 503, {"retry-after": "1"})
        self._waiting += 1
        self.signals.queue.set(self._waiting)
        try:
            await self._workers.acquire()
        finally:
            self._waiting -= 1
            self.signals.queue.set(self._waiting)
        self.signals.busy.inc()
        try:
            return await self._served(request, work)
        finally:
            self.signals.busy.dec()
            self._workers.release()

    async def _served(self, request: Request, work: Work) -> Response:
        ready_at = time.perf_counter() + SERVICE_TIME_S + self._extra_s
        try:
            response = await work(request)
        except NoDatabase as error:
            return JSONResponse({"error": f"database: {error}"}, 503)
        await asyncio.sleep(max(0.0, ready_at - time.perf_counter()))
        if self._error_share and self._random.random() < self._error_share:
            return JSONResponse({"error": "broken on purpose"}, 500)
        return response

    async def turn(self, kind: str, values: dict[str, Any]) -> None:
        """Switch one fault on, or all of them off."""
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "hang":
            # The loop answers this request, then stands still: the port stays open.
            asyncio.get_running_loop().call_later(0.02, threading.Event().wait)
        elif kind == "errors":
            self._error_share = number(values, "share", 0, 1, 0.5)
        elif kind == "latency":
            self._extra_s = number(values, "ms", 0, 60_000, 1000) / 1000
        elif kind == "leak":
            count = int(number(values, "count", 1, 100, 100))
            self._held = await self.connections.leak(count)
        elif kind == "fill":
            self.spool.fill()
        else:
            self._error_share = self._extra_s = 0.0
            self._held = 0
            self.connections.mend()
            self.spool.clear()

    def active(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if self._error_share:
            found.append({"kind": "errors", "share": self._error_share})
        if self._extra_s:
            found.append({"kind": "latency", "ms": round(self._extra_s * 1000)})
        if self._held:
            found.append({"kind": "leak", "count": self._held})
        if self.spool.used() > FULL:
            found.append({"kind": "fill", "share": round(self.spool.used(), 2)})
        return found

    # What the shop sells.

    async def front(self, _request: Request) -> Response:
        rows = await self.connections.fetch("SELECT count(*) FROM products", again=True)
        return JSONResponse({"shop": "opsloop demo", "products": rows[0][0]})

    async def products(self, _request: Request) -> Response:
        rows = await self.connections.fetch(
            "SELECT id, name, price_cents FROM products ORDER BY id LIMIT 20", again=True
        )
        return JSONResponse([product(row) for row in rows])

    async def product(self, request: Request) -> Response:
        rows = await self.connections.fetch(
            "SELECT id, name, price_cents FROM products WHERE id = %s",
            min(request.path_params["id"], 2**31 - 1),
            again=True,
        )
        if not rows:
            return JSONResponse({"error": "no such product"}, 404)
        return JSONResponse(product(rows[0]))

    async def order(self, request: Request) -> Response:
        try:
            product_id, quantity = await read_order(request)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        rows = await self.connections.fetch(
            "INSERT INTO orders (product_id, quantity) SELECT id, %s FROM products WHERE id = %s"
            " RETURNING id",
            quantity,
            product_id,
        )
        if not rows:
            return JSONResponse({"error": "no such product"}, 404)
        return JSONResponse({"order": rows[0][0]}, 201)


def product(row: Any) -> dict[str, Any]:
    return {"id": row[0], "name": row[1], "price_cents": row[2]}


async def read_order(request: Request) -> tuple[int, int]:
    """{"product": N, "quantity": 1..100}; ValueError says what is wrong."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError(f"more than {MAX_BODY} bytes")
    try:
        values = json.loads(body)
    except ValueError:
        raise ValueError("not JSON") from None
    if not isinstance(values, dict):
        raise ValueError("not an object")
    try:
        return (
            int(number(values, "product", 1, 2**31 - 1, 0)),
            int(number(values, "quantity", 1, 100, 1)),
        )
    except BadFault as error:
        raise ValueError(str(error)) from None


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def application(shop: Shop, slot: int) -> Starlette:
    """The routes of one instance."""
    password = secret("scrape_password")
    wanted = basic("opsloop", password) if password else ""
    token = secret("fault_token")

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "slot": slot})

    async def metrics(request: Request) -> Response:
        if not same(request.headers.get("authorization", ""), wanted):
            return PlainTextResponse("needs a password\n", 401, {"www-authenticate": "Basic"})
        text = prometheus.generate_latest(shop.signals.registry)
        return Response(text, media_type=prometheus.CONTENT_TYPE_LATEST)

    async def counts(request: Request) -> Response:
        if not allowed(request, token):
            return JSONResponse({"error": "needs the fault token, from loopback"}, 401)
        codes = dict(shop.signals.codes)
        return JSONResponse({"codes": codes, "slower_than_500ms": shop.signals.slow})

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await shop.connections.close()

    return Starlette(
        routes=[
            shop.serve("/", shop.front),
            shop.serve("/products", shop.products),
            shop.serve("/products/{id}", shop.product),
            shop.serve("/orders", shop.order, "POST"),
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/counts", counts),
            Route(
                "/faults",
                Switch(FAULTS, shop.turn, shop.active).endpoint,
                methods=["GET", "POST"],
            ),
        ],
        lifespan=lifespan,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slot", type=int, default=0)
    options = parser.parse_args()
    conninfo = make_conninfo(
        host="127.0.0.1",
        port=os.environ.get("SHOP_DATABASE_PORT", "5433"),
        user="opsloop",
        password=secret("database_password"),
        dbname="shop",
        connect_timeout=2,
        application_name=f"shop-api-{options.slot}",
        options="-c statement_timeout=2000",
        sslmode="disable",
    )
    state = Path(os.environ.get("OPSLOOP_STATE", ".opsloop"))
    certificate = state / "data" / "front.pem"
    if options.slot == 0 and not certificate.exists():
        make(certificate, days=90)
    connections = Connections(conninfo, max(LEAST_CONNECTIONS, WORKERS + 1))
    shop = Shop(connections, Spool(state / "data" / "spool"))
    uvicorn.run(
        application(shop, options.slot),
        host="127.0.0.1",
        port=options.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
