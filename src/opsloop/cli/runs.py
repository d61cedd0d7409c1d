"""`opsloop runs`: what the loop did; `runs show ID` tells one run, `runs verify` proves the audit."""

from __future__ import annotations

import time

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings

EXIT_CHAIN_BROKEN = 1


@click.group("runs", invoke_without_command=True, short_help="List what the loop did, or show it.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=50, help="At most so many [50]."
)
@json_option
@with_settings
@click.pass_context
def command(context: click.Context, settings: Settings, limit: int, as_json: bool) -> int:
    """List runs, the newest first: one attempt each of a policy on an episode.

    It reads the engine's store, so it works while the engine is down. With --json:
    {"runs": [{"id", "episode", "policy", "service", "attempt", "step", "state", "reason",
    "resources", "plan_hash", "created_at", "acting_at", "acted_at", "finished_at",
    "good_since"}]}.
    """
    context.obj = settings
    if context.invoked_subcommand is not None:
        return 0
    from opsloop.report import runs as report
    from opsloop.store.sqlite import open_existing

    with open_existing(settings.state) as store:
        found = store.runs(limit)
        paused, why = store.paused()
    if as_json:
        output.print_json({"runs": report.rows(found)})
        return 0
    if not found:
        output.say("no runs: the loop has done nothing yet")
    else:
        now = time.time()
        output.print_table(report.HEADERS, [report.cells(r, now) for r in found])
    if paused:
        output.warn(f"the loop is paused ({why or 'no reason was given'}); `opsloop resume`")
    return 0


@command.command("show", short_help="Tell the story of one run.")
@click.argument("run_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@json_option
@with_settings
@click.pass_context
def show(context: click.Context, settings: Settings, run_id: int, as_json: bool) -> int:
    """What fired, what was decided and why, what was done, what came of it, what is left.

    With --json: the run as in `runs --json`, with "detail", "about" (its episode), "decision",
    "guards", "actions", "timeline" and "escalation".
    """
    from opsloop.report import runs as report
    from opsloop.report.page import page
    from opsloop.store.sqlite import open_existing

    with open_existing(_settings(context, settings).state) as store:
        told = report.gather(store, run_id)
    if as_json:
        output.print_json(report.story(told))
    else:
        output.say(page(told).rstrip("\n"))
    return 0


@command.command("verify", short_help="Prove that the audit is whole.")
@json_option
@with_settings
@click.pass_context
def verify(context: click.Context, settings: Settings, as_json: bool) -> int:
    """Read the audit's hash chain from its beginning; exit code 1 when it is broken.

    With --json: {"ok", "rows", "bad_id", "reason"}.
    """
    from opsloop.store.sqlite import open_existing

    with open_existing(_settings(context, settings).state) as store:
        found = store.verify_audit()
    if as_json:
        output.print_json(
            {"ok": found.ok, "rows": found.rows, "bad_id": found.bad_id, "reason": found.reason}
        )
    elif found.ok:
        output.say(f"the audit is whole: {found.rows} rows, each bound to the one before")
    else:
        output.complain(f"the audit is broken at row {found.bad_id}: {found.reason}")
    return 0 if found.ok else EXIT_CHAIN_BROKEN


def _settings(context: click.Context, own: Settings) -> Settings:
    """Options may stand before or behind the subcommand; behind wins."""
    outer: Settings = context.obj
    return own if own.state != Settings().state else outer
