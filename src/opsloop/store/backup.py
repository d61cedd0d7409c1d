"""An online copy of the store's file: whole, checked, and in place at once or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from opsloop.errors import StoreUnusable
from opsloop.store import audit
from opsloop.store.connection import connect, failures

PAGES = 256  # copied between two looks at the source, so that writers hardly wait


@dataclass(frozen=True, slots=True)
class Copy:
    """What was written. audit_rows: of the chain, which was read back from the copy."""

    path: Path
    size: int
    audit_rows: int


def copy(source: Path, target: Path) -> Copy:
    """Copy a store while it is in use. An existing target is replaced only by a whole copy.

    Raises StoreUnusable when the target cannot be written or the copy is not sound.
    """
    if target.is_dir() or (target.exists() and target.samefile(source)):
        raise StoreUnusable(str(target), "is no place for a copy", "name a new file")
    part = target.with_name(f".{target.name}.part")
    try:
        with contextlib.closing(connect(source)) as from_:
            if part.exists():
                part.unlink()
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with contextlib.closing(sqlite3.connect(part)) as to, failures(target):
                from_.backup(to, pages=PAGES)
                to.execute("PRAGMA journal_mode = DELETE")
        found = _checked(part, target)
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreUnusable(
            str(target), f"cannot be written: {error.strerror}", "choose another file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return Copy(target, target.stat().st_size, found)


def _checked(part: Path, target: Path) -> int:
    with contextlib.closing(sqlite3.connect(part)) as c, failures(target):
        c.row_factory = sqlite3.Row
        sound = c.execute("PRAGMA integrity_check(1)").fetchone()[0]
        chain = audit.verify(c)
    if sound != "ok" or not chain.ok:
        reason = sound if sound != "ok" else chain.reason
        raise StoreUnusable(str(target), f"the copy is not sound: {reason}", "copy again")
    return chain.rows


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
