"""`opsloop pause`: the kill switch."""

from __future__ import annotations

import time

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings


@click.command("pause", short_help="Stop the loop from acting: the kill switch.")
@click.option("--why", default="", metavar="TEXT", help="The reason, shown wherever it matters.")
@json_option
@with_settings
def command(settings: Settings, why: str, as_json: bool) -> int:
    """No action begins from now on, until `opsloop resume`; it survives restarts.

    Written to the engine's store, so it works while the engine is down. What is under way
    ends and is verified. Alerts are received and people are told as ever. With --json:
    {"paused", "why"}.
    """
    from opsloop.store.sqlite import open_existing

    why = " ".join(why.split())[:1000]
    with open_existing(settings.state) as store:
        store.pause(why, time.time())
        busy = len(store.open_runs())
    if as_json:
        output.print_json({"paused": True, "why": why})
        return 0
    output.say(f"paused{f': {why}' if why else ''}; no action begins until `opsloop resume`")
    if busy:
        output.say(f"{busy} open run{'s' if busy != 1 else ''} will still be verified")
    return 0
