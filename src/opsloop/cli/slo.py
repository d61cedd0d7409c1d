"""`opsloop slo`: every error budget; `opsloop slo SERVICE` one service's, and what spent it."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import click

from opsloop.cli import output, slo_backfill
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError, PrometheusError
from opsloop.settings import Settings

if TYPE_CHECKING:
    from opsloop.drivers.prometheus import Prometheus
    from opsloop.report.slo import Budget

WIDE = 120
_COLOURS = {"good": "green", "burning": "yellow", "spent": "red", "new": "bright_black"}


class _ServiceOrCommand(click.Group):
    """A first word that is no command of the group is a service."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [a for a in args if not a.startswith("-")]
        if not words or words[0] not in self.commands:
            args = ["show", *args] if "-h" not in args and "--help" not in args else args
        return super().parse_args(ctx, args)


@click.group("slo", cls=_ServiceOrCommand, short_help="Show error budgets, and what spent them.")
def command() -> None:
    """`opsloop slo` lists the error budget of every objective; `opsloop slo SERVICE` shows one
    service's in detail, with the burn-down and the incidents that spent it; `opsloop slo backfill`
    fills them from the history that Prometheus has.

    With --json: {"slos": [{"service", "slo", "objective", "window", "state", "sli",
    "budget_left", "errors_left", "minutes_left", "burn", "coverage", "exhausted_at"}]}; for a
    SERVICE each also has "burn_down": [[unix seconds, left]] and "incidents": [{"began_at",
    "ended_at", "errors", "budget_spent", "peak_burn", "episodes"}].
    """


command.add_command(slo_backfill.command)


@command.command("show", hidden=True)
@click.argument("service", required=False)
@json_option
@with_settings
def show(settings: Settings, service: str | None, as_json: bool) -> int:
    """The table, or one service."""
    from opsloop.report import slo as report
    from opsloop.stack.reach import prometheus_of

    prometheus = prometheus_of(settings.state)
    now = time.time()
    try:
        rows = report.budgets(prometheus, service)
        if service is not None:
            return _service(settings, service, rows, prometheus, now, as_json=as_json)
    except PrometheusError as error:
        raise PrometheusError(error.thing, error.reason, "see `opsloop status`") from error
    if as_json:
        output.print_json({"slos": [report.as_json(r, now) for r in rows]})
    elif not rows:
        output.say(_why_none(settings))
    else:
        _print_table(rows, now)
    return 0


def _why_none(settings: Settings) -> str:
    from opsloop.stack import prepare
    from opsloop.stack.state import StateFolder

    given = prepare.compiled(StateFolder(settings.state))
    declared = sum(len(s.slos) for s in given.catalog.services.values()) if given else 0
    if declared:
        return f"no budget yet of {declared} objectives: the first come two minutes after the start"
    return "no objective is declared; give a service `slos`, then `opsloop reload`"


def _print_table(rows: list[Budget], now: float) -> None:
    from opsloop.report import slo as report
    from opsloop.report.slo_table import table

    output.say(report.sentence(rows))
    if young := report.young(rows):
        output.say(young)
    output.say()
    headers, lines = table(rows, now, _width() if output.is_terminal() else None)
    output.print_table(headers, lines, [_colour(r) for r in rows])


def _width() -> int:
    """Of the terminal; what reads a pipe has room."""
    return shutil.get_terminal_size().columns if output.is_terminal() else WIDE


def _colour(row: Budget) -> str:
    return _COLOURS[row.state]


def _service(
    settings: Settings,
    service: str,
    rows: list[Budget],
    prometheus: Prometheus,
    now: float,
    *,
    as_json: bool,
) -> int:
    from opsloop.report import slo as report
    from opsloop.report import slo_history as history
    from opsloop.report import slo_page as page
    from opsloop.store.sqlite import open_existing

    if not rows:
        raise ArgumentError(
            service, "has no objective that Prometheus knows", "`opsloop slo` lists them"
        )
    with open_existing(settings.state) as store:
        episodes = store.episodes(10_000, closed=True)
    found: list[dict[str, Any]] = []
    for row in rows:
        points = history.burn_down(prometheus, row, now)
        spent = history.incidents(prometheus, row, episodes, now)
        if as_json:
            found.append(
                report.as_json(row, now)
                | {
                    "burn_down": [list(p) for p in points],
                    "incidents": [history.incident_json(i) for i in spent],
                }
            )
            continue
        if row is not rows[0]:
            output.say()
        output.say(click.style(page.headline(row), fg=_colour(row), bold=True))
        for line in page.lines(row, points, spent, _width()):
            output.say(line)
    if as_json:
        output.print_json({"slos": found})
    return 0
