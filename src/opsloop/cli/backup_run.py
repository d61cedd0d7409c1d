"""`opsloop backup-run`: run a backup command and leave its result as metrics."""

from __future__ import annotations

from pathlib import Path

import click

from opsloop.cli import output
from opsloop.cli.options import with_settings
from opsloop.settings import Settings


@click.command("backup-run", short_help="Run a backup command; leave its result as metrics.")
@click.argument("name")
@click.argument("argv", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--size-of",
    "measured",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The file or folder that the backup leaves; its size is a metric.",
)
@click.option(
    "--textfile-dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder that node-exporter reads [STATE/textfile].",
)
@with_settings
def command(
    settings: Settings,
    name: str,
    argv: tuple[str, ...],
    measured: Path | None,
    folder: Path | None,
) -> int:
    """Run COMMAND (no shell in between) and record the result as backup NAME.

    Its output and input are ours, signals are handed on, and its exit code becomes ours: 127
    when it was not found, 126 when it cannot be run, 128 + N when signal N killed it. 3: it
    succeeded, but its metrics could not be written. 1: NAME runs already; nothing was started.

    DIR/backup_NAME.prom then holds, with the label backup="NAME": opsloop_backup_success,
    opsloop_backup_last_success_timestamp_seconds (kept when a run fails),
    opsloop_backup_last_run_timestamp_seconds (its end), opsloop_backup_duration_seconds and,
    with --size-of, opsloop_backup_size_bytes (of the last run that succeeded).

    \b
    opsloop backup-run db --size-of /backup/db.dump -- pg_dump -Fc -f /backup/db.dump shop
    """
    from opsloop import names
    from opsloop.stack import backups
    from opsloop.stack.state import StateFolder

    backups.check_name(name)
    if folder is None:
        state = StateFolder(settings.state)
        if not state.exists():
            output.warn(
                f"no stack was ever up in {state.root}, so nobody may read these metrics; "
                "give the stack's folder with --state, or --textfile-dir"
            )
        folder = state.root / names.TEXTFILE_DIR
    return backups.run_backup(name, argv, folder, measured, output.complain)
