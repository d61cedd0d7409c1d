"""The demo shop, which travels with the package: where it is, and a copy for a person to run."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

import opsloop
from opsloop.errors import ArgumentError, MachineError

PACKAGES: Final = ("aiohttp", "psycopg", "psycopg_pool")  # of the extra `demo`
_PACKAGE: Final = Path(opsloop.__file__).parent


def demo_folder() -> Path:
    """In an installation inside the package, in a checkout beside it. Raises MachineError."""
    for folder in (_PACKAGE / "examples" / "shop", _PACKAGE.parents[1] / "examples" / "shop"):
        if (folder / "opsloop.yaml").is_file():
            return folder
    raise MachineError("the demo", "is not in this installation", "install opsloop again")


def write_demo(into: Path, *, force: bool) -> Path:
    """Copy the shop to the folder `into`, whole or not at all; the path of its catalog.

    Raises ArgumentError when something is there already and `force` is not given.
    """
    if into.exists() and not (into.is_dir() and (force or not any(into.iterdir()))):
        raise ArgumentError(str(into), "is there already", "give --force to write into it")
    unfinished = into.parent / f".{into.name}.unfinished"
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(demo_folder(), unfinished, ignore=shutil.ignore_patterns("__pycache__"))
        if into.exists():
            shutil.copytree(unfinished, into, dirs_exist_ok=True)
        else:
            unfinished.rename(into)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return into / "opsloop.yaml"


def missing_packages() -> list[str]:
    """What the shop's programs import and this Python lacks."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
