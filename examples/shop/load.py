"""The shop's customers: open-loop load with a day's rhythm, balanced over the instances."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import uvicorn
from faults import Switch, allowed, number, secret
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

DAY_S = 600.0  # a day passes in ten minutes
MEAN_RATE = 24.0  # requests a second, all together
SWING = 0.5  # 12 at night, 36 at noon
CHECK_EVERY_S = 0.5
CHECK_LIMIT_S = 0.5
DEADLINE_S = 8.0  # a customer waits no longer
MOST_IN_FLIGHT = 1500  # the generator's own bound; beyond it requests are counted as lost
PRODUCTS = 200


@dataclass
class Slot:
    """One place where an instance may answer."""

    url: str
    up: bool = False
    in_flight: int = 0


def rate_at(seconds: float, factor: float | None) -> float:
    """Requests a second, `seconds` after the start of the day.

    An overload is a multiple of the day's mean, so that it is the same at any hour.
    """
    if factor is not None:
        return MEAN_RATE * factor
    return MEAN_RATE * (1 - SWING * math.cos(2 * math.pi * seconds / DAY_S))


def overload_factor(up: int) -> float:
    """What is too much for `up` instances of 40 requests a second, and not for one more."""
    return 45 * max(1, up) / MEAN_RATE


class Load:
    """Sends requests at a rate that no slow answer lowers."""

    def __init__(self, slots: list[Slot], seed: int) -> None:
        self.slots = slots
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._factor: float | None = None
        self._session: aiohttp.ClientSession  # made in `running`, inside the event loop
        self._in_flight: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self, _app: Starlette) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        # Without cookies and with one deadline per request, made in _send.
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
        )
        tasks = [asyncio.create_task(self._check(slot)) for slot in self.slots]
        tasks.append(asyncio.create_task(self._arrive()))
        try:
            yield
        finally:
            for task in (*tasks, *self._in_flight):
                task.cancel()
            await asyncio.gather(*tasks, *self._in_flight, return_exceptions=True)
            await self._session.close()

    async def turn(self, kind: str, values: dict[str, Any]) -> None:
        usual = overload_factor(sum(slot.up for slot in self.slots))
        self._factor = number(values, "factor", 0.1, 20, usual) if kind == "overload" else None

    def active(self) -> list[dict[str, Any]]:
        return [{"kind": "overload", "factor": self._factor}] if self._factor else []

    async def _check(self, slot: Slot) -> None:
        """Ask a slot twice a second; a failed request marks it down sooner."""
        while True:
            try:
                async with asyncio.timeout(CHECK_LIMIT_S):
                    async with self._session.get(slot.url + "/healthz") as answer:
                        slot.up = answer.status == 200
            except (aiohttp.ClientError, TimeoutError, OSError):
                slot.up = False
            await asyncio.sleep(CHECK_EVERY_S)

    async def _arrive(self) -> None:
        """Poisson arrivals by the clock: being late for one makes the next come sooner."""
        began = due = time.monotonic()
        while True:
            now = time.monotonic()
            if due < now - 1:
                due = now  # after a pause of the whole machine: no burst
            due += self._random.expovariate(rate_at(now - began, self._factor))
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self._in_flight) >= MOST_IN_FLIGHT:
                self.counts["not_sent"] += 1
                continue
            task = asyncio.create_task(self._request())
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    def _pick(self, tried: list[Slot]) -> Slot | None:
        """The instance with the fewest requests in flight; where equal, any."""
        open_slots = [s for s in self.slots if s.up and s not in tried]
        if not open_slots:
            return None
        return min(open_slots, key=lambda s: (s.in_flight, self._random.random()))

    async def _request(self) -> None:
        method, path, body = self._choose()
        self.counts["sent"] += 1
        tried: list[Slot] = []
        try:
            async with asyncio.timeout(DEADLINE_S):
                while (slot := self._pick(tried)) is not None:
                    tried.append(slot)
                    outcome = await self._send(slot, method, path, body)
                    if outcome:
                        self.counts[outcome] += 1
                        return
                    self.counts["retried"] += 1
                self.counts["no_instance"] += 1
        except TimeoutError:
            self.counts["too_late"] += 1

    async def _send(
        self, slot: Slot, method: str, path: str, body: dict[str, int] | None
    ) -> str | None:
        """The answer's class, or None when the request may go to another instance."""
        slot.in_flight += 1
        try:
            async with self._session.request(method, slot.url + path, json=body) as answer:
                await answer.read()
                return f"{answer.status // 100}xx"
        except aiohttp.ClientConnectorError:
            slot.up = False  # nothing was sent
            return None
        except (aiohttp.ClientError, OSError):
            slot.up = False
            return "broken" if body else None  # an order may have been taken
        finally:
            slot.in_flight -= 1

    def _choose(self) -> tuple[str, str, dict[str, int] | None]:
        dice = self._random.random()
        product = self._random.randint(1, PRODUCTS)
        if dice < 0.2:
            return "GET", "/", None
        if dice < 0.5:
            return "GET", "/products", None
        if dice < 0.85:
            return "GET", f"/products/{product}", None
        return "POST", "/orders", {"product": product, "quantity": self._random.randint(1, 5)}


def application(load: Load) -> Starlette:
    """The generator's own switch and health."""
    token = secret("fault_token")

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "instances": sum(s.up for s in load.slots)})

    async def counts(request: Request) -> Response:
        if not allowed(request, token):
            return JSONResponse({"error": "needs the fault token, from loopback"}, 401)
        return JSONResponse({"customers": dict(load.counts)})

    switch = Switch(("overload", "clear"), load.turn, load.active)
    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/counts", counts),
            Route("/faults", switch.endpoint, methods=["GET", "POST"]),
        ],
        lifespan=load.running,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    first = options.first_port
    slots = [Slot(f"http://127.0.0.1:{first + n}") for n in range(options.slots)]
    uvicorn.run(
        application(Load(slots, options.seed)),
        host="127.0.0.1",
        port=options.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
