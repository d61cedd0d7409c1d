"""Moments, lengths of time and text from elsewhere, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC with milliseconds; None stays None, and no calendar day is None."""
    moment = _moment(None if seconds is None else round(seconds, 3))
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(seconds: float | None) -> str:
    """`11-24 06:31:55` in UTC, for tables; empty for None."""
    moment = _moment(seconds)
    return "" if moment is None else moment.strftime("%m-%d %H:%M:%S")


def _moment(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # NaN, or beyond the year 9999


def length(seconds: float | None) -> str:
    """`0.4 s`, `42 s`, `12 min`, `3 h 5 min`, `2 d 4 h`; empty for None."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def since(moment: float | None, begin: float | None) -> str:
    """`+4.2 s` after `begin`; empty when either is unknown."""
    if moment is None or begin is None:
        return ""
    return f"+{max(0.0, moment - begin):.1f} s"


def printable(text: str) -> str:
    """On one line, without what moves a terminal's cursor or turns its text around."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
