"""Maintenance windows and quiet hours as Alertmanager's time intervals, and whom each mutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opsloop.catalog.model import Catalog
from opsloop.catalog.notify import MaintenanceWindow, QuietHours

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


QUIET = "quiet hours"  # no window's name has a space


def time_intervals(catalog: Catalog) -> list[dict[str, Any]]:
    """One named interval for each window (UTC), and one for the quiet hours (of their place)."""
    told = catalog.notifications
    found = [
        {"name": name, "time_intervals": _parts(window)}
        for name, window in sorted(told.maintenance.items())
    ]
    if told.quiet_hours is not None:
        place = {"location": told.quiet_hours.location}
        parts = [part | place for part in _parts(told.quiet_hours)]
        found.append({"name": QUIET, "time_intervals": parts})
    return found


def classes(
    catalog: Catalog, among: Callable[[str], bool] = lambda _: True
) -> tuple[list[str], list[tuple[list[str], list[str]]]]:
    """(windows that mute every service, [(services, their windows)] where there are more).

    among: which services are of interest.
    """
    windows = sorted(catalog.notifications.maintenance.items())
    everywhere = [name for name, w in windows if not w.services]
    groups: dict[tuple[str, ...], list[str]] = {}
    for service in sorted({s for _, w in windows for s in w.services if among(s)}):
        own = tuple(name for name, w in windows if not w.services or service in w.services)
        groups.setdefault(own, []).append(service)
    return everywhere, [(services, list(own)) for own, services in groups.items()]


def quiet(catalog: Catalog, severity: str) -> list[str]:
    """The interval in which people hear nothing of this severity; P0 is always heard."""
    return [QUIET] if catalog.notifications.quiet_hours and severity != "P0" else []


def _parts(window: MaintenanceWindow | QuietHours) -> list[dict[str, Any]]:
    """A window that ends before it starts runs into the next day, which is a part of its own."""
    days: list[str] = [d for d in _WEEK if d in window.weekdays]
    if window.start < window.end:
        return [_part(window.start, window.end, days)]
    parts = [_part(window.start, "24:00", days)]
    if window.end != "00:00":
        following: list[str] = [_WEEK[(_WEEK.index(d) + 1) % 7] for d in days]
        parts.append(_part("00:00", window.end, following))
    return parts


def _part(start: str, end: str, days: list[str]) -> dict[str, Any]:
    times = {"times": [{"start_time": start, "end_time": end}]}
    return times | ({"weekdays": days} if days else {})
