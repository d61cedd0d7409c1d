"""The time of charts: presets, limits, and a grid that viewers share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.errors import ArgumentError
from opsloop.web.timerange import LONGEST_S, POINTS, PRESETS, time_range

NOW = 1_800_000_123.4


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_ends_now_on_the_grid(preset: str) -> None:
    found = time_range({"range": preset}, NOW)
    assert found.start % found.step == found.end % found.step == 0
    assert NOW - found.step < found.end <= NOW
    assert found.length_s == pytest.approx(PRESETS[preset], abs=2 * found.step)
    assert found.query == f"range={preset}"
    assert not found.note


def test_viewers_of_the_same_moments_ask_the_same() -> None:
    first = time_range({"range": "1h"}, 1_800_000_000.0)
    assert time_range({"range": "1h"}, 1_800_000_009.9) == first


def test_ten_years_are_cut_and_that_is_said() -> None:
    found = time_range({"from": str(NOW - 10 * 365 * 86400), "to": str(NOW)}, NOW)
    assert found.length_s <= LONGEST_S
    assert found.note == "The range was cut to 90 days."


def test_the_future_is_not_asked_for() -> None:
    found = time_range({"from": str(NOW - 60), "to": str(NOW + 1e6)}, NOW)
    assert found.end <= NOW
    assert "future" in found.note


@pytest.mark.parametrize(
    "asked",
    [
        {"range": "2h"},
        {"range": "<script>"},
        {"from": "yesterday"},
        {"from": "nan"},
        {"to": "inf"},
        {"from": "-5"},
        {"from": "1e99"},
        {"from": "1800000000", "to": "1700000000"},
    ],
)
def test_what_is_no_time_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(ArgumentError):
        time_range(asked, NOW)


@given(
    st.floats(0, 3e9, allow_nan=False),
    st.floats(0, 3e9, allow_nan=False),
    st.sampled_from([0.5, 1.0, 5.0, 15.0, 60.0]),
)
def test_points_have_a_limit(start: float, end: float, least: float) -> None:
    try:
        found = time_range({"from": str(start), "to": str(end)}, NOW, least_step=least)
    except ArgumentError:
        return
    assert found.end <= NOW
    assert found.start < found.end
    assert found.step >= least
    assert found.length_s / found.step <= POINTS + 1
