"""Fencing: a run that lost its lock, so that a newer one acts on the same target, does nothing."""

from __future__ import annotations

import threading

from opsloop.errors import DriverError


class Fence:
    """The greatest token seen for each target. Threads may share it."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def check(self, target: str, token: int) -> None:
        """Raises DriverError when `token` is older than one seen for this target."""
        with self._lock:
            seen = self._seen.get(target, 0)
            if token < seen:
                raise DriverError(target, f"token {token} is stale, {seen} was seen")
            self._seen[target] = token
