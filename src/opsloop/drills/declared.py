"""Breaks a certificate or a backup of the catalog for a drill, and mends it by hand."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from opsloop import names
from opsloop.compile.places import CATALOG_LINK
from opsloop.drills.faults import Aim
from opsloop.drills.watch import World
from opsloop.drivers.certificates import first_expiry
from opsloop.drivers.words import Words
from opsloop.errors import StackError
from opsloop.stack import backups

DAYS: Final = 1  # what the drill's certificate is valid for; openssl makes none for less
_MAKE: Final = (
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-days", str(DAYS), "-subj", "/CN=drill",
)  # fmt: skip


class Declared:
    """The certificate or the backup that one drill breaks."""

    def __init__(self, world: World, aim: Aim) -> None:
        self._world = world
        self._aim = aim
        root = world.state.root
        self._words = Words.of(world.catalog, root, (root / CATALOG_LINK).resolve(), world.ports)
        self._kept: bytes | None = None

    def break_it(self) -> Callable[[], bool]:
        """Break it; returns the look that is true when it is well again. Raises StackError."""
        if self._aim.subject.kind == "certificate":
            return self._expire()
        self._run_backup(["false"])
        return lambda: self._metrics().get(backups.SUCCESS) == 1

    def mend(self) -> None:
        """As it was before the drill, or as its own command makes it."""
        if self._aim.subject.kind == "certificate":
            if self._kept is not None:
                _put(self._file, self._kept)
            return
        command = self._world.catalog.backups[self._aim.subject.name].command or ["true"]
        self._run_backup([self._words.put(word) for word in command])

    @property
    def _file(self) -> Path:
        return self._words.path(self._world.catalog.certificates[self._aim.subject.name].file)

    def _expire(self) -> Callable[[], bool]:
        limit = self._world.catalog.certificates[self._aim.subject.name].expires_within
        if limit.seconds <= DAYS * 86_400:
            raise self._refused(f"expires_within is {limit}: a certificate of a day is well")
        try:
            self._kept = self._file.read_bytes()
            with tempfile.TemporaryDirectory() as name:
                made, key = Path(name, "made"), Path(name, "key")
                subprocess.run(
                    [*_MAKE, "-keyout", str(key), "-out", str(made)],
                    check=True, capture_output=True, timeout=30,
                )  # fmt: skip
                _put(self._file, made.read_bytes() + key.read_bytes())
        except (OSError, subprocess.SubprocessError) as error:
            raise self._refused(f"{self._file} cannot be replaced: {error}") from error

        def well() -> bool:
            try:
                return first_expiry(self._file.read_bytes()) - time.time() >= limit.seconds
            except (OSError, ValueError):
                return False

        return well

    def _metrics(self) -> dict[str, float]:
        folder = self._world.state.root / names.TEXTFILE_DIR
        return backups.read_metrics(backups.metrics_path(folder, self._aim.subject.name))

    def _run_backup(self, command: list[str]) -> None:
        folder = self._world.state.root / names.TEXTFILE_DIR
        backups.run_backup(self._aim.subject.name, command, folder, None, lambda _: None)

    def _refused(self, reason: str) -> StackError:
        return StackError(f"drill {self._aim.drill.name}", reason, "see `opsloop doctor`")


def _put(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.drill")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(path)
