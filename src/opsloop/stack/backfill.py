"""The SLO rules' series over a past that Prometheus already has: asked for, made into blocks, moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from opsloop.compile.slo_names import PAGE
from opsloop.compile.slo_past import Past
from opsloop.errors import ArgumentError
from opsloop.stack.backfill_journal import Journal, Reach
from opsloop.stack.backfill_pieces import Target, Writer, Written
from opsloop.stack.backfill_plan import Plan, make_plan, members, start_of
from opsloop.stack.tsdb import Storage, Tsdb

SAMPLES_PER_S: Final = 90_000  # text and promtool, on one core of a small machine
PROBES: Final = 3
SEEN_WITHIN_S: Final = 150.0  # Prometheus looks for new blocks each minute
_HOUR = int(PAGE)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be done; `seconds` by a few trial queries. unmeasured: SLIs without a rule."""

    plan: Plan
    storage: Storage
    seconds: float
    unmeasured: tuple[str, ...] = ()


@dataclass(slots=True)
class Result:
    """What a run did. seen: Prometheus has read all of it; None where that was not asked."""

    samples: int = 0
    blocks: int = 0
    pieces: int = 0
    seconds: float = 0.0
    waiting: tuple[Reach, ...] = ()
    seen: bool | None = None
    last: Written | None = None

    def add(self, written: Written) -> None:
        self.pieces += 1
        self.samples += written.samples
        self.blocks += written.blocks
        self.last = written if written.tiles else self.last


class Watch(Protocol):
    """Who shows how it goes. Called from the thread that called."""

    def say(self, text: str) -> None: ...

    def piece(self, done: int, of: int, first: int, samples: int, left_s: float) -> None:
        """A piece is in place; it began at `first` (unix ms). samples: so far."""


def estimate(tsdb: Tsdb, target: Target, pasts: Sequence[Past], since: int, now: int) -> Estimate:
    """Look at Prometheus and the journal; write nothing. since, now: unix milliseconds.

    Raises PrometheusError, and ArgumentError when the new blocks would push others out.
    """
    storage = tsdb.storage(now)
    measured = tsdb.measured() if target.running else frozenset(p.name for p in pasts)
    wanted = [p for p in pasts if p.name in measured]
    journal = Journal(target.folder).read()
    tiles = tsdb.first_tiles(since, now)
    plan = make_plan(wanted, storage, tiles, journal, since, now)
    if storage.most_bytes and storage.bytes + plan.bytes > storage.most_bytes:
        raise ArgumentError(
            f"{plan.bytes >> 20} MiB of new blocks",
            f"would push older blocks out of Prometheus, which may keep {storage.most_bytes >> 20}"
            f" MiB and has {storage.bytes >> 20}",
            "give a later --since, or raise its retention size",
        )
    hour = _probe(tsdb, plan, storage.head_began)
    seconds = hour * plan.query_hours + plan.samples / SAMPLES_PER_S
    unmeasured = tuple(p.name for p in pasts if p.name not in measured)
    return Estimate(plan, storage, seconds, unmeasured)


def _probe(tsdb: Tsdb, plan: Plan, end: int) -> float:
    """Seconds that one hour of one SLI takes."""
    pasts = list({s.past.name: s.past for s in plan.spans}.values())
    few = pasts[:: max(1, len(pasts) // PROBES)][:PROBES]
    began = time.monotonic()
    for past in few:
        tsdb.tiles(past, end - _HOUR, end)
    return (time.monotonic() - began) / len(few) if few else 0.0


def run(
    tsdb: Tsdb,
    target: Target,
    pasts: Sequence[Past],
    since: int,
    now: int,
    watch: Watch,
    *,
    found: Callable[[Estimate], None] = lambda _: None,
    seen_within_s: float = SEEN_WITHIN_S,
) -> tuple[Estimate, Result]:
    """Estimate, tell `found`, and write; what an interrupted run had begun is ended first.

    Whatever ends it, each piece is in the folder of Prometheus whole or will be: the same call
    goes on where it stopped. Raises PrometheusError, StateUnusable, ArgumentError, StackError.
    """
    journal = Journal(target.folder)
    with journal.alone():
        journal.read()
        writer = Writer(tsdb, target, journal)
        if journal.moving is not None:
            watch.say("ending what an interrupted run had begun")
            writer.end_move(tsdb.storage(now))
        wanted = estimate(tsdb, target, pasts, since, now)
        found(wanted)
        result = _write(writer, pasts, wanted, watch)
    if result.last is not None and target.running:
        watch.say("waiting until Prometheus has read the new blocks")
        result.seen = _seen(tsdb, result.last, seen_within_s)
    return wanted, result


def _write(writer: Writer, pasts: Sequence[Past], wanted: Estimate, watch: Watch) -> Result:
    plan, storage, began = wanted.plan, wanted.storage, time.monotonic()
    result = Result()
    jobs = [(start_of(p[0]), partial(writer.pages, members(plan.spans, p), p)) for p in plan.pieces]
    if plan.ripe:
        jobs.append((plan.ripe[0].first, partial(writer.minutes, plan.ripe, pasts)))
    for nth, (first, job) in enumerate(jobs, 1):
        written = job(storage)
        result.add(written)
        spent = time.monotonic() - began
        watch.piece(nth, len(jobs), first, result.samples, spent / nth * (len(jobs) - nth))
    result.seconds = time.monotonic() - began
    result.waiting = tuple(writer.journal.entries.waiting)
    return result


def _seen(tsdb: Tsdb, last: Written, within_s: float) -> bool:
    """Whether Prometheus comes to have what was moved last, and so everything before it."""
    deadline = time.monotonic() + within_s
    while tsdb.count(last.selector, last.seconds, last.at) < last.tiles:
        if time.monotonic() > deadline:
            return False
        time.sleep(1.0)
    return True
