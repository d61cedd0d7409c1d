"""Maintenance windows: whether one holds at a moment, and when it ends (UTC)."""

from __future__ import annotations

from collections.abc import Mapping

from opsloop.catalog.notify import MaintenanceWindow
from opsloop.remediation.situation import Maintenance

_DAY = 86_400
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


def in_force(
    windows: Mapping[str, MaintenanceWindow], service: str | None, now: float
) -> Maintenance | None:
    """The window that holds for a service at `now`; of several, the one that ends last."""
    found = [
        Maintenance(name, until)
        for name, window in windows.items()
        if not window.services or (service is not None and service in window.services)
        if (until := _holds_until(window, now)) is not None
    ]
    return max(found, key=lambda m: m.until, default=None)


def _holds_until(window: MaintenanceWindow, now: float) -> float | None:
    """The end of the window that holds at `now`. A window whose end is not after its start
    ends on the next day; it belongs to the day on which it starts."""
    start, end = _seconds(window.start), _seconds(window.end)
    length = end - start if end > start else end - start + _DAY
    today = int(now // _DAY)
    for day in (today, today - 1):
        opened = day * _DAY + start
        weekday = _WEEKDAYS[(day + _EPOCH_WEEKDAY) % 7]
        if window.weekdays and weekday not in window.weekdays:
            continue
        if opened <= now < opened + length:
            return opened + length
    return None


def _seconds(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60
