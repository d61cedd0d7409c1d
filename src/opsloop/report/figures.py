"""Numbers with their units as people read them: three or four digits, and never more than is known."""

from __future__ import annotations

import math
from typing import Final

from opsloop.report.times import length

NONE: Final = "–"  # where there is no value
_SCALES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES: Final = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))


def figure(value: float | None, unit: str, decimals: int | None = None) -> str:
    """`4.2 %`, `231 ms`, `1.3 GiB`, `87 /s`, `1.2 k`; a dash where there is none.

    unit: percentunit (0.05 is 5 %), s, m (minutes), bytes, bps (bits), reqps, cps, short, none or bool; decimals: so
    many after the point, None: what three digits leave.
    """
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if unit == "percentunit":
        return f"{_number(value * 100, decimals)} %"
    if unit == "s":
        return _seconds(value, decimals)
    if unit == "m":
        return _seconds(value * 60, decimals)
    if unit == "bytes":
        return _scaled(value, _BYTES, decimals, " B")
    if unit == "bps":
        return f"{_scaled(value, _SCALES, decimals, ' ')}bit/s"
    if unit in ("reqps", "cps"):
        return f"{_scaled(value, _SCALES, decimals, '')} /s"
    if unit == "bool":
        return "yes" if value else "no"
    if unit == "short":
        return _scaled(value, _SCALES, decimals, "")
    return _number(value, decimals)


def _number(value: float, decimals: int | None) -> str:
    """Three digits, so far as they are there; the sign is a real minus."""
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2
        if 0 < size < 0.01:
            return f"{value:.1g}".replace("-", "−")
    text = f"{value:,.{decimals}f}".replace("-", "−")
    return "0" if text.strip("−0.") == "" and decimals == 0 else text


def _scaled(
    value: float, scales: tuple[tuple[float, str], ...], decimals: int | None, plain: str
) -> str:
    for size, name in scales:
        if abs(value) >= size:
            return f"{_number(value / size, decimals)} {name}"
    return f"{_number(value, decimals)}{plain}"


def _seconds(value: float, decimals: int | None) -> str:
    size = abs(value)
    if size >= 120:
        return ("−" if value < 0 else "") + length(size)
    if size >= 1 or size == 0:
        return f"{_number(value, decimals)} s"
    if size >= 1e-3:
        return f"{_number(value * 1e3, None)} ms"  # decimals are those of whole seconds
    return f"{_number(value * 1e6, None)} µs"
