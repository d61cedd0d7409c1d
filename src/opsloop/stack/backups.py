"""One run of a backup command: one at a time, its result left as metrics for node-exporter."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from opsloop.errors import ArgumentError, OpsloopError
from opsloop.stack.foreground import Outcome, run_command, signals_held

EXIT_NOT_RECORDED: Final = 3  # the command succeeded, its metrics could not be written

SUCCESS: Final = "opsloop_backup_success"
LAST_SUCCESS: Final = "opsloop_backup_last_success_timestamp_seconds"
LAST_RUN: Final = "opsloop_backup_last_run_timestamp_seconds"
DURATION: Final = "opsloop_backup_duration_seconds"
SIZE: Final = "opsloop_backup_size_bytes"
_HELP: Final = {
    SUCCESS: "Whether the last run of the backup succeeded (1) or failed (0).",
    LAST_SUCCESS: "Unix time at which the last run that succeeded ended; absent before the first.",
    LAST_RUN: "Unix time at which the last run ended, whatever came of it.",
    DURATION: "How long the last run took.",
    SIZE: "Size of what the last run that succeeded left; absent where it is not measured.",
}
_RESERVED: Final = 8192  # bytes; more than the metrics ever take
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,47}")  # as a name of the catalog
_SAMPLE: Final = re.compile(r"([a-z_]+)\{[^\n]*\} (\S+)")


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is known of a backup after a run. Times are unix seconds; size is in bytes."""

    success: bool
    last_run: float
    duration: float
    last_success: float | None = None
    size: float | None = None


def check_name(name: str) -> None:
    """Raises ArgumentError unless it is a name as the catalog has them."""
    if not _NAME.fullmatch(name):
        raise ArgumentError(
            f"backup {name!r}",
            "is not a name",
            "use lower case letters, digits and dashes, a letter first, at most 48 characters",
        )


def metrics_path(folder: Path, name: str) -> Path:
    return folder / f"backup_{name}.prom"


def text_of(name: str, metrics: Metrics) -> str:
    """The exposition format, one sample for each metric that is known."""
    values = {
        SUCCESS: float(metrics.success),
        LAST_SUCCESS: metrics.last_success,
        LAST_RUN: metrics.last_run,
        DURATION: metrics.duration,
        SIZE: metrics.size,
    }
    lines = []
    for metric, value in values.items():
        if value is not None:
            lines += [f"# HELP {metric} {_HELP[metric]}", f"# TYPE {metric} gauge"]
            lines.append(f'{metric}{{backup="{_escaped(name)}"}} {value!r}')
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def read_metrics(path: Path) -> dict[str, float]:
    """Metric -> value of an earlier run; empty when there is none that can be read."""
    try:
        found = _SAMPLE.findall(path.read_text())
    except (OSError, UnicodeDecodeError):
        return {}
    values = {}
    for metric, text in found:
        with contextlib.suppress(ValueError):
            if math.isfinite(value := float(text)):
                values[metric] = value
    return values


class Record:
    """The place of the new metrics, taken before the run so that a full disk is no matter then."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises OSError when there is no room, or no right, for a file in `folder`."""
        self.path = metrics_path(folder, name)
        # node-exporter reads *.prom only; a left-over of a killed run is replaced.
        self._new = folder / f".{self.path.name}.new"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._new, flags, 0o644)
        self._file: IO[bytes] = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            os.fchmod(descriptor, 0o644)  # node-exporter may be another user
            self._file.write(b"\n" * _RESERVED)
            os.fsync(descriptor)
        except BaseException:
            self.drop()
            raise

    def write(self, text: str) -> None:
        """Put `text` where node-exporter reads it: all of it or nothing. Raises OSError."""
        data = text.encode()
        self._file.seek(0)
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._new))
        self._file.truncate()
        os.fsync(self._file.fileno())
        self._new.replace(self.path)
        _sync_folder(self.path.parent)

    def drop(self) -> None:
        self._file.close()
        self._new.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_one(folder: Path, name: str) -> Iterator[None]:
    """Hold the backup's lock. Raises OpsloopError when another run has it, OSError when there
    can be no lock. The kernel frees it when its holder ends, however that is."""
    path = folder / f".backup_{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise OpsloopError(
                f"backup {name}",
                f"is running already (pid {holder}); nothing was started",
                "wait for it, or end it",
            ) from None
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its pid
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder (links are not followed).

    Raises OSError when it is not there or cannot be read.
    """
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size

    def refuse(error: OSError) -> None:
        raise error

    total = 0
    for folder, _, files in os.walk(path, onerror=refuse):
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # removed while we look
                total += Path(folder, file).lstat().st_size
    return total


def run_backup(
    name: str,
    command: Sequence[str],
    folder: Path,
    measured: Path | None,
    tell: Callable[[str], None],
) -> int:
    """Run a backup and leave its metrics in `folder`; the exit code for our caller.

    The backup comes first: it runs also where its metrics cannot be written, which `tell` hears
    and the code says (EXIT_NOT_RECORDED) when the command itself succeeded. measured: what it
    leaves, whose size is a metric. Raises OpsloopError when it runs already, ArgumentError for a
    name that is none.
    """
    check_name(name)
    with contextlib.ExitStack() as held:
        record: Record | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(only_one(folder, name))
            record = Record(folder, name)
            held.callback(record.drop)
        except OSError as error:
            tell(f"backup {name}: its result will not be recorded: {_system(error)}")
        mask = held.enter_context(signals_held())
        began = time.monotonic()
        outcome = run_command(command, mask)
        took = time.monotonic() - began
        if outcome.problem:
            tell(f"backup {name}: {outcome.problem}")
        old = read_metrics(metrics_path(folder, name))
        metrics = _after(outcome, old, took, measured, lambda text: tell(f"backup {name}: {text}"))
        recorded = record is not None and _recorded(record, name, metrics, tell)
        if not recorded and not metrics.success:
            _withdraw(metrics_path(folder, name), name, old, tell)
    return outcome.code or (0 if recorded else EXIT_NOT_RECORDED)


def _after(
    outcome: Outcome,
    old: dict[str, float],
    took: float,
    measured: Path | None,
    tell: Callable[[str], None],
) -> Metrics:
    now = time.time()
    if outcome.code != 0:
        return Metrics(False, now, took, old.get(LAST_SUCCESS), old.get(SIZE))
    size: float | None = None
    if measured is not None:
        try:
            size = size_of(measured)
        except FileNotFoundError:
            tell(f"the command succeeded but left no {measured}; its size is 0")
            size = 0
        except OSError as error:
            tell(f"its size is not known: {_system(error)}")
    return Metrics(True, now, took, now, size)


def _recorded(record: Record, name: str, metrics: Metrics, tell: Callable[[str], None]) -> bool:
    try:
        record.write(text_of(name, metrics))
    except OSError as error:
        tell(f"backup {name}: its result could not be recorded: {_system(error)}")
        return False
    return True


def _withdraw(path: Path, name: str, old: dict[str, float], tell: Callable[[str], None]) -> None:
    """A failure that cannot be recorded must not look like the success before it."""
    if old.get(SUCCESS) != 1:
        return
    try:
        path.unlink()
        tell(f"backup {name}: the metrics of the run before were removed: they said success")
    except OSError as error:
        tell(f"backup {name}: the metrics still tell of the run before: {_system(error)}")


def _system(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{os.fsdecode(error.filename)}: {reason}" if error.filename else reason
