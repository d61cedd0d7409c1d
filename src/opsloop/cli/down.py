"""`opsloop down`: stop everything of the stack."""

from __future__ import annotations

import sys

import click

from opsloop.cli import output
from opsloop.cli.options import with_settings
from opsloop.settings import Settings


@click.command(short_help="Stop the stack.")
@with_settings
@click.option("--purge", is_flag=True, help="Remove its data, logs and secrets too.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge.")
def command(settings: Settings, purge: bool, yes: bool) -> int:
    """Stop every process of the stack, also those that a killed supervisord left behind.

    A stack that does not run is no error. Data, logs and secrets stay, unless --purge is given.
    """
    from opsloop.stack import native
    from opsloop.stack.state import StateFolder

    state = StateFolder(settings.state)
    if purge and not yes and state.root.exists() and sys.stdin.isatty():
        click.confirm(f"Remove everything that the stack keeps in {state.root}?", abort=True)
    ran = native.down(state, output.note, purge=purge)
    output.say("the stack is stopped" if ran else "the stack was not running")
    if purge:
        output.say(f"removed {state.root}")
    return 0
