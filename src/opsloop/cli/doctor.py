"""`opsloop doctor`: what this machine lacks, and what mends it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings

if TYPE_CHECKING:
    from opsloop.stack.doctor import Check

EXIT_LACKS = 3


@click.command(short_help="Say what this machine lacks, and what mends it.")
@with_settings
@click.option("--install", is_flag=True, help="Install the missing programs (root, Debian).")
@json_option
def command(settings: Settings, install: bool, as_json: bool) -> int:
    """Look at the programs, ports, state folder, Python, disk and memory of this machine.

    With --install the missing programs are installed from Debian's packages; their services
    are kept from starting, now and at boot. Exit code 0 when nothing that is needed lacks, 3
    otherwise; with --install a port that is taken now does not count.
    """
    from opsloop.stack import doctor

    checks = doctor.examine(settings, os.environ)
    if install and doctor.mend(checks, output.note):
        checks = doctor.examine(settings, os.environ)
    lacking = doctor.lacks_installation(checks) if install else doctor.lacks(checks)
    if as_json:
        output.print_json(doctor.as_json(checks))
    elif install and not lacking:
        output.say("everything that the stack needs is installed")
    else:
        _tell(checks, lacking)
    return EXIT_LACKS if lacking else 0


def _tell(checks: list[Check], lacking: list[Check]) -> None:
    rows = [(c.name, "ok" if c.ok else "missing" if c.needed else "note", c.found) for c in checks]
    output.print_table(("WHAT", "STATE", "FOUND"), rows)
    fixes = dict.fromkeys(c.fix for c in checks if not c.ok and c.fix)
    for fix in fixes:
        names = ", ".join(c.name for c in checks if c.fix == fix and not c.ok)
        output.say(f"{names}: {fix}")
    if not lacking:
        output.say("nothing that is needed lacks")
