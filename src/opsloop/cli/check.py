"""`opsloop check`: every problem of the catalog at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import CatalogError, Problem
from opsloop.settings import Settings

if TYPE_CHECKING:
    from opsloop.catalog.model import Catalog


@click.command(short_help="Check the catalog; name every problem at once.")
@with_settings
@json_option
def command(settings: Settings, as_json: bool) -> int:
    """Check the catalog; name every problem at once, with its file, line and field.

    Exit code 0 when it can be compiled (warnings are printed), 2 when it cannot.
    """
    from opsloop.catalog.load import load

    try:
        loaded = load(settings.catalog, os.environ, settings)
    except CatalogError as error:
        if not as_json:
            raise
        output.print_json({"errors": [_as_dict(p) for p in error.problems], "warnings": []})
        return error.exit_code
    if as_json:
        output.print_json({"errors": [], "warnings": [_as_dict(p) for p in loaded.warnings]})
        return 0
    for warning in loaded.warnings:
        output.warn(str(warning))
    where = settings.catalog or loaded.files[0]
    output.say(f"{where}: fine: {summary(loaded.catalog)}")
    return 0


def summary(catalog: Catalog) -> str:
    """`2 services, 1 host, 3 policies (auto)`."""
    counts = [
        (len(catalog.services), "service"),
        (len(catalog.processes), "process"),
        (len(catalog.hosts), "host"),
        (len(catalog.probes), "probe"),
        (len(catalog.rules), "rule"),
        (len(catalog.alerts), "alert"),
        (len(catalog.remediation.policies), "policy"),
    ]
    parts = [f"{count} {_plural(word, count)}" for count, word in counts if count]
    if catalog.remediation.policies:
        parts[-1] += f" ({catalog.remediation.mode})"
    return ", ".join(parts)


def _plural(word: str, count: int) -> str:
    if count == 1:
        return word
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("s") else "s")


def _as_dict(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
    }
