"""`opsloop import`: SLOs of Sloth, Pyrra and OpenSLO as a catalog, and what did not come along."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsloop.cli import output
from opsloop.cli.options import json_option
from opsloop.errors import ArgumentError, CatalogError, InputError

if TYPE_CHECKING:
    from opsloop.catalog.imported import CarriedSLO, Changed, Imported, NotCarried

MAX_BYTES = 4 * 1024 * 1024
STDIN = "-"
_NOTHING: dict[str, Any] = {
    "catalog": "", "out": None, "slos": [], "not_carried": [], "changed": [], "errors": []
}  # fmt: skip


@click.command(name="import", short_help="Make a catalog of SLO files of Sloth, Pyrra or OpenSLO.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to [stdout].")
@click.option("--force", is_flag=True, help="Write over FILE when it is there already.")
@click.option("--team", metavar="NAME", help="Team of services whose files name none [platform].")
@json_option
def command(
    files: tuple[str, ...], out: Path | None, force: bool, team: str | None, as_json: bool
) -> int:
    """Make a catalog of SLO files of Sloth, Pyrra or OpenSLO.

    FILE is a file, a folder (its *.yaml and *.yml, also in folders below), or - for stdin. Files
    may refer to each other. What cannot be carried over, and what is written in another way, is
    listed on stderr. Exit code 2 when a file is wrong or nothing is left; then nothing is written.
    """
    from opsloop.catalog.import_catalog import NAME, NothingCarried, import_texts

    if team is not None and not NAME.fullmatch(team):
        raise ArgumentError(
            "--team", f"{team!r} is no name", "write lower-case letters, digits and dashes"
        )
    if out is not None and not force and os.path.lexists(out):
        raise ArgumentError(str(out), "is there already", "give --force to write over it")
    try:
        result = import_texts([(name, _text(name)) for name in _spread(files)], team)
    except NothingCarried as error:
        if not as_json:
            _list("not carried", error.not_carried)
            raise
        left = [asdict(n) for n in error.not_carried]
        problem = {"file": "", "line": 0, "path": "", "message": error.reason, "hint": ""}
        output.print_json({**_NOTHING, "errors": [problem], "not_carried": left})
        return error.exit_code
    except CatalogError as error:
        if not as_json:
            raise
        output.print_json({**_NOTHING, "errors": [asdict(p) for p in error.problems]})
        return error.exit_code
    if out is not None:
        _write(out, result.text, force=force)
    if as_json:
        output.print_json(_as_dict(result, out))
        return 0
    _list("not carried", result.not_carried)
    _list("changed", result.changed)
    output.note(_summary(result))
    if out is None:
        click.echo(result.text, nl=False)
    else:
        output.say(f"{out}: written; next: opsloop check --catalog {out}")
    return 0


def _list(title: str, found: Sequence[NotCarried | Changed]) -> None:
    """One line for each; what is the same in several places is one line with their number."""
    first: dict[tuple[str, ...], NotCarried | Changed] = {}
    more: Counter[tuple[str, ...]] = Counter()
    for line in found:
        same = tuple(asdict(line).values())[3:]
        if first.setdefault(same, line) is not line:
            more[same] += 1
    for same, line in first.items():
        others = f" [and {more[same]} more, see --json]" if more[same] else ""
        output.note(f"{title}: {line}{others}")


def _spread(files: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in files:
        path = Path(name)
        if name == STDIN or not path.is_dir():
            found.append(name)
            continue
        inside = sorted(
            str(p)
            for p in path.rglob("*")
            if p.suffix in (".yaml", ".yml")
            and not any(part.startswith(".") for part in p.relative_to(path).parts)
            and p.is_file()
        )
        if not inside:
            raise ArgumentError(name, "has no *.yaml file", "name the files themselves")
        found += inside
    return list(dict.fromkeys(found))


def _text(name: str) -> str:
    """The text of a file. InputError when it cannot be read."""
    try:
        if name == STDIN:
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(name, f"cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise InputError(name, f"is larger than {MAX_BYTES // 1024 // 1024} MiB", "split it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(name, f"is not UTF-8 on line {line}") from None


def _write(path: Path, text: str, *, force: bool) -> None:
    """Whole or not at all; what appeared there meanwhile is not written over without `force`."""
    if not path.parent.is_dir():
        raise ArgumentError(str(path), "its folder is not there", f"mkdir -p {path.parent}")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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


def _summary(result: Imported) -> str:
    exact = sum(s.exact for s in result.slos)
    count = len(result.slos)
    parts = [f"{count} SLO{'' if count == 1 else 's'}, {exact} of them exact"]
    parts += [f"{len(result.not_carried)} not carried"] if result.not_carried else []
    parts += [f"{len(result.changed)} changed"] if result.changed else []
    return f"import: {'; '.join(parts)}"


def _as_dict(result: Imported, out: Path | None) -> dict[str, Any]:
    return {
        "catalog": result.text,
        "out": None if out is None else str(out),
        "slos": [_slo(s) for s in result.slos],
        "not_carried": [asdict(n) for n in result.not_carried],
        "changed": [asdict(c) for c in result.changed],
        "errors": [],
    }


def _slo(slo: CarriedSLO) -> dict[str, Any]:
    return {
        "service": slo.service,
        "slo": slo.name,
        "file": slo.origin.file,
        "line": slo.origin.line,
        "sli": slo.value.sli.kind,
        "exact": slo.exact,
        "why": slo.why,
    }
