"""A start that does not come to its end: whatever ends it, what it started is stopped."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from opsloop.stack import supervisord
from opsloop.stack.state import StateFolder


@contextlib.contextmanager
def stopped_on_failure(state: StateFolder, say: Callable[[str], None]) -> Iterator[None]:
    """Stop what was started when the start does not come to its end."""
    with _signals_unwind():
        try:
            yield
        except BaseException:
            with _unhurried():
                if supervisord.find(state):
                    say("stopping what was started")
                supervisord.stop(state, say)
                state.mark_stopped()
            raise


@contextlib.contextmanager
def _signals_unwind() -> Iterator[None]:
    """SIGTERM and SIGHUP end a start as Ctrl-C does: with everything stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _unhurried() -> Iterator[None]:
    """A second Ctrl-C does not stop the stopping."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, signal.SIG_IGN) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
