"""`opsloop drill`: break something on purpose and watch the loop heal it."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.drills.kinds import DRILLS
from opsloop.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from opsloop.drills.budget import Cost
    from opsloop.drills.drill import Result
    from opsloop.drills.timeline import Stage


@click.command(
    "drill",
    short_help="Break something on purpose and watch the loop heal it.",
    epilog="Drills: "
    + "; ".join(f"{d.name} ({d.title})" for d in DRILLS.values())
    + ". Exit code 0: healed and verified by the loop itself, and nobody was paged.",
)
@click.argument("name", required=False, type=click.Choice(list(DRILLS)), metavar="NAME")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Run every drill in a random order, then one with the loop paused; report on all.",
)
@click.option("--seed", type=int, metavar="N", help="Of the order of --all [random, printed].")
@click.option("--no-control", is_flag=True, help="With --all: leave out the one with a pause.")
@click.option(
    "--report",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --all: also write the timelines as one HTML page.",
)
@click.option(
    "--control",
    is_flag=True,
    help="With the loop paused: the service stays broken and people are paged. Mended at the end.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1, max=3600),
    metavar="S",
    help="Seconds from the fault to the verdict [each drill has its own].",
)
@click.option(
    "--budget",
    is_flag=True,
    help="Wait until all is in the error budget; compare it with the service's own counts.",
)
@json_option
@with_settings
def command(
    settings: Settings,
    name: str | None,
    every: bool,
    control: bool,
    timeout_s: float | None,
    budget: bool,
    as_json: bool,
    seed: int | None,
    no_control: bool,
    page: Path | None,
) -> int:
    """Inject a fault, show the timeline, and say whether the loop healed it.

    With --json the timeline goes to stderr, and the last line of stdout is one object. Seconds
    count from the fault. With --budget it also has budget_errors, shop_errors and bound: how far
    apart the two may be. With --all one further object is the report: mean times to detect
    (mttd_s) and to answering again (mttr_s), pages, and each result.
    """
    if (name is None) is not every:
        raise click.UsageError("give the name of one drill, or --all")
    if not every and (seed is not None or no_control or page is not None):
        raise click.UsageError("--seed, --no-control and --report go with --all")

    def run(chosen: str, paused: bool) -> dict[str, Any]:
        return _run(settings, chosen, paused, timeout_s, as_json, budget=budget)

    if name is not None:
        return 0 if run(name, control)["passed"] else 1
    from opsloop.cli.drill_all import run_all

    return run_all(
        run,
        seed,
        control=not no_control,
        only_controls=control,
        page=page,
        as_json=as_json,
    )


def _run(
    settings: Settings,
    name: str,
    control: bool,
    timeout_s: float | None,
    as_json: bool,
    *,
    budget: bool,
) -> dict[str, Any]:
    """Its JSON; `passed` also says whether the budget fits, where it was asked for."""
    from opsloop.drills.budget import BudgetWatch
    from opsloop.drills.drill import Session, only_one
    from opsloop.drills.faults import aim
    from opsloop.drills.timeline import as_json as result_json
    from opsloop.drills.watch import World
    from opsloop.stack.state import StateFolder

    drill = DRILLS[name]
    # As Ctrl-C: the fault is ended and the loop resumed before the command ends.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    world = World(StateFolder(settings.state))
    try:
        with only_one(world, name):
            stream = sys.stderr if as_json else sys.stdout
            live = output.is_terminal(stream)
            show = LiveShow(name, control, as_json) if live else LineShow(name, as_json)
            cost = None
            with show, contextlib.ExitStack() as stack:
                aimed = aim(world.engine, drill)
                session = Session(world, aimed, show)
                watch = (
                    stack.enter_context(BudgetWatch(world, aimed, show.note)) if budget else None
                )
                result = session.run(control=control, timeout_s=timeout_s)
                cost = watch.settled() if watch is not None else None
            show.verdict(result, cost.sentence if cost is not None else "")
    finally:
        world.close()
    found = result_json(result.timeline, result.verdict, control=control) | _costs(cost)
    if as_json:
        output.print_json(found, one_line=True)
    fits = cost is None or cost.fits
    return found | {"passed": result.verdict.passed and fits}


def _costs(cost: Cost | None) -> dict[str, Any]:
    if cost is None:
        return {}
    return {
        "budget_slo": cost.slo,
        "budget_errors": cost.budget_errors,
        "shop_errors": cost.shop_errors,
        "bound": cost.bound,
    }


def _sentence(result: Result) -> str:
    word = "passed" if result.verdict.passed else "FAILED"
    seconds = [
        f"{label} {value:.1f} s"
        for label, value in (
            ("answering after", _seconds(result, "ANSWERING")),
            ("verified after", _seconds(result, "VERIFIED")),
        )
        if value is not None
    ]
    tail = f" ({', '.join(seconds)})" if seconds and not result.control else ""
    return f"{word}: {result.verdict.reason}{tail}"


def _seconds(result: Result, stage: str) -> float | None:
    from opsloop.drills.timeline import Stage

    return result.timeline.seconds(Stage[stage])


class LineShow:
    """Plain lines, for pipes and logs."""

    def __init__(self, name: str, to_stderr: bool) -> None:
        self._name = name
        self._print = output.note if to_stderr else output.say
        self._last_note = ""

    def __enter__(self) -> Self:
        self._print(f"drill {self._name}")
        return self

    def __exit__(self, *_: object) -> None:
        return

    def note(self, text: str) -> None:
        if text.rstrip("0123456789 s") != self._last_note:
            self._last_note = text.rstrip("0123456789 s")
            self._print(f"           {text}")

    def mark(self, stage: Stage, seconds: float, note: str) -> None:
        self._print(f"+{seconds:7.2f} s  {stage.value}{f': {note}' if note else ''}")

    def tick(self, seconds: float) -> None:  # noqa: ARG002 - lines do not count seconds
        return

    def verdict(self, result: Result, more: str = "") -> None:
        self._print(_sentence(result))
        if more:
            self._print(more)


class LiveShow:
    """A table that fills while the drill runs, for a terminal."""

    def __init__(self, name: str, control: bool, to_stderr: bool) -> None:
        from rich.live import Live

        from opsloop.drills.timeline import CONTROL, HEALING

        self._name = name
        self._stages = CONTROL if control else HEALING
        self._control = control
        self._seen: dict[str, tuple[float, str]] = {}
        self._now = 0.0
        self._note = "looking at the stack"
        self._console: Console = output.console(stderr=to_stderr)
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.refresh()
        self._live.__exit__(None, None, None)

    def note(self, text: str) -> None:
        self._note = text

    def mark(self, stage: Stage, seconds: float, note: str) -> None:
        self._seen[stage.value] = (seconds, note)
        self._now = max(self._now, seconds)

    def tick(self, seconds: float) -> None:
        self._now = seconds
        self._note = ""

    def _table(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(width=1)
        table.add_column(justify="right", width=9)
        table.add_column()
        table.add_column(style="dim", overflow="fold")
        waiting = bool(self._seen)
        for stage in self._stages:
            seen = self._seen.get(stage.value)
            if seen is not None:
                table.add_row(
                    Text("*", style="green"), f"{seen[0]:.2f} s", stage.value, Text(seen[1])
                )
            elif waiting:
                table.add_row(Text(">", style="yellow"), f"{self._now:.1f} s", stage.value, "...")
                waiting = False
            else:
                table.add_row("", "", Text(stage.value, style="dim"), "")
        paged = self._seen.get("people are told")
        if not self._control:
            if paged:
                row = (Text("!", style="red"), f"{paged[0]:.2f} s", "people are told", paged[1])
            else:
                row = (Text(""), "0", "pages sent", "")
            table.add_row(*row)
        title = f"drill {self._name}{' with the loop paused' if self._control else ''}"
        return Group(Text(title, style="bold"), table, Text(self._note, style="dim"))

    def verdict(self, result: Result, more: str = "") -> None:
        from rich.text import Text

        style = "bold green" if result.verdict.passed else "bold red"
        self._console.print(Text(_sentence(result), style=style))
        if more:
            self._console.print(Text(more))
