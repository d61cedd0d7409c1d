"""Cleaning a disk by declared rules: by folder, pattern and age, never through a link."""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsloop import names
from opsloop.drivers.fence import Fence
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, CleanRule
from opsloop.remediation.ports import StepResult

DEEPEST: Final = 32  # folders below the declared one
MOST_FILES: Final = 100_000  # that one rule looks at
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOUNTPOINT: Final = f"OPSLOOP_{names.MOUNTPOINT.upper()}"


@dataclass(frozen=True, slots=True)
class Old:
    """A file that a rule allows to delete. path: below the rule's folder; frees: bytes of disk,
    0 where another name of it stays; inode: what it was when it was looked at."""

    folder: Path
    path: str
    frees: int
    modified_at: float
    inode: tuple[int, int]


class CleanDriver:
    """Deletes what the rules of a `clean` step allow, on the file system that is full."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._fence = Fence()

    def perform(self, action: Action, token: int) -> StepResult:
        """Raises DriverError, nothing deleted, for a folder that is not as declared."""
        self._fence.check(action.target, token)
        work = action.work
        if work is None or not work.rules:
            raise DriverError(action.target, "there is no rule to clean it by")
        full = dict(work.values).get(MOUNTPOINT, "")
        rules = [r for r in work.rules if not full or mount_of(self._folder(r)) == full]
        if not rules:
            return StepResult(ok=False, started=False, output=f"no declared folder lies on {full}")
        deadline = time.monotonic() + action.limit_s
        found = [old for rule in rules for old in self.allowed(rule, time.time())]
        deleted, freed, kept = 0, 0, []
        for old in found:
            if time.monotonic() > deadline:
                kept.append(f"time was over after {action.limit_s:g} s")
                break
            reason = delete(old)
            if reason:
                kept.append(f"{old.folder / old.path}: {reason}")
            else:
                deleted, freed = deleted + 1, freed + old.frees
        told = [f"deleted {deleted} of {len(found)} files, freed {size(freed)}", *kept[:10]]
        return StepResult(ok=deleted > 0, started=deleted > 0, output="\n".join(told))

    def allowed(self, rule: CleanRule, now: float) -> list[Old]:
        """What `rule` allows to delete at `now` (unix seconds), oldest first.

        Raises DriverError when its folder is not there, is a link, or cannot be read.
        """
        folder = self._folder(rule)
        try:
            descriptor = os.open(folder, _FOLDER)
        except OSError as error:
            reason = "is a link or no folder" if error.errno in (20, 40) else error.strerror
            raise DriverError(str(folder), f"is not cleaned: {reason}".lower()) from error
        try:
            device = os.fstat(descriptor).st_dev
            found = [
                old
                for old in _walk(descriptor, folder, "", device, DEEPEST)
                if fnmatch.fnmatchcase(os.path.basename(old.path), rule.pattern)  # noqa: PTH119
            ]
        except OSError as error:
            raise DriverError(str(folder), f"cannot be read: {error.strerror}".lower()) from error
        finally:
            os.close(descriptor)
        found.sort(key=lambda old: (old.modified_at, old.path))
        spare = found[: max(0, len(found) - rule.keep)]
        return [old for old in spare if old.modified_at < now - rule.older_than_s]

    def _folder(self, rule: CleanRule) -> Path:
        return self._words.path(rule.folder)


def _walk(descriptor: int, folder: Path, below: str, device: int, depth: int) -> Iterator[Old]:
    """Every plain file, by descriptors, so that no link is followed even when one appears now."""
    count = 0
    with os.scandir(descriptor) as entries:
        for entry in entries:
            count += 1
            if count > MOST_FILES:
                return
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = f"{below}{entry.name}"
            if found.st_dev != device:
                continue  # another file system is mounted there
            if stat.S_ISREG(found.st_mode):
                frees = found.st_blocks * 512 if found.st_nlink == 1 else 0
                yield Old(folder, path, frees, found.st_mtime, (found.st_dev, found.st_ino))
            elif stat.S_ISDIR(found.st_mode) and depth > 0:
                try:
                    inner = os.open(entry.name, _FOLDER, dir_fd=descriptor)
                except OSError:
                    continue  # gone, or a link by now
                try:
                    yield from _walk(inner, folder, f"{path}/", device, depth - 1)
                finally:
                    os.close(inner)


def delete(old: Old) -> str:
    """Delete one file, if it is still the one that was looked at; why not, else empty."""
    held: list[int] = []
    try:
        held.append(os.open(old.folder, _FOLDER))
        *folders, name = old.path.split("/")
        for folder in folders:
            held.append(os.open(folder, _FOLDER, dir_fd=held[-1]))
        now = os.stat(name, dir_fd=held[-1], follow_symlinks=False)
        if (now.st_dev, now.st_ino) != old.inode or now.st_mtime != old.modified_at:
            return "it has changed meanwhile"
        os.unlink(name, dir_fd=held[-1])
    except FileNotFoundError:
        return "it is gone already"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    finally:
        for descriptor in held:
            os.close(descriptor)
    return ""


def mount_of(folder: Path) -> str:
    """The mount point of the file system that `folder` lies on."""
    path = Path(os.path.realpath(folder))
    while not os.path.ismount(path) and path != path.parent:
        path = path.parent
    return str(path)


def size(count: float) -> str:
    """Bytes for people, as `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def total(found: Sequence[Old]) -> int:
    """Bytes that deleting all of them would free."""
    return sum(old.frees for old in found)
