"""Compares what a drill cost an error budget with what the service itself counted."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile.options import Options
from opsloop.compile.selectors import Selector, quote, scrape_interval
from opsloop.compile.slo_names import ERRORS_TILE, SLI, TILE
from opsloop.compile.slo_resolve import slo_specs
from opsloop.compile.slo_spec import Counters, SLOSpec
from opsloop.drills import faults
from opsloop.drills.faults import Aim
from opsloop.drills.watch import World
from opsloop.errors import DriverError, StackError

COUNTS_PATH = "/counts"  # of the shop: {"codes": {"200": 1234, ...}} since the process began
POLL_S = 0.1
QUIET_S = 1.5 * int(TILE) / 1000  # errors before this are in their tiles
TOLD = Duration(5 * int(TILE))
LONGEST_WAIT_S = 300.0


@dataclass(slots=True)
class Life:
    """One process of an instance, as polled: (unix seconds, errors, requests) since it began."""

    pid: int
    polls: list[tuple[float, int, int]] = field(default_factory=list)
    ended: bool = False

    def last(self, seconds: float) -> int:
        """Requests of the last so many seconds of this process, the poll before them included."""
        began = self.polls[-1][0] - seconds
        before = [requests for at, _, requests in self.polls if at < began]
        return self.polls[-1][2] - (before[-1] if before else self.polls[0][2])

    def most_errors(self, seconds: float) -> int:
        """The most errors within so many seconds, the polls around them included."""
        most = first = 0
        for at, errors, _ in self.polls:
            while self.polls[first + 1 : first + 2] and self.polls[first + 1][0] < at - seconds:
                first += 1
            most = max(most, errors - self.polls[first][1])
        return most


@dataclass(frozen=True, slots=True)
class Cost:
    """Errors by the tiles of the budget and by the service's own counts, and how far apart they
    may be: 0 when no process ended, else one scrape interval of events for each that did."""

    slo: str
    budget_errors: float
    shop_errors: int
    bound: int

    @property
    def fits(self) -> bool:
        return abs(self.budget_errors - self.shop_errors) <= self.bound

    @property
    def sentence(self) -> str:
        word = "agree" if self.fits else "DO NOT agree"
        return (
            f"budget of {self.slo}: {self.budget_errors:g} errors, the service counted"
            f" {self.shop_errors}: they {word} (bound {self.bound})"
        )


class BudgetWatch:
    """Polls the counts of every instance while a drill runs. Use it as a context manager."""

    def __init__(self, world: World, aim: Aim, note: Callable[[str], None]) -> None:
        """Raises StackError when the service has no availability that is counted."""
        self.world = world
        self.service = aim.service
        self.note = note
        self.spec = _availability(world, aim.service)
        source = self.spec.source
        self._errors = source.errors if isinstance(source, Counters) else ""
        matchers = f"{SLI}={quote(self.spec.sli)},{names.SERVICE}={quote(self.service)}"
        self._tiles = f"{ERRORS_TILE}{{{matchers}}}"
        # The store has one thread, so it is asked here once: the thread asks supervisord and HTTP.
        self._addresses = {i.target: i.address for i in world.instances(self.service)}
        self._lives: dict[str, list[Life]] = {target: [] for target in self._addresses}
        self._since = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="counts", daemon=True)

    def __enter__(self) -> Self:
        self._until_quiet()
        self._look()
        self._since = time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    # The service's own counts

    def _poll(self) -> None:
        while not self._ended.wait(POLL_S):
            self._look()

    def _look(self) -> None:
        try:
            pids = self.world.pids()
        except DriverError:
            return  # looked again in a moment
        for target, lives in self._lives.items():
            pid = pids.get(target, 0)
            if lives and lives[-1].pid != pid:
                lives[-1].ended = True
            answer = pid and faults.read(self._addresses[target], COUNTS_PATH, self.world.token)
            if not answer:
                continue
            codes = {str(k): int(v) for k, v in answer["codes"].items()}
            errors = sum(v for k, v in codes.items() if k.startswith("5"))
            requests = sum(codes.values())
            if not lives or lives[-1].ended:
                lives.append(Life(pid))
            lives[-1].polls.append((time.time(), errors, requests))

    @property
    def errors(self) -> int:
        """Errors since the watch began: a process that was there then counts from its first poll."""
        total = 0
        for life in self._all():
            began, errors, _ = life.polls[0]
            total += life.polls[-1][1] - (errors if began <= self._since else 0)
        return total

    def _bound(self) -> int:
        interval = scrape_interval(self.world.catalog, self.service).seconds
        return sum(life.last(interval) for life in self._all() if life.ended)

    def most_errors(self, seconds: float) -> int:
        """At most so many errors came within so many seconds, at all instances together."""
        return sum(life.most_errors(seconds) for life in self._all())

    def _all(self) -> list[Life]:
        return [life for lives in self._lives.values() for life in lives]

    # The budget

    def settled(self) -> Cost:
        """Wait until the last error is in its tile, then compare. Raises StackError, SourceError."""
        self._until_quiet()
        span = Duration(math.ceil(time.time() - self._since) * 1000)
        found = self.world.prometheus.query(f"sum_over_time({self._tiles}[{span}])")
        if not found:
            raise StackError(
                f"budget of {self.spec.slo}", "has no tiles yet", "wait two minutes after `up`"
            )
        return Cost(f"{self.service}/{self.spec.slo}", found[0].value, self.errors, self._bound())

    def _until_quiet(self) -> None:
        """Until there are tiles (the first minute of a target is in none), and no error is so new
        that it may be in no tile yet."""
        matcher = f"{names.SERVICE}={quote(self.service)}"
        series = Selector.parse(self._errors or "").where(matcher)
        deadline = time.time() + LONGEST_WAIT_S
        while True:
            told = self.world.prometheus.query(f"count_over_time({self._tiles}[{TOLD}]) >= 2")
            changed = self.world.prometheus.query(f"sum(changes({series}[{QUIET_S:g}s])) > 0")
            if told and not changed and self._quiet_for() >= QUIET_S:
                return
            if time.time() > deadline:
                why = f"{self.service} still fails" if told else "there are no tiles"
                raise StackError(
                    f"budget of {self.spec.slo}",
                    f"{why} after {LONGEST_WAIT_S:.0f} s",
                    "see `opsloop episodes`",
                )
            self.note("waiting until every error is in the budget")
            time.sleep(1.0)

    def _quiet_for(self) -> float:
        """Seconds since the last poll that saw a new error."""
        last = 0.0
        for life in self._all():
            newest = life.polls[-1][1]
            last = max(last, next((at for at, errors, _ in life.polls if errors == newest), 0.0)
                       if newest else 0.0)  # fmt: skip
        return time.time() - last


def _availability(world: World, service: str) -> SLOSpec:
    for spec in slo_specs(world.catalog, Options()):
        counts = isinstance(spec.source, Counters) and spec.source.errors is not None
        slo = world.catalog.services[spec.service].slos[spec.slo]
        if spec.service == service and counts and slo.sli.availability is not None:
            return spec
    raise StackError(
        f"slo of {service}", "there is no availability to compare with", "give it `slos`"
    )
