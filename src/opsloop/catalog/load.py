"""Load a catalog: files merged by name, validated, checked; every problem at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opsloop import names
from opsloop.catalog import check, check_notify, check_steps, files, merge, validate
from opsloop.catalog.model import Catalog
from opsloop.catalog.places import Places
from opsloop.catalog.units import Duration
from opsloop.errors import CatalogError, Problem
from opsloop.settings import ENV_RETENTION, Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """A catalog without a problem.

    directory: absolute, what relative paths in the catalog start from. files: as the user gave
    them. warnings: what works but should not stay so.
    """

    catalog: Catalog
    directory: Path
    files: tuple[Path, ...]
    warnings: tuple[Problem, ...]
    places: Places


def load(
    path: Path | None, environ: Mapping[str, str] | None = None, settings: Settings | None = None
) -> Loaded:
    """The catalog at `path`; None means ./opsloop.yaml, else ./catalog/.

    environ (default: the process's own) gives `${VAR}` and PROMETHEUS_RETENTION; settings
    (default: as `environ` says) gives the ports and which secrets there are.
    Raises CatalogError with every problem that can be seen, and nothing else for its content.
    """
    environ = os.environ if environ is None else environ
    settings = _with_kept_secrets(settings or Settings.from_env(environ))
    reading = files.read(path, environ)
    documents = reading.documents
    if not documents:
        raise CatalogError(reading.problems)
    places = Places([(str(d.file), d.root) for d in documents])
    merged, problems = merge.merge(documents)
    problems = reading.problems + problems
    problems += _retention(merged, settings)

    refused = {path for document in documents for path in document.refused}
    outcome = validate.validate(merged, places, refused)
    problems += outcome.problems
    warnings: list[Problem] = []
    # With a file missing, every reference into it would be called unknown.
    if outcome.catalog is not None and reading.complete:
        findings = check.examine(
            outcome.catalog, settings, places, declared=outcome.declared, broken=outcome.broken
        )
        check_notify.files(findings, reading.directory)
        check_steps.files(findings, reading.directory)
        problems += findings.errors
        warnings = findings.warnings
    if problems or outcome.catalog is None:
        raise CatalogError(_sorted(problems, documents))
    return Loaded(outcome.catalog, reading.directory, tuple(reading.files), tuple(warnings), places)


def _sorted(problems: list[Problem], documents: list[files.Document]) -> list[Problem]:
    order = {str(d.file): i for i, d in enumerate(documents)}
    unique = list(dict.fromkeys(problems))
    return sorted(unique, key=lambda p: (order.get(p.file, len(order)), p.line))


def _with_kept_secrets(settings: Settings) -> Settings:
    """A secret that an earlier `up` was given is in the state folder and counts as set."""
    folder = settings.state / names.SECRETS_DIR

    def kept(name: str) -> bool:
        try:
            return (folder / name).exists()
        except (OSError, ValueError):
            return False

    return replace(
        settings,
        has_slack=settings.has_slack or kept(names.SECRET_SLACK_URL),
        has_pagerduty=settings.has_pagerduty or kept(names.SECRET_PAGERDUTY_KEY),
        has_grafana=settings.has_grafana or kept(names.SECRET_GRAFANA_PASSWORD),
    )


def _retention(merged: dict[str, Any], settings: Settings) -> list[Problem]:
    """PROMETHEUS_RETENTION wins over the catalog's own."""
    if settings.retention is None:
        return []
    try:
        Duration.parse(settings.retention)
    except ValueError as error:
        return [
            Problem(ENV_RETENTION, 0, "stack.retention", str(error), "set it to 15d, or unset it")
        ]
    stack = merged.setdefault("stack", {})
    if isinstance(stack, dict):
        stack["retention"] = settings.retention
    return []
