"""Files of the state folder: written whole or not at all; what the system refuses, as a sentence."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from opsloop.errors import StateUnusable
from opsloop.stack import processes

ELSEWHERE = "choose another folder with --state"


def refuse_not_ours(folder: Path) -> None:
    """Raise StateUnusable when it is a link or belongs to another user: secrets go in there."""
    if folder.is_symlink() or not folder.is_dir():
        raise StateUnusable(str(folder), "is not a plain folder", ELSEWHERE)
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise StateUnusable(
            str(folder),
            f"belongs to user {processes.user_of(owner)}, not to {processes.user_of(os.geteuid())}",
            "run as its owner, or choose another folder with --state",
        )


def write_file(path: Path, text: str, mode: int) -> None:
    """Write it whole or not at all, with exactly this mode. Raises StateUnusable."""
    with usable(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, mode)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


_REASONS = {
    errno.EROFS: ("is on a read-only file system", ELSEWHERE),
    errno.EACCES: ("may not be written by this user", ELSEWHERE),
    errno.EPERM: ("may not be changed by this user", ELSEWHERE),
    errno.ENOSPC: ("is on a full disk", "free some space, or choose another folder with --state"),
    errno.EDQUOT: ("is beyond the disk quota", "free some space, or choose another folder"),
    errno.ENOTDIR: ("lies below a file, not a folder", ELSEWHERE),
    errno.ENAMETOOLONG: ("has too long a path", ELSEWHERE),
    errno.ELOOP: ("is a link to itself", ELSEWHERE),
}


@contextlib.contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turn what the system says of the state folder into StateUnusable, in one sentence."""
    try:
        yield
    except OSError as error:
        reason, step = _REASONS.get(
            error.errno or 0, (f"cannot be used: {error.strerror or error}", ELSEWHERE)
        )
        place = error.filename if isinstance(error.filename, str) else str(path)
        # The unfinished file's name helps nobody: name what it was to become.
        shown = str(path) if place.endswith(".tmp") or ".room." in place else place
        raise StateUnusable(shown, reason, step) from error
