"""A command run in our place: our input and output are its own, signals are handed on to it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

EXIT_NOT_FOUND: Final = 127  # as a shell has it
EXIT_NOT_RUNNABLE: Final = 126
EXIT_SIGNAL_BASE: Final = 128
_FORWARDED: Final = frozenset(
    {
        *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
        *(signal.SIGUSR1, signal.SIGUSR2),
    }
)
_WAITED: Final = _FORWARDED | {signal.SIGCHLD}
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: the exit code for our caller, and a sentence when it failed."""

    code: int
    problem: str = ""


@contextlib.contextmanager
def signals_held() -> Iterator[set[int]]:
    """Signals that are for the command wait for `run_command`; those that come after its end
    are dropped, so that the result is written. Yields the mask from before."""
    # Who ignores SIGCHLD, as some that start us do, never learns how a child ended.
    disposition = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = set(signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED))
    try:
        yield before
    finally:
        while signal.sigtimedwait(_WAITED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if disposition is not None:
            signal.signal(signal.SIGCHLD, disposition)


def run_command(command: Sequence[str], mask: set[int]) -> Outcome:
    """Run argv with our own input and output, hand on the signals that we get, wait for its end.

    To be called within `signals_held`, whose mask the command gets. It is told to end (SIGTERM)
    when we are killed, so that no second run meets it.
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    began = time.monotonic()
    try:
        # Nothing else runs here: no thread can hold a lock that the child would wait for.
        child = subprocess.Popen(list(command), preexec_fn=in_child)  # noqa: PLW1509
    except FileNotFoundError:
        what = "the interpreter of " if shutil.which(command[0]) else ""
        return Outcome(EXIT_NOT_FOUND, f"{what}{command[0]!r} was not found; nothing was run")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return Outcome(EXIT_NOT_RUNNABLE, f"{command[0]!r} cannot be run: {reason}")
    _wait(child)
    return _outcome(child.returncode, time.monotonic() - began)


def _wait(child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        # Another thread of the process may take SIGCHLD: look again by oneself.
        got = signal.sigtimedwait(_WAITED, 1.0)
        # si_code > 0: the terminal sent it, to the command as well.
        if got is not None and got.si_signo != signal.SIGCHLD and got.si_code <= 0:
            child.send_signal(got.si_signo)


def _outcome(returncode: int, took: float) -> Outcome:
    after = f"after {took:.1f} s"
    if returncode == 0:
        return Outcome(0)
    if returncode > 0:
        return Outcome(returncode, f"the command exited with {returncode} {after}")
    number = -returncode
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
        return Outcome(EXIT_SIGNAL_BASE + number, f"the command was killed by {name} {after}")
    return Outcome(EXIT_SIGNAL_BASE + number, f"the command was killed by signal {number} {after}")
