"""`opsloop episodes`: what broke, and how it ended."""

from __future__ import annotations

import time

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings


@click.command("episodes", short_help="List what broke and how it ended.")
@click.option("--all", "closed", is_flag=True, help="Closed ones too.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=50, help="At most so many [50]."
)
@json_option
@with_settings
def command(settings: Settings, closed: bool, limit: int, as_json: bool) -> int:
    """List episodes, the newest first: one alert each, from firing to resolved.

    It reads the engine's store, so it works while the engine is down. With --json:
    {"episodes": [{"id", "alert", "severity", "service", "instance", "team", "policy", "firing",
    "state", "reason", "starts_at", "received_at", "last_seen_at", "ended_at",
    "next_decision_at", "fingerprint", "labels", "annotations"}]}.
    """
    from opsloop.report import episodes as report
    from opsloop.store.sqlite import open_existing

    with open_existing(settings.state) as store:
        found = store.episodes(limit, closed=closed)
        paused, why = store.paused()
    if as_json:
        output.print_json({"episodes": report.rows(found)})
        return 0
    if not found:
        output.say("no episodes" if closed else "nothing is broken; --all lists what was")
    else:
        now = time.time()
        output.print_table(report.HEADERS, [report.cells(e, now) for e in found])
    if paused:
        output.warn(f"the loop is paused ({why or 'no reason was given'}); `opsloop resume`")
    return 0
