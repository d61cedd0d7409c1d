"""`opsloop store backup` and `store prune`: care for the engine's state."""

from __future__ import annotations

import time
from pathlib import Path

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError
from opsloop.settings import Settings

STEP = 500  # rows of one transaction, so that the engine hardly waits
SHORTEST = "1d"


@click.group("store", short_help="Back up the engine's state, or forget old parts of it.")
def command() -> None:
    """The engine's state is one SQLite file in the state folder."""


@command.command("backup", short_help="Copy the engine's state while it is in use.")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@with_settings
def backup(settings: Settings, file: Path, as_json: bool) -> int:
    """Write a whole, checked copy to FILE (mode 0600); the engine goes on meanwhile.

    To restore: `opsloop down`, put the copy in place of data/engine.sqlite in the state folder
    (remove its -wal and -shm), `opsloop up`. With --json: {"file", "bytes", "audit_rows"}.
    """
    from opsloop import names
    from opsloop.store import backup as copies
    from opsloop.store.sqlite import open_existing

    with open_existing(settings.state):
        found = copies.copy(settings.state / names.STORE_FILE, file)
    if as_json:
        output.print_json(
            {"file": str(found.path), "bytes": found.size, "audit_rows": found.audit_rows}
        )
        return 0
    output.say(
        f"{found.path}: {found.size / 2**20:.1f} MiB, its audit of {found.audit_rows} rows is whole"
    )
    return 0


@command.command("prune", short_help="Forget closed episodes and audit rows by age.")
@click.option("--older-than", default="90d", metavar="AGE", help="As 90d [90d], at least 1d.")
@json_option
@with_settings
def prune(settings: Settings, older_than: str, as_json: bool) -> int:
    """Forget what ended longer ago than AGE; open episodes and their runs stay.

    The engine does the same each hour, for what is older than `remediation.keep`. The audit is
    cut at its beginning, and says so. With --json: {"rows", "older_than_s"}.
    """
    from opsloop.catalog.units import Duration
    from opsloop.store.sqlite import open_existing

    try:
        age = Duration.parse(older_than)
    except ValueError as error:
        raise ArgumentError("--older-than", str(error), "write it as 90d") from None
    if age < Duration.parse(SHORTEST):
        raise ArgumentError(
            "--older-than", f"{older_than} is shorter than {SHORTEST}", "guards look back for hours"
        )
    now = time.time()
    rows = 0
    with open_existing(settings.state) as store:
        while step := store.prune(now - age.seconds, STEP, now):
            rows += step
    if as_json:
        output.print_json({"rows": rows, "older_than_s": age.seconds})
    else:
        output.say(f"{rows} episodes and audit rows older than {age} were forgotten")
    return 0
