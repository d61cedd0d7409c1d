"""`opsloop slo backfill`: error budgets over the history that Prometheus already has."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError
from opsloop.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from opsloop.drivers.http import BasicAuth
    from opsloop.stack.backfill import Estimate, Result
    from opsloop.stack.backfill_journal import Reach
    from opsloop.stack.backfill_source import Source

MOST_LINES = 40  # of progress where no terminal is


@click.command("backfill", short_help="Fill budgets from the history that Prometheus has.")
@click.option(
    "--since",
    metavar="TIME",
    help="How far back, as 30d [default: the longest period of the objectives].",
)
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@click.option("--url", metavar="URL", help="A Prometheus that opsloop does not run; with --out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Leave the blocks in DIR, to be moved by hand; with --url.",
)
@click.option("--user", metavar="NAME", help="Of the Prometheus at --url.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="With the password of --user.",
)
@json_option
@with_settings
def command(
    settings: Settings,
    since: str | None,
    services: tuple[str, ...],
    dry_run: bool,
    url: str | None,
    out: Path | None,
    user: str | None,
    password_file: Path | None,
    as_json: bool,
) -> int:
    """Compute what the SLO rules would have written, had they run over the history that Prometheus
    has, and give it that: after a first `slos` in the catalog the budgets of the whole period are
    known at once. It ends where the rules began, so nothing is counted twice. A run that was
    interrupted goes on when it is called again; what is done is not done again.

    With --json: {"estimate": {"slis", "first", "end", "samples", "bytes", "queries", "seconds",
    "without_rules"}, "written": {"samples", "blocks", "pieces", "seconds", "seen"} or null,
    "waiting": [{"sli", "service", "first", "end"}]}; waiting: minutes that only the budget knows
    until a later run.
    """
    from opsloop.compile.slo_past import pasts
    from opsloop.stack import backfill
    from opsloop.stack.tsdb import Tsdb

    source = _source(settings, url, out, _auth(user, password_file), services)
    now = int(time.time() * 1000)
    begin = now - _length(since, source)
    with _showing(as_json) as show:
        tsdb = Tsdb(source.url, source.auth, say=show.say)
        wanted = pasts(source.specs)
        if dry_run:
            found, done = backfill.estimate(tsdb, source.target, wanted, begin, now), None
            show.estimate(found)
        else:
            # SIGTERM as Ctrl-C: promtool is ended, and the next run goes on.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                found, done = backfill.run(
                    tsdb, source.target, wanted, begin, now, show, found=show.estimate
                )
            except KeyboardInterrupt:
                output.note("stopped; the same command goes on where it was")
                raise
    if as_json:
        output.print_json(_as_json(found, done))
    else:
        _tell(found, done, source)
    return 1 if found.unmeasured and not found.plan and len(found.unmeasured) == len(wanted) else 0


def _auth(user: str | None, password_file: Path | None) -> BasicAuth | None:
    from opsloop.drivers.http import BasicAuth

    if (user is None) is not (password_file is None):
        raise click.UsageError("--user and --password-file belong together")
    return BasicAuth(user, password_file) if user and password_file else None


def _source(
    settings: Settings,
    url: str | None,
    out: Path | None,
    auth: BasicAuth | None,
    services: Sequence[str],
) -> Source:
    from opsloop.stack import backfill_source

    if (url is None) is not (out is None):
        raise click.UsageError("--url and --out belong together")
    if url is None or out is None:
        if auth is not None:
            raise click.UsageError("--user is for --url; the stack's own is known")
        return backfill_source.of_stack(settings, services)
    if not url.startswith(("http://", "https://")):
        raise ArgumentError("--url", f"{url!r} is no URL", "write it as http://HOST:9090")
    return backfill_source.elsewhere(settings, url, auth, out, services)


def _length(since: str | None, source: Source) -> int:
    from opsloop.catalog.units import Duration
    from opsloop.compile.slo_past import longest_period

    if not source.specs:
        raise ArgumentError(
            "the catalog", "has no objective", "give a service `slos`, then `opsloop reload`"
        )
    if since is None:
        return int(longest_period(source.specs))
    try:
        length = int(Duration.parse(since))
    except ValueError as error:
        raise ArgumentError("--since", str(error)) from None
    if length < 3_600_000:
        raise ArgumentError("--since", f"{since} is less than an hour", "write it as 30d")
    return length


class LineShow:
    """Lines on stderr."""

    def __init__(self, as_json: bool) -> None:
        self._quiet = as_json

    def say(self, text: str) -> None:
        output.note(text)

    def estimate(self, found: Estimate) -> None:
        if not self._quiet:
            for line in _estimate_lines(found):
                output.say(line)

    def piece(self, done: int, of: int, first: int, samples: int, left_s: float) -> None:
        every = -(-of // MOST_LINES)
        if done % every == 0 or done == of:
            output.note(_piece_line(done, of, first, samples, left_s))


class LiveShow(LineShow):
    """One bar on stderr that moves."""

    def __init__(self, as_json: bool, progress: Progress) -> None:
        super().__init__(as_json)
        self._progress = progress
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        from rich.markup import escape

        self._progress.console.print(escape(text))

    def piece(self, done: int, of: int, first: int, samples: int, left_s: float) -> None:
        line = _piece_line(done, of, first, samples, left_s)
        if self._task is None:
            self._task = self._progress.add_task(line, total=of)
        self._progress.update(self._task, completed=done, description=line)


@contextmanager
def _showing(as_json: bool) -> Iterator[LineShow]:
    if not output.is_terminal(sys.stderr):
        yield LineShow(as_json)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=output.console(stderr=True)) as progress:
        yield LiveShow(as_json, progress)


def _piece_line(done: int, of: int, first: int, samples: int, left_s: float) -> str:
    from opsloop.report.times import clock, length

    left = f", {length(left_s)} left" if done < of else ""
    return f"{done}/{of} back to {clock(first / 1000)[:11]}: {samples:,} samples{left}"


def _estimate_lines(found: Estimate) -> Iterator[str]:
    from opsloop.report.times import length

    plan = found.plan
    for sli in found.unmeasured:
        yield f"left out: {sli} has no rule in this Prometheus; run `opsloop reload` first"
    if not plan:
        yield "nothing to do: what Prometheus has is counted already"
        return
    keys = {s.key for s in plan.spans} | {r.key for r in plan.ripe}
    services = len({service for _, service in keys})
    yield (
        f"{_many(len({sli for sli, _ in keys}), 'SLI')} of {_many(services, 'service')},"
        f" {_moment(plan.first)} to {_moment(plan.end)} UTC"
    )
    yield (
        f"at most {plan.samples:,} samples, {_mebibytes(plan.bytes)};"
        f" {_many(plan.queries, 'query', 'queries')}, about {length(found.seconds)}"
    )


def _tell(found: Estimate, done: Result | None, source: Source) -> None:
    from opsloop.report.times import length

    if done is None or not found.plan:
        _tell_waiting(found.plan.waiting if done is None else done.waiting)
        return
    output.say(f"{done.samples:,} samples in {_many(done.blocks, 'block')}, {length(done.seconds)}")
    if not source.target.running and done.blocks:
        output.say(
            f"move them into the data folder of Prometheus, which reads them within a minute:"
            f" mv {source.target.data}/01* DATA/"
        )
    elif done.seen:
        output.say("Prometheus has them; budgets follow within 3 minutes: `opsloop slo`")
    elif done.seen is False:
        output.warn("Prometheus has not read them yet; see its log, `opsloop logs prometheus`")
    _tell_waiting(done.waiting)


def _tell_waiting(waiting: Sequence[Reach]) -> None:
    if not waiting:
        return
    first, end = min(r.first for r in waiting), max(r.end for r in waiting)
    output.say(
        f"{_moment(first)} to {_moment(end)} UTC still lies in the memory of Prometheus: budgets hold"
        " it as a whole, and its minutes, by which incidents are found, need a later run"
    )


def _as_json(found: Estimate, done: Result | None) -> dict[str, Any]:
    from opsloop.report.times import stamp

    plan = found.plan
    waiting = plan.waiting if done is None or not plan else done.waiting
    return {
        "estimate": {
            "slis": sorted({s.past.name for s in plan.spans} | {r.key[0] for r in plan.ripe}),
            "first": stamp(plan.first / 1000) if plan else None,
            "end": stamp(plan.end / 1000) if plan else None,
            "samples": plan.samples,
            "bytes": plan.bytes,
            "queries": plan.queries,
            "seconds": round(found.seconds, 1),
            "without_rules": list(found.unmeasured),
        },
        "written": None
        if done is None
        else {
            "samples": done.samples,
            "blocks": done.blocks,
            "pieces": done.pieces,
            "seconds": round(done.seconds, 1),
            "seen": done.seen,
        },
        "waiting": [
            {
                "sli": r.key[0],
                "service": r.key[1],
                "first": stamp(r.first / 1000),
                "end": stamp(r.end / 1000),
            }
            for r in waiting
        ],
    }


def _moment(at: int) -> str:
    from opsloop.report.times import stamp

    return (stamp(at / 1000) or "")[:16].replace("T", " ")


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
