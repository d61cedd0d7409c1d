"""`opsloop check`: every problem of the catalog at once."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError, CatalogError, Problem
from opsloop.settings import Settings

if TYPE_CHECKING:
    from opsloop.catalog.load import Loaded
    from opsloop.catalog.model import Catalog


@click.command(short_help="Check the catalog; name every problem at once.")
@click.option(
    "--live",
    is_flag=True,
    help="Ask the stack's Prometheus, too, whether it has what objectives select.",
)
@click.option("--prometheus", metavar="URL", help="Ask this one instead; implies --live.")
@with_settings
@json_option
def command(settings: Settings, live: bool, prometheus: str | None, as_json: bool) -> int:
    """Check the catalog; name every problem at once, with its file, line and field.

    Exit code 0 when it can be compiled (warnings are printed), 2 when it cannot.
    """
    from opsloop.catalog.load import load

    try:
        loaded = load(settings.catalog, os.environ, settings)
        if live or prometheus is not None:
            loaded = _asked(loaded, settings, prometheus)
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
    if kept := retention(loaded.catalog):
        output.say(kept)
    return 0


def _asked(loaded: Loaded, settings: Settings, url: str | None) -> Loaded:
    """The catalog with the warnings of a live Prometheus. Raises CatalogError with its errors."""
    from opsloop.drivers.http import HttpClient
    from opsloop.drivers.prometheus import Prometheus
    from opsloop.stack.live_series import check_live
    from opsloop.stack.reach import QUERY_TIMEOUT_S, prometheus_of

    if url is None:
        server = prometheus_of(settings.state)
    elif url.startswith(("http://", "https://")):
        server = Prometheus(HttpClient(timeout_s=QUERY_TIMEOUT_S), url, timeout_s=QUERY_TIMEOUT_S)
    else:
        raise ArgumentError("--prometheus", f"{url!r} is no URL", "write it with http://")
    found = check_live(loaded.catalog, loaded.places, server, server.url)
    if found.errors:
        raise CatalogError(found.errors)
    open_ = [w for w in loaded.warnings if w.path not in found.settled]
    return replace(loaded, warnings=(*open_, *found.warnings))


def retention(catalog: Catalog) -> str:
    """How long samples are kept, where objectives decide it; else nothing."""
    from opsloop.catalog.slo import RETENTION_UNSET, required_retention

    if catalog.stack.retention is not None or catalog.retention == RETENTION_UNSET:
        return ""
    longest = max(
        (slo.window for s in catalog.services.values() for slo in s.slos.values()),
        key=lambda window: int(required_retention(window)),
    )
    return f"samples are kept {catalog.retention}: the objectives over {longest} need it"


def summary(catalog: Catalog) -> str:
    """`2 services, 1 host, 3 policies (auto)`."""
    counts = [
        (len(catalog.services), "service"),
        (sum(len(s.slos) for s in catalog.services.values()), "objective"),
        (len(catalog.processes), "process"),
        (len(catalog.hosts), "host"),
        (len(catalog.probes), "probe"),
        (len(catalog.certificates), "certificate"),
        (len(catalog.backups), "backup"),
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
