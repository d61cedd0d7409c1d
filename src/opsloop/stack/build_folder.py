"""STATE/build: the bundle on disk, replaced only when all of the new one is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opsloop import names
from opsloop.stack.files import usable

# What is read again on SIGHUP, and by which program. What else changes belongs to a program
# that supervisord restarts, or to nobody (tests, expected routes, the manifest).
_READERS = (
    (names.PROMETHEUS_YML, "prometheus"),
    ("prometheus/rules/", "prometheus"),
    (names.ALERTMANAGER_YML, "alertmanager"),
    (names.BLACKBOX_YML, "blackbox-exporter"),
    (names.ENGINE_JSON, "engine"),
)


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths of the bundle that were written or removed."""

    paths: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths)

    @property
    def conf(self) -> bool:
        """Whether supervisord has something to update."""
        return names.SUPERVISORD_CONF in self.paths

    @property
    def readers(self) -> list[str]:
        """Programs that have a changed file to read again."""
        found = {who for path in self.paths for start, who in _READERS if path.startswith(start)}
        return sorted(found)


def changes(folder: Path, bundle: Mapping[str, str]) -> Changes:
    """What `write` would do."""
    present = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    changed = {p for p, text in bundle.items() if not _same(folder / p, text)}
    return Changes(tuple(sorted(changed | (present - set(bundle)))))


def write(folder: Path, bundle: Mapping[str, str]) -> Changes:
    """Make `folder` hold exactly the bundle; returns what changed. Raises StateUnusable.

    Everything is on disk under other names before the first file is replaced, so a full disk
    leaves the old bundle whole.
    """
    found = changes(folder, bundle)
    unfinished: list[tuple[Path, Path]] = []
    with usable(folder):
        try:
            for path in found.paths:
                if path in bundle:
                    final = folder / path
                    final.parent.mkdir(parents=True, exist_ok=True)
                    new = final.with_name(f".{final.name}.new")
                    unfinished.append((new, final))
                    with new.open("w") as file:
                        os.fchmod(file.fileno(), 0o644)
                        file.write(bundle[path])
                        file.flush()
                        os.fsync(file.fileno())
            for new, final in unfinished:
                new.replace(final)
            for path in set(found.paths) - set(bundle):
                (folder / path).unlink(missing_ok=True)
        except BaseException:
            for new, _ in unfinished:
                with contextlib.suppress(OSError):
                    new.unlink(missing_ok=True)
            raise
    return found


def _same(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except (OSError, UnicodeDecodeError):
        return False
