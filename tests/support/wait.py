"""Waiting for a condition instead of for a duration."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class WaitFailed(AssertionError):
    """The condition did not hold before the deadline; the message has the last answer."""


def wait_until(
    condition: Callable[[], T],
    what: str,
    deadline: float = 120.0,
    interval: float = 0.05,
) -> T:
    """The first truthy answer of `condition`, asked every `interval` seconds.

    An exception that `condition` raises counts as "not yet". After `deadline` seconds
    WaitFailed names `what`, and the last answer or exception.
    """
    end = time.monotonic() + deadline
    while True:
        error: Exception | None = None
        answer: T | None = None
        try:
            answer = condition()
        except Exception as raised:  # noqa: BLE001 - any failure means "not yet"
            error = raised
        if error is None and answer:
            return answer
        if time.monotonic() >= end:
            last = f"{type(error).__name__}: {error}" if error else repr(answer)
            raise WaitFailed(f"{what}: not within {deadline:g} s; last: {last}") from error
        time.sleep(interval)
