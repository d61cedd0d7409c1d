"""`opsloop init`: a first catalog, made of what runs on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsloop.cli import output
from opsloop.cli.options import with_settings
from opsloop.errors import ArgumentError
from opsloop.settings import Settings

if TYPE_CHECKING:
    from opsloop.catalog.scaffold import Answers, Found

DEMO_FOLDER = Path("shop")


@click.command(short_help="Write a first catalog by looking at what runs here.")
@with_settings
@click.option("--force", is_flag=True, help="Write over a catalog that is there already.")
@click.option("--no-discovery", is_flag=True, help="Do not look at what runs here.")
@click.option("--yes", is_flag=True, help="Ask nothing; take each question's default.")
@click.option(
    "--demo", is_flag=True, help="Write the demo shop, its catalog and its programs, into shop/."
)
def command(settings: Settings, force: bool, no_discovery: bool, yes: bool, demo: bool) -> None:
    """Write a first catalog (to --catalog, default opsloop.yaml), with a comment on each line.

    It asks every port that something listens on here, over loopback, for /metrics, and asks
    supervisord and Docker for the names of what they run, where they answer. Nothing is changed.
    On a terminal it then asks a few questions, each with a default.
    """
    if demo:
        _write_demo(settings.catalog or DEMO_FOLDER, force=force)
        return
    from opsloop.catalog.scaffold import Answers, Found, scaffold

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
    answers = Answers()
    if not yes and sys.stdin.isatty() and output.is_terminal():
        found, answers = ask(found)
    _write(path, scaffold(found, answers), force=force)
    _tell(path, found, settings)


def ask(found: Found) -> tuple[Found, Answers]:
    """What a person wants of it; Enter takes each default."""
    from opsloop.catalog.scaffold import Answers

    output.say("Enter takes what is in brackets; all of it can be changed in the file later.")
    kept = tuple(
        service
        for service in found.services
        if click.confirm(f"Watch {service.name} on {service.address} ({service.what})?", True)
    )
    default = Answers()
    answers = Answers(
        environment=_ask("Environment, a label on everything", default.environment, _name),
        team=_ask("Team that owns this and is told", default.team, _name),
        channel=_ask("Slack channel for alerts", default.channel, _channel),
        mode=click.prompt(
            "What the loop may do by itself",
            default=default.mode,
            type=click.Choice(["off", "dry-run", "approve", "auto"]),
        ),
    )
    return replace(found, services=kept), answers


def _ask(question: str, default: str, proc: Callable[[str], str]) -> str:
    answer: str = click.prompt(question, default=default, value_proc=proc)
    return answer


def _name(text: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from opsloop.catalog.explain import PATTERNS
    from opsloop.catalog.model import Name

    try:
        return TypeAdapter(Name).validate_python(text.strip())
    except ValidationError:
        (wanted,) = (words for pattern, words in PATTERNS.items() if pattern.startswith("^[a-z]["))
        raise click.UsageError(f"write {wanted}") from None


def _channel(text: str) -> str:
    text = text.strip()
    if not text.isprintable() or not text or '"' in text or "\\" in text:
        raise click.UsageError("write a channel's name, as #alerts")
    return text if text.startswith("#") else f"#{text}"


def _tell(path: Path, found: Found, settings: Settings) -> None:
    seen = [f"{len(found.services)} service{'' if len(found.services) == 1 else 's'}"]
    seen += ["a node exporter"] if found.node_exporters else []
    output.say(f"{path}: written, with {' and '.join(seen)} found on loopback")
    for service in found.services:
        output.say(f"  {service.name}  {service.address}  {service.what}")
    for note in found.notes:
        output.say(f"  {note}")
    where = "" if settings.catalog is None else f" --catalog {settings.catalog}"
    output.say(f"next: read it, then opsloop check{where} and opsloop up{where}")


def _write_demo(folder: Path, *, force: bool) -> None:
    from opsloop.stack.demo import missing_packages, write_demo

    catalog = write_demo(folder, force=force)
    output.say(f"{folder}: written: the shop's catalog and its programs")
    if missing := missing_packages():
        output.warn(
            f"the shop's programs need {' and '.join(missing)}, not installed here;"
            " install opsloop with its extra: opsloop[demo]"
        )
    output.say(f"next: opsloop up --catalog {catalog}, then opsloop drill service-kill")


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
