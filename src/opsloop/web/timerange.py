"""The time that charts show: from the address of a page, within limits, on a grid all share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opsloop.errors import ArgumentError

PRESETS: Final[Mapping[str, float]] = {
    "15m": 900.0,
    "1h": 3600.0,
    "6h": 21600.0,
    "24h": 86400.0,
    "7d": 604800.0,
    "30d": 2592000.0,
}
LONGEST_S: Final = 90 * 86400.0
SHORTEST_S: Final = 60.0
POINTS: Final = 240  # about, of one series
_STEPS: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeRange:
    """start and end are unix seconds and multiples of step. preset: empty for a fixed time.

    note: what was changed of what was asked for, for people.
    """

    start: float
    end: float
    step: float
    preset: str = ""
    note: str = ""

    @property
    def length_s(self) -> float:
        return self.end - self.start

    @property
    def moment(self) -> float | None:
        """When a single value is read: at the end of a fixed time, else now (None)."""
        return None if self.preset else self.end

    @property
    def query(self) -> str:
        """As it stands in an address."""
        if self.preset:
            return f"range={self.preset}"
        return f"from={self.start:.0f}&to={self.end:.0f}"


def time_range(
    asked: Mapping[str, str], now: float, *, preset: str = "1h", least_step: float = 1.0
) -> TimeRange:
    """`range=1h`, or `from` and `to` in unix seconds; `preset` where neither is given.

    What is too long, too short or in the future is cut, and the note says so; what is no time
    raises ArgumentError.
    """
    name = asked.get("range", "")
    if name and name not in PRESETS:
        raise ArgumentError("range", f"{name[:20]!r} is none of {', '.join(PRESETS)}")
    if name or not ("from" in asked or "to" in asked):
        name = name or preset
        return _on_grid(now - PRESETS[name], now, least_step, name, "")
    end = _moment(asked, "to", now)
    start = _moment(asked, "from", end - PRESETS[preset])
    if start >= end:
        raise ArgumentError("from", "is not before to")
    note = ""
    if end > now:
        end, note = now, "The end lay in the future; it is now."
        start = min(start, end - SHORTEST_S)
    if end - start > LONGEST_S:
        start, note = end - LONGEST_S, f"The range was cut to {LONGEST_S / 86400:.0f} days."
    if end - start < SHORTEST_S:
        start, note = end - SHORTEST_S, "The range was widened to a minute."
    return _on_grid(start, end, least_step, "", note)


def _moment(asked: Mapping[str, str], name: str, otherwise: float) -> float:
    text = asked.get(name, "")
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not 0 <= value < 4e9:
        raise ArgumentError(name, f"{text[:20]!r} is no time in unix seconds")
    return value


def _on_grid(start: float, end: float, least: float, preset: str, note: str) -> TimeRange:
    wanted = max((end - start) / POINTS, least)
    step = float(next((s for s in _STEPS if s >= wanted), _STEPS[-1]))
    last = math.floor(end / step) * step
    # Of a preset as many steps as ever, so that viewers of different moments ask the same.
    first = last - round((end - start) / step) * step if preset else math.ceil(start / step) * step
    first = min(first, last - step)
    return TimeRange(first, last, step, preset, note)
