"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.report.figures import figure

UNITS = ("percentunit", "s", "m", "bytes", "bps", "reqps", "cps", "short", "none", "bool")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "–"),
        (math.nan, "s", "–"),
        (math.inf, "s", "∞"),
        (-math.inf, "none", "−∞"),
        (0.0423, "percentunit", "4.23 %"),
        (1.0, "percentunit", "100 %"),
        (0.0, "percentunit", "0 %"),
        (0.231, "s", "231 ms"),
        (0.000012, "s", "12 µs"),
        (2.5, "s", "2.50 s"),
        (3900, "s", "1 h 5 min"),
        (-3900, "s", "−1 h 5 min"),
        (16, "m", "16 min"),
        (1400 * 2**20, "bytes", "1.37 GiB"),
        (312, "bytes", "312 B"),
        (1_200_000, "bps", "1.20 Mbit/s"),
        (87, "reqps", "87 /s"),
        (1234.5, "reqps", "1.23 k /s"),
        (1234.5, "short", "1.23 k"),
        (14.2, "none", "14.2"),
        (0.0004, "none", "0.0004"),
        (1, "bool", "yes"),
        (0, "bool", "no"),
    ],
)
def test_a_figure(value: float | None, unit: str, text: str) -> None:
    assert figure(value, unit) == text


def test_decimals_are_kept_where_they_are_asked_for() -> None:
    assert figure(0.99951, "percentunit", 3) == "99.951 %"
    assert figure(-0.01, "percentunit", 0) == "−1 %"
    assert figure(0.169313, "s", 3) == "169 ms"


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(UNITS))
def test_every_number_has_a_short_text(value: float, unit: str) -> None:
    text = figure(value, unit)
    assert text
    assert "\n" not in text
    assert "nan" not in text
    if math.isfinite(value) and abs(value) < 1e15:
        assert len(text) <= 26, text
