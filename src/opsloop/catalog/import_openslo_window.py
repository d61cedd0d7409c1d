"""OpenSLO's time windows, rolling and calendar-aligned, as periods of the catalog."""

from __future__ import annotations

import re

from opsloop.catalog.import_read import Map
from opsloop.catalog.import_windows import DEFAULT_PERIOD, rolling
from opsloop.catalog.units import Duration

MONTH = "calendar-month"
_DURATION = re.compile(r"(\d{1,6})([mhdwMQY])")
_SECONDS = {
    "m": 60, "h": 3600, "d": 86_400, "w": 604_800,
    "M": 30 * 86_400, "Q": 90 * 86_400, "Y": 365 * 86_400,
}  # fmt: skip
_UNITS = {
    "minute": "m", "hour": "h", "day": "d", "week": "w", "month": "M", "quarter": "Q", "year": "Y",
}  # fmt: skip
_UTC = ("", "utc", "etc/utc", "gmt", "z")


def shorthand(given: Map, key: str) -> Duration | None:
    """OpenSLO's duration, one number and one unit; months have 30 days."""
    text = given.text(key, required=True)
    match = _DURATION.fullmatch(text)
    if match is None:
        if text:
            given.book.problem(given.at(key), f"{text!r} is not a duration as 4w or 1M")
        return None
    return Duration.of(int(match[1]) * _SECONDS[match[2]])


def period_of(spec: Map, *, alpha: bool) -> str | None:
    """The window of an SLO; None when it is wrong."""
    key = "timeWindows" if alpha else "timeWindow"
    windows = spec.maps(key)
    if not windows:
        if not spec.has(key):
            why = "the SLO names none"
            spec.book.change(spec.origin, "no time window", DEFAULT_PERIOD, why)
            return DEFAULT_PERIOD
        spec.book.problem(spec.at(key), "there is no time window")
        return None
    if len(windows) > 1:
        spec.book.problem(windows[1].origin, "there is more than one time window", "keep one")
        return None
    window = windows[0]
    length, is_month = _alpha(window) if alpha else _length(window)
    calendar = window.map("calendar")
    aligned = not window.flag("isRolling", calendar is None) or calendar is not None
    if alpha and calendar is None:
        aligned = False  # v1alpha's examples leave isRolling out and mean a rolling window
    if aligned and is_month:
        _month(calendar)
        window.rest()
        return MONTH
    if calendar is not None:
        calendar.skip("startTime", "timeZone")
        calendar.rest()
    if aligned:
        at = window.at("calendar") if calendar is not None else window.origin
        spec.book.leave(
            at,
            "the alignment to the calendar",
            "windows are rolling, or the calendar month",
            "write window: calendar-month where that will do",
        )
    window.rest()
    if length is None:
        return None
    if is_month:
        spec.book.change(window.origin, "a rolling month", "30d", "months have 30 days here")
    return rolling(spec.book, window.origin, length)


def _length(window: Map) -> tuple[Duration | None, bool]:
    return shorthand(window, "duration"), window.text("duration") == "1M"


def _alpha(window: Map) -> tuple[Duration | None, bool]:
    count, unit = window.number("count", required=True), window.text("unit", required=True)
    if count is None or not unit:
        return None, False
    letter = _UNITS.get(unit.lower().removesuffix("s"))
    if letter is None:
        known = ", ".join(word.capitalize() for word in _UNITS)
        window.book.problem(window.at("unit"), f"{unit!r} is not one of {known}")
        return None, False
    if count.denominator != 1 or not 0 < count < 1_000_000:
        window.book.problem(window.at("count"), "is not a count of units")
        return None, False
    return Duration.of(int(count) * _SECONDS[letter]), letter == "M" and count == 1


def _month(calendar: Map | None) -> None:
    if calendar is None:
        return
    zone = calendar.text("timeZone")
    if zone.lower() not in _UTC:
        calendar.book.leave(calendar.at("timeZone"), f"time zone {zone}", "months are those of UTC")
    start = calendar.text("startTime")
    first = re.match(r"\d{4}-\d{2}-(\d{2})(?:[T ]00:00(?::00)?)?(?!\d|[T ]\d)", start)
    if start and (first is None or first[1] != "01"):
        what = f"the start {start}"
        why = "a month begins on its first day at 00:00"
        calendar.book.leave(calendar.at("startTime"), what, why)
    calendar.rest()
