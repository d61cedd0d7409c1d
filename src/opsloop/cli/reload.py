"""`opsloop reload`: apply a changed catalog to the running stack."""

from __future__ import annotations

import dataclasses

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Ports, Settings


@click.command(short_help="Apply a changed catalog to the running stack.")
@with_settings
@click.option(
    "--deadline",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long what changed may take to become healthy.",
)
@json_option
def command(settings: Settings, deadline: float, as_json: bool) -> int:
    """Compile the catalog that the stack runs (or --catalog) and apply what changed.

    Programs whose own settings changed are restarted, changed configuration is read again by
    the program that it belongs to, and nothing else is touched. A stack that is not up is left
    so, with exit code 1.
    """
    from opsloop.cli import up
    from opsloop.stack.state import StateFolder

    info = StateFolder(settings.state).read()
    if info is not None:
        # The stack has its ports; who reloads need not say them again.
        settings = dataclasses.replace(settings, ports=Ports(info.port_base))
    running = up.bring_up(settings, deadline, must_run=True)
    if as_json:
        output.print_json(up.as_dict(running))
    else:
        for warning in running.warnings:
            output.warn(warning)
        output.say(up.headline(running.applied, running.seconds))
    return 0
