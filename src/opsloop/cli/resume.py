"""`opsloop resume`: the loop may act again."""

from __future__ import annotations

import time

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings


@click.command("resume", short_help="Let the loop act again.")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the audit.")
@json_option
@with_settings
def command(settings: Settings, why: str, as_json: bool) -> int:
    """Undo `opsloop pause`. With --json: {"paused", "why"}."""
    from opsloop.store.sqlite import open_existing

    with open_existing(settings.state) as store:
        was_paused = store.paused()[0]
        if was_paused:
            store.resume(" ".join(why.split())[:1000], time.time())
    if as_json:
        output.print_json({"paused": False, "why": ""})
    else:
        output.say("resumed; the loop may act" if was_paused else "the loop was not paused")
    return 0
