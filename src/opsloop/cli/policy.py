"""`opsloop policy test`: case files decide as they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsloop.cli import output, policy_clean
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import InputError
from opsloop.settings import Settings

if TYPE_CHECKING:
    from opsloop.catalog.facts import EngineInput
    from opsloop.remediation.cases import Case

CASES_DIR = "cases"  # beside the catalog
BASES_DIR = "bases"  # in a folder of cases: situations that cases change
EXIT_DIFFERS = 1


@click.group("policy", short_help="Test policies; list what they would clean.")
def command() -> None:
    """Policies of the catalog, and what they decide."""


@command.command("test", short_help="Decide case files; say where one decides otherwise.")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@json_option
@with_settings
def test(settings: Settings, paths: tuple[Path, ...], as_json: bool) -> int:
    """Decide each case (a JSON file, or those of a folder) and compare with what it expects.

    Without PATH: the folder `cases` beside the catalog. A case names its policy whole, or leaves
    it out: then the catalog's own policy for its alert is tested. `opsloop replay RUN --as-case`
    makes one of what happened. Exit code 1 when one decides otherwise, 2 for a file that is no
    case. With --json: {"cases": [{"file", "name", "ok", "kind", "reason", "differences"}],
    "failed"}.
    """
    from opsloop.remediation.cases import differences
    from opsloop.remediation.decide import decide

    found: list[dict[str, Any]] = []
    for file, case in _read(settings, paths):
        decision = decide(case.situation)
        wrong = differences(case, decision)
        found.append(
            {
                "file": str(file),
                "name": case.name,
                "ok": not wrong,
                "kind": decision.kind,
                "reason": decision.reason,
                "differences": wrong,
            }
        )
    failed = sum(not f["ok"] for f in found)
    if as_json:
        output.print_json({"cases": found, "failed": failed})
        return EXIT_DIFFERS if failed else 0
    for one in found:
        output.say(f"{'ok  ' if one['ok'] else 'FAIL'}  {one['name']}  ({one['file']})")
        for line in one["differences"]:
            output.say(f"        {line}")
    output.say(f"{len(found)} cases, {failed} decide otherwise")
    return EXIT_DIFFERS if failed else 0


def given(settings: Settings) -> tuple[EngineInput, Path]:
    """What the engine would be told of the catalog as it is now, and the catalog's folder.

    The catalog is the one that was named, else the one that the stack was started with.
    """
    import dataclasses

    from opsloop import names
    from opsloop.catalog.facts import EngineInput
    from opsloop.cli.build import compile_bundle
    from opsloop.stack.state import StateFolder

    info = StateFolder(settings.state).read()
    if settings.catalog is None and info is not None:
        settings = dataclasses.replace(settings, catalog=Path(info.catalog))
    loaded, bundle = compile_bundle(settings)
    return EngineInput.model_validate_json(bundle.files[names.ENGINE_JSON]), loaded.directory


def _read(settings: Settings, paths: tuple[Path, ...]) -> list[tuple[Path, Case]]:
    from opsloop.remediation.cases import parse_case

    catalog, directory = given(settings)
    folder = directory / CASES_DIR
    files: list[Path] = []
    for path in paths or (folder,):
        files += sorted(path.glob("*.json")) if path.is_dir() or not paths else [path]
    if not files:
        raise InputError(
            str(folder), "holds no case", "`opsloop replay RUN --as-case` prints a first one"
        )
    return [(f, parse_case(str(f), _text(f), _bases(f.parent / BASES_DIR), catalog)) for f in files]


def _bases(folder: Path) -> dict[str, Any]:
    import json

    found = {}
    for file in sorted(folder.glob("*.json")):
        try:
            found[file.stem] = json.loads(_text(file))
        except ValueError as error:
            raise InputError(str(file), f"is no JSON: {error}", "correct it") from None
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise InputError(str(path), str(reason), "name a case file, or a folder of them") from None


command.add_command(policy_clean.command)
