"""Are alerts right? Labelled incidents and quiet weeks, replayed through the built rules."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.pool import Pool
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from benchmarks import alert_incidents, alert_scores
from benchmarks._output import Result, report, say
from benchmarks.alert_catalog import SCRAPE_S, Built, Rule, Target, build
from benchmarks.alert_objectives import objectives, services
from benchmarks.alert_replay import Firing, fired, told_of
from benchmarks.alert_scrapes import show
from benchmarks.alert_world import DAY, Segment
from benchmarks.alert_write import write
from benchmarks.slo import prometheus
from opsloop import names

WEEKS = 10
SELDOM_S = 60  # between samples of hosts and parts in quiet weeks
AT_ONCE = 2
_AT_SCRAPES = re.compile(r"\b(up|http_\w+|scrape_duration_seconds)\{")


@dataclass(frozen=True)
class Task:
    """A segment to be made and replayed. every: seconds between evaluations; None: as built."""

    segment: Segment
    history: int
    every: float | None
    with_objectives: bool


@dataclass(frozen=True)
class Observed:
    firings: tuple[Firing, ...]
    samples: int


@dataclass(frozen=True)
class Worker:
    """What a process of the pool has: a Prometheus of its own, and the compiled catalog.

    Prometheus takes a series' samples in the order of time only; each worker gets its segments in
    that order.
    """

    url: str
    built: Built


_worker: list[Worker] = []


def _prepare(urls: SimpleQueue[str]) -> None:
    _worker.append(Worker(urls.get(), build()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alert_quality", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: fewer, and two days")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random [1]")
    options = parser.parse_args()
    results = measured(build(), options.seed, quick=options.quick)
    report("alert_quality", results, as_json=options.json)
    return 0


@contextlib.contextmanager
def workers() -> Iterator[Pool]:
    """Processes with a Prometheus each, where nothing is compacted while a past is written."""
    flags = ["--web.enable-remote-write-receiver"]
    flags += [f"--storage.tsdb.{end}-block-duration=100000h" for end in ("min", "max")]
    context = multiprocessing.get_context("spawn")
    urls = context.SimpleQueue()
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="opsloop-alerts-"))
            urls.put(stack.enter_context(prometheus(Path(folder, "data"), *flags)))
        yield stack.enter_context(context.Pool(AT_ONCE, _prepare, (urls,)))


def measured(built: Built, seed: int, *, quick: bool) -> list[Result]:
    known = sorted({rule.alert for rule in built.rules})
    chosen = list(alert_incidents.incidents(known))
    weeks, days = (1, 2) if quick else (WEEKS, 7)
    if quick:
        say(f"--quick: all {len(chosen)} incidents, and {days} quiet days instead of {WEEKS} weeks")
    quiet = [alert_incidents.quiet_week(nth, seed, SELDOM_S) for nth in range(weeks)]
    quiet = [replace(week, seconds=days * DAY) for week in quiet]
    counted = services(built.targets)
    tasks = [Task(w, 0, float(SCRAPE_S), True) for w in quiet]
    tasks += [
        Task(i.segment(nth, seed), i.history, None, any(e.job in counted for e in i.effects))
        for nth, i in enumerate(chosen)
    ]
    began = time.monotonic()
    observed = []
    with workers() as pool:
        for one in pool.imap(observe, tasks):
            observed.append(one)
            if len(observed) <= len(quiet) or len(observed) == len(tasks):
                say(f"{len(observed)} of {len(tasks)} after {time.monotonic() - began:.0f} s")
    say(f"{sum(o.samples for o in observed):,} samples")
    firings = [o.firings for o in observed]
    return alert_scores.results(
        built,
        list(zip(chosen, firings[len(quiet) :], strict=True)),
        firings[: len(quiet)],
        days / 7,
    )


def observe(task: Task) -> Observed:
    """Make a segment's series, have Prometheus take them, and ask when each rule fired."""
    url, built = _worker[0].url, _worker[0].built
    samples = sum(
        write(url, show(target, nth, task.segment)) for target, nth in _numbered(built.targets)
    )
    found = [
        firing
        for rule in built.rules
        if not rule.of_objectives and rule.severity
        for firing in fired(url, rule, task.segment, _every(rule, task))
    ]
    if task.with_objectives:
        found += objectives(url, built, task.segment, task.history)
    write(url, told_of(found, task.segment, SCRAPE_S))
    for rule in built.rules:
        if rule.alert == names.INCIDENT_AFTERMATH:  # it reads what fired
            found += fired(url, rule, task.segment, task.every)
    return Observed(tuple(found), samples)


def _every(rule: Rule, task: Task) -> float | None:
    """In quiet weeks, rules over what changes once a minute are evaluated once a minute."""
    if task.every is None or _AT_SCRAPES.search(rule.expr):
        return task.every
    return float(task.segment.seldom) if rule.for_ >= task.segment.seldom else task.every


def _numbered(targets: Sequence[Target]) -> list[tuple[Target, int]]:
    """Each target with which of its job's instances it is."""
    seen: dict[str, int] = {}
    found = []
    for target in targets:
        nth = seen.get(target.job, 0)
        seen[target.job] = nth + 1
        found.append((target, nth))
    return found


if __name__ == "__main__":
    sys.exit(main())
