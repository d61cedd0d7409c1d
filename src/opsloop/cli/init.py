"""`opsloop init`: a first catalog, made of what runs on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from opsloop.cli import output
from opsloop.cli.options import with_settings
from opsloop.errors import ArgumentError
from opsloop.settings import Settings


@click.command(short_help="Write a first catalog by looking at what runs here.")
@with_settings
@click.option("--force", is_flag=True, help="Write over a catalog that is there already.")
@click.option("--no-discovery", is_flag=True, help="Do not look at what runs here.")
def command(settings: Settings, force: bool, no_discovery: bool) -> None:
    """Write a first catalog (to --catalog, default opsloop.yaml), with a comment on each line.

    It asks every port that something listens on here, over loopback, for /metrics, and asks
    supervisord and Docker for the names of what they run, where they answer. Nothing is changed.
    """
    from opsloop.catalog.scaffold import Found, scaffold

    path = settings.catalog or Path("opsloop.yaml")
    if path.is_dir():
        path /= "opsloop.yaml"
    if not force and os.path.lexists(path):
        raise ArgumentError(str(path), "is there already", "give --force to write over it")
    if no_discovery:
        found = Found()
    else:
        from opsloop.stack.discover import discover

        found = discover()
    text = scaffold(found)
    _write(path, text, force=force)
    seen = [f"{len(found.services)} service{'' if len(found.services) == 1 else 's'}"]
    seen += ["a node exporter"] if found.node_exporters else []
    output.say(f"{path}: written, with {' and '.join(seen)} found on loopback")
    for service in found.services:
        output.say(f"  {service.name}  {service.address}  {service.what}")
    for note in found.notes:
        output.say(f"  {note}")
    where = "" if settings.catalog is None else f" --catalog {settings.catalog}"
    output.say(f"next: read it, then opsloop check{where} and opsloop up{where}")


def _write(path: Path, text: str, *, force: bool) -> None:
    """Whole or not at all; what appeared there meanwhile is not written over without `force`."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    new = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        if force:
            new.replace(path)
        else:
            path.hardlink_to(new)
    except FileExistsError:
        raise ArgumentError(
            str(path), "is there already", "give --force to write over it"
        ) from None
    finally:
        new.unlink(missing_ok=True)
