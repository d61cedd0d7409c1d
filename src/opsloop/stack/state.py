"""The state folder of one stack: its layout and modes, stack.json, the lock of those who change it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from opsloop import names
from opsloop.compile.places import CATALOG_LINK
from opsloop.errors import StateUnusable
from opsloop.stack.files import ELSEWHERE, refuse_not_ours, usable, write_file

STACK_JSON = "stack.json"
RUN_DIR = "run"
_OURS = frozenset(
    {
        *(names.BUILD_DIR, names.SECRETS_DIR, names.TARGETS_DIR, names.DATA_DIR, names.LOGS_DIR),
        *(names.TEXTFILE_DIR, CATALOG_LINK, f".{CATALOG_LINK}.new", RUN_DIR, STACK_JSON),
        ".gitignore",
    }
)
# Group and others may pass through data/ (a database that runs as another user lies there) but
# not list it.
_MODES = {
    names.BUILD_DIR: 0o755,
    names.SECRETS_DIR: 0o700,
    names.TARGETS_DIR: 0o755,
    names.DATA_DIR: 0o711,
    names.LOGS_DIR: 0o755,
    names.TEXTFILE_DIR: 0o755,
    RUN_DIR: 0o700,
}
# sun_path holds 107 bytes, and supervisord binds NAME.PID before it renames.
_LONGEST_SOCKET = 95


@dataclass(frozen=True, slots=True)
class StackInfo:
    """What was started: stack.json. started_at is unix seconds, 0 while nothing runs."""

    port_base: int
    catalog: str
    socket: str
    started_at: float = 0.0
    runtime: str = "native"

    @property
    def started(self) -> bool:
        return self.started_at > 0


class StateFolder:
    """The folder `root` (absolute, links followed) with everything that one stack keeps."""

    def __init__(self, root: Path) -> None:
        try:
            self.root = root.resolve()  # one folder, one name: processes are known by it
        except (OSError, RuntimeError):  # a link to itself, which `prepare` refuses
            self.root = root.absolute()
        self.build = self.root / names.BUILD_DIR
        self.secrets = self.root / names.SECRETS_DIR
        self.targets = self.root / names.TARGETS_DIR
        self.data = self.root / names.DATA_DIR
        self.logs = self.root / names.LOGS_DIR
        self.run = self.root / RUN_DIR
        self.pid_file = self.run / "supervisord.pid"

    def log(self, program: str) -> Path:
        return self.logs / f"{program}.log"

    def exists(self) -> bool:
        return (self.root / STACK_JSON).is_file()

    def prepare(self) -> None:
        """Make the folders with their modes, and prove that they can be written.

        Raises StateUnusable when the path is a file, belongs to someone else, holds other
        things than a stack's state, or is read-only or full.
        """
        with usable(self.root):
            if self.root.exists() and not self.root.is_dir():
                raise StateUnusable(str(self.root), "is a file, not a folder", ELSEWHERE)
            self.root.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign()
            for name, mode in _MODES.items():
                folder = self.root / name
                folder.mkdir(exist_ok=True)
                refuse_not_ours(folder)
                if stat.S_IMODE(folder.stat().st_mode) != mode:
                    folder.chmod(mode)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                write_file(ignore, "*\n", 0o644)
            self._prove_room()

    def _refuse_foreign(self) -> None:
        refuse_not_ours(self.root)
        here = {entry.name for entry in self.root.iterdir()}
        strange = sorted(here - _OURS - {"lost+found"})
        if strange and STACK_JSON not in here:
            raise StateUnusable(
                str(self.root),
                f"holds other things ({', '.join(strange[:3])}) and no stack of opsloop",
                ELSEWHERE,
            )

    def _prove_room(self) -> None:
        """Write and remove a block: a full disk is told before half a stack runs."""
        probe = self.run / f".room.{os.getpid()}"
        try:
            with probe.open("wb") as file:
                file.write(b"\0" * 65536)
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)

    def read(self) -> StackInfo | None:
        """What stack.json says, None when there is none. Raises StateUnusable when it is broken."""
        path = self.root / STACK_JSON
        try:
            raw = json.loads(path.read_text())
            return StackInfo(
                port_base=int(raw["port_base"]),
                catalog=str(raw["catalog"]),
                socket=str(raw["socket"]),
                started_at=float(raw["started_at"]),
                runtime=str(raw.get("runtime", "native")),
            )
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise StateUnusable(str(self.root), "is a file, not a folder", ELSEWHERE) from None
        except PermissionError:
            raise StateUnusable(
                str(path), "cannot be read by this user", "run as the user who started the stack"
            ) from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise StateUnusable(
                str(path),
                f"is not readable as stack.json ({error})",
                "remove it, then `opsloop up`",
            ) from error

    def write(self, info: StackInfo) -> None:
        write_file(self.root / STACK_JSON, json.dumps(asdict(info), indent=2) + "\n", 0o644)

    def mark_stopped(self) -> None:
        info = self.read()
        if info is not None and info.started:
            self.write(replace(info, started_at=0.0))

    def socket_path(self) -> Path:
        """Where supervisord's socket lies: run/, or a short private folder when that is too long."""
        path = self.run / "supervisor.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET:
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        name = f"opsloop-{os.geteuid()}-{digest}"
        found = Path(tempfile.gettempdir(), name, path.name)
        if len(os.fsencode(found)) <= _LONGEST_SOCKET:
            return found
        return Path("/tmp", name, path.name)  # noqa: S108 - made 0700 and checked to be ours

    def make_socket_folder(self) -> None:
        """The short private folder, where one is needed; refused when it is not ours alone."""
        folder = self.socket_path().parent
        if folder != self.run:
            with usable(folder):
                folder.mkdir(mode=0o700, exist_ok=True)
                refuse_not_ours(folder)
                folder.chmod(0o700)

    def remove_socket_folders(self) -> None:
        """After the end: nothing of ours stays outside the state folder."""
        for folder in {Path(s).parent for s in self.sockets()} - {self.run}:
            if folder.name.startswith("opsloop-"):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def sockets(self) -> frozenset[str]:
        """Every socket that a supervisord of this folder may have, by stack.json and by rule."""
        info = self.read()
        recorded = {info.socket} if info else set()
        return frozenset({str(self.run / "supervisor.sock"), str(self.socket_path())} | recorded)

    @contextlib.contextmanager
    def lock(self, on_wait: Callable[[str], None], *, wait_s: float = 600.0) -> Iterator[None]:
        """Hold the folder against another `up`, `down` or `reload`; `on_wait` hears who has it.

        The kernel frees the lock when its holder dies. Raises StateUnusable after wait_s.
        """
        path = self.run / "lock"
        with usable(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(descriptor, path, on_wait, wait_s)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def purge(self) -> None:
        """Remove what a stack keeps, and the folder when nothing else is in it."""
        import shutil

        with usable(self.root):
            for name in [*sorted(_OURS - {RUN_DIR, STACK_JSON}), RUN_DIR, STACK_JSON]:
                path = self.root / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.root.rmdir()


def _take(descriptor: int, path: Path, on_wait: Callable[[str], None], wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        if not told:
            on_wait(
                f"another opsloop command (pid {holder}) is changing this stack; waiting for it"
            )
            told = True
        if time.monotonic() > deadline:
            raise StateUnusable(
                str(path), f"is held by pid {holder} for {wait_s:g} s", "end it, then try again"
            )
        time.sleep(0.1)
