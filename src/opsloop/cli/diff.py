"""`opsloop diff`: what a build would change, as a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import click

from opsloop.cli import output
from opsloop.cli.options import with_settings
from opsloop.settings import Settings

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command(short_help="Show what a build would change.")
@with_settings
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The bundle to compare with [default: the one that `opsloop up` runs, STATE/build].",
)
def command(settings: Settings, out: Path | None) -> int:
    """Show what a build, or `opsloop up`, would change in the configuration.

    Exit code 0 when nothing would change, 1 when something would, 2 for a bad catalog.
    """
    from opsloop import names
    from opsloop.cli.build import compile_bundle
    from opsloop.stack import out_folder

    folder = out or settings.state / names.BUILD_DIR
    _, bundle = compile_bundle(settings)
    different = out_folder.differences(folder, bundle.files)
    for difference in different:
        old = out_folder.text_of(folder, difference.path)
        new = bundle.files.get(difference.path, "")
        for line in unified(difference.path, difference.kind, old, new):
            colour = None if line.startswith(("+++", "---")) else _COLOURS.get(line[:1])
            output.say(click.style(line, fg=colour, bold=line.startswith(("+++", "---"))))
    return 1 if different else 0


def unified(path: str, kind: str, old: str, new: str) -> Iterator[str]:
    """The lines of a diff that `patch -p1` takes; /dev/null where there is no such file."""
    before = "/dev/null" if kind == "missing" else f"a/{path}"
    after = "/dev/null" if kind == "extra" else f"b/{path}"
    lines = list(
        difflib.unified_diff(old.splitlines(), new.splitlines(), before, after, lineterm="", n=3)
    )
    # A file that is empty on one side, or differs in its last line break only, has no hunk.
    yield from lines or (f"--- {before}", f"+++ {after}")
