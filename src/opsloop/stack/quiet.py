"""A machine on which no service starts by itself while packages are installed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "# written by opsloop for the length of an installation"
_POLICY = f"#!/bin/sh\n{MARK}: no service starts by itself\nexit 101\n"
_NO_CLUSTER = f"{MARK}\ncreate_main_cluster = false\n"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the machine's own files are; tests give another root and their own PATH."""

    root: Path = Path("/")
    path: str | None = None

    @property
    def policy(self) -> Path:
        return self.root / "usr/sbin/policy-rc.d"

    @property
    def cluster_conf(self) -> Path:
        return self.root / "etc/postgresql-common/createcluster.conf"

    @property
    def cluster_template(self) -> Path:
        return self.root / "usr/share/postgresql-common/createcluster.conf"

    @property
    def lock(self) -> Path:
        return self.root / "run/opsloop-install.lock"

    def which(self, program: str) -> str | None:
        return shutil.which(program, path=self.path)

    def environment(self) -> dict[str, str]:
        return {
            "PATH": self.path or os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "DEBIAN_FRONTEND": "noninteractive",
            "UCF_FORCE_CONFFOLD": "1",  # createcluster.conf stays as written here
            "NEEDRESTART_SUSPEND": "1",  # and no service of the user's is restarted
            **{k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")},
        }


@contextlib.contextmanager
def no_services(machine: Machine, packages: Sequence[str]) -> Iterator[None]:
    """No service starts and no cluster is made while this lasts."""
    with _standing_in(machine.policy, _POLICY, 0o755):
        if any(p.startswith("postgresql") for p in packages):
            with _standing_in(
                machine.cluster_conf, _NO_CLUSTER, 0o644, otherwise=machine.cluster_template
            ):
                yield
        else:
            yield


@contextlib.contextmanager
def _standing_in(path: Path, text: str, mode: int, otherwise: Path | None = None) -> Iterator[None]:
    """`text` at `path` for a while; what was there is kept beside it and put back.

    A file with our mark is left from an installation that was killed: it is nobody's. When
    nothing was there, the package's own `otherwise` is put there, or nothing.
    """
    saved = path.with_name(path.name + ".opsloop-saved")
    made = _make_parents(path.parent)
    # Each step leaves a state that the next run puts right, whenever this one is killed.
    if not saved.is_symlink() and not saved.exists() and _is_theirs(path):
        os.link(path, saved, follow_symlinks=False)
    unfinished = path.with_name(path.name + ".opsloop-new")
    unfinished.write_text(text)
    unfinished.chmod(mode)
    unfinished.replace(path)
    try:
        yield
    finally:
        if saved.is_symlink() or saved.exists():
            saved.replace(path)
        elif otherwise is not None and otherwise.exists():
            shutil.copyfile(otherwise, path)
        else:
            path.unlink(missing_ok=True)
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _is_theirs(path: Path) -> bool:
    if path.is_symlink():
        return True
    try:
        return MARK not in path.read_text(errors="replace")
    except FileNotFoundError:
        return False


def _make_parents(folder: Path) -> list[Path]:
    """Make the folder; returns those that were made, innermost first."""
    lacking = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return lacking
