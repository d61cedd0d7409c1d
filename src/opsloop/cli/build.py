"""`opsloop build`: the catalog compiled into a folder, checked before it is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsloop.catalog.load import Loaded
    from opsloop.compile.bundle import Bundle
    from opsloop.report.alert_tests import Row
    from opsloop.stack.checkers import CheckResult
    from opsloop.stack.out_folder import Difference


@click.command(short_help="Compile the catalog into a folder of configuration.")
@with_settings
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build"),
    show_default=True,
    metavar="DIR",
    help="Where to: a new folder, or one that an earlier build made.",
)
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit 1 when DIR is stale."
)
@click.option("--run-tests", is_flag=True, help="Also run the rules' tests with promtool.")
@json_option
def command(settings: Settings, out: Path, only_check: bool, run_tests: bool, as_json: bool) -> int:
    """Compile the catalog into a folder of configuration.

    What is compiled is checked by promtool and amtool where they are installed; when one of
    them refuses, nothing is written. Exit code 0 when DIR is written or fresh, 1 when --check
    finds it stale, 2 when the catalog or the result is refused.
    """
    from opsloop.stack import checkers, out_folder

    loaded, bundle = compile_bundle(settings)
    if not as_json:
        for warning in loaded.warnings:
            output.warn(str(warning))
    different = out_folder.differences(out, bundle.files)
    if only_check and not run_tests:
        return _report_freshness(out, different, as_json)
    if not only_check:
        out_folder.refuse_foreign(out)
    named = loaded.catalog.stack.binaries
    checks: list[CheckResult] = []
    tests: list[CheckResult] = []
    table: list[Row] = []

    def examine(root: Path) -> None:
        checks.extend(checkers.check_bundle(root, named))
        if not as_json:
            _print_skipped(checks)
        checkers.refuse_failed(checks)
        if run_tests:
            tests.extend(_run_tests(root, named, quiet=as_json))
            table.extend(_table(bundle, tests))
            if not as_json:
                _print_table(table)
            checkers.refuse_failed(tests)

    if only_check:
        with out_folder.scratch(bundle.files) as root:
            examine(root)
        return _report_freshness(out, different, as_json)
    with out_folder.replacement(out, bundle.files, unchanged=not different) as root:
        examine(root)
    _report(out, bundle, different, checks, tests, table, as_json)
    return 0


def compile_bundle(settings: Settings) -> tuple[Loaded, Bundle]:
    """Load and compile, with the stand-ins that `up` would use. Raises CatalogError, InputError."""
    from opsloop import names
    from opsloop.catalog.load import load
    from opsloop.compile.bundle import compile_catalog
    from opsloop.compile.options import Options
    from opsloop.stack.binaries import find_grafana
    from opsloop.stack.secrets import vendors

    loaded = load(settings.catalog, os.environ, settings)
    secrets = settings.state / names.SECRETS_DIR
    who = vendors(secrets, loaded.catalog, os.environ, loaded.directory)
    options = Options(
        ports=settings.ports,
        slack_stand_in=who.slack == "stand-in",
        pagerduty=who.pagerduty,
        stand_ins=who.missing_files,
        grafana=find_grafana(loaded.catalog.stack.binaries) is not None,
    )
    return loaded, compile_catalog(loaded.catalog, options)


def _run_tests(root: Path, named: Mapping[str, str], *, quiet: bool) -> list[CheckResult]:
    from opsloop.stack import checkers

    total = len(list((root / checkers.TESTS).glob("*.yml")))
    done = 0

    def each(result: CheckResult) -> None:
        nonlocal done
        done += 1
        if not quiet:
            output.note(f"[{done}/{total}] {result.status:7} {result.name}")

    return checkers.run_tests(root, named, each)


def _table(bundle: Bundle, tests: list[CheckResult]) -> list[Row]:
    """Alert by kind of case; a file whose tests did not run counts for nothing."""
    from opsloop.report import alert_tests

    skipped = {r.name for r in tests if r.status == "skipped"}
    failed = {r.name: r.failed_tests for r in tests if r.status == "failed"}
    files = {path: text for path, text in bundle.files.items() if path not in skipped}
    return alert_tests.table(files, failed)


def _print_table(table: list[Row]) -> None:
    from opsloop.report import alert_tests

    headers, cells = alert_tests.lines(table)
    output.print_table(headers, cells)
    output.say()


def _print_skipped(results: list[CheckResult]) -> None:
    for result in results:
        if result.status == "skipped":
            output.warn(f"{result.name} was skipped: {result.detail} (see opsloop doctor)")


def _report_freshness(out: Path, different: list[Difference], as_json: bool) -> int:
    if as_json:
        output.print_json({"out": str(out), "fresh": not different, "changed": _dicts(different)})
    elif different:
        for difference in different:
            output.say(f"{difference.kind:8} {difference.path}")
        output.complain(f"{out}: {_files(len(different))} stale; run: opsloop build --out {out}")
    else:
        output.say(f"{out}: fresh")
    return 1 if different else 0


def _report(
    out: Path,
    bundle: Bundle,
    different: list[Difference],
    checks: list[CheckResult],
    tests: list[CheckResult],
    table: list[Row],
    as_json: bool,
) -> None:
    from opsloop.report import alert_tests

    if as_json:
        output.print_json(
            {
                "out": str(out),
                "files": len(bundle.files),
                "changed": _dicts(different),
                "checks": [_result(r) for r in checks],
                "tests": [_result(r) for r in tests],
                **({"alerts": alert_tests.as_json(table)} if tests else {}),
            }
        )
        return
    what = f"{len(different)} changed" if different else "nothing changed"
    parts = [f"{_files(len(bundle.files))}, {what}"]
    passed = [r.name for r in checks if r.status == "ok"]
    if passed:
        parts.append(f"passed {', '.join(passed)}")
    if tests:
        count = sum(r.status == "ok" for r in tests)
        cases = sum(row.tests for row in table)
        parts.append(f"{count} of {len(tests)} test files passed ({cases} alert tests)")
    output.say(f"{out}: {'; '.join(parts)}")


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _dicts(different: list[Difference]) -> list[dict[str, str]]:
    return [{"path": d.path, "change": d.kind} for d in different]


def _result(result: CheckResult) -> dict[str, Any]:
    return {"name": result.name, "status": result.status, "detail": result.detail}
