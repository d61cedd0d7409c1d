"""A bundle in a folder of the user's: written beside it, checked, then swapped in whole."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opsloop import names
from opsloop.errors import ArgumentError

Kind = Literal["missing", "differs", "extra"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as compiled: missing in the folder, different, or not of the bundle."""

    path: str
    kind: Kind


def differences(folder: Path, bundle: Mapping[str, str]) -> list[Difference]:
    """Every file of `folder` that is not as in the bundle, sorted; empty when it is fresh."""
    present = _present(folder)
    found = [Difference(p, "missing") for p in bundle if p not in present]
    found += [Difference(p, "extra") for p in present if p not in bundle]
    found += [
        Difference(p, "differs") for p in present if p in bundle and _differs(folder, p, bundle)
    ]
    return sorted(found, key=lambda d: d.path)


def text_of(folder: Path, path: str) -> str:
    """What stands there, empty when nothing does; bytes that are no text are shown escaped."""
    try:
        return (folder / path).read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""


def refuse_foreign(folder: Path) -> None:
    """Raise ArgumentError unless `folder` is new, empty, or holds a bundle and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ArgumentError("--out", f"{folder} is not a folder", "name another")
    present = _present(folder)
    if not present and not any(folder.iterdir()):
        return
    ours = _manifest(folder)
    if ours is None:
        raise ArgumentError(
            "--out", f"{folder} holds files that opsloop did not write", "name a new folder"
        )
    foreign = [p for p in present if p not in ours and p != names.MANIFEST_JSON]
    if foreign:
        shown = ", ".join(foreign[:3]) + (
            f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        )
        raise ArgumentError(
            "--out", f"{folder} holds {shown}, which opsloop did not write", "move them elsewhere"
        )


@contextmanager
def scratch(bundle: Mapping[str, str], parent: Path | None = None) -> Iterator[Path]:
    """The bundle in a folder of its own (under `parent`, else with the temporary files)."""
    work = Path(tempfile.mkdtemp(prefix=".opsloop-build-", dir=parent))
    try:
        new = work / "new"
        new.mkdir()
        for path, text in bundle.items():
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        yield new
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def replacement(
    folder: Path, bundle: Mapping[str, str], *, unchanged: bool = False
) -> Iterator[Path]:
    """The bundle in a folder beside `folder`; when the body ends well, it takes its place.

    When the body raises, or the disk is full, `folder` is as it was and nothing is left.
    unchanged: `folder` holds the bundle already, and stays as it is.
    """
    target = folder.resolve()
    made = [p for p in (target.parent, *target.parent.parents) if not p.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with scratch(bundle, target.parent) as new:
            yield new
            if not unchanged:
                _swap(new, target)
    except BaseException:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _swap(new: Path, target: Path) -> None:
    """Two renames on one file system; when the second fails, the first is undone."""
    old = new.with_name("old")
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise


def _present(folder: Path) -> list[str]:
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()
    )


def _differs(folder: Path, path: str, bundle: Mapping[str, str]) -> bool:
    try:
        return (folder / path).read_bytes() != bundle[path].encode()
    except OSError:
        return True


def _manifest(folder: Path) -> frozenset[str] | None:
    """The paths that the manifest there names; None when there is none of ours."""
    try:
        value = json.loads((folder / names.MANIFEST_JSON).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or "opsloop" not in value:
        return None
    files = value.get("files")
    return frozenset(files) if isinstance(files, dict) else None
