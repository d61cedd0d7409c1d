"""Burn-down and incidents on scripted tiles and pages."""

from __future__ import annotations

import bisect
import math
import re
from dataclasses import replace

import pytest

from opsloop.compile import slo_names as series
from opsloop.remediation.ports import Sample, Series
from opsloop.report import slo_history
from opsloop.report.slo import Budget
from opsloop.report.slo_history import Incident
from tests.report.test_slo import ROW

MINUTE = 60.0
NOW = 1_795_000_020.0  # 20 s after a full minute
END = NOW - NOW % MINUTE
DAY = 86_400.0
_WINDOW = re.compile(r"sum_over_time\((slo:\w+:tile1m)\{(.*)\}\[(\d+)ms\]\)")


class Scripted:
    """Tiles by minute: the sums of them that are asked for, and no other query."""

    def __init__(self, tiles: dict[str, dict[float, float]]) -> None:
        self._tiles = {name: sorted(of.items()) for name, of in tiles.items()}
        self.asked: list[str] = []

    def query(self, expr: str) -> list[Sample]:
        raise AssertionError(expr)

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        self.asked.append(expr)
        match = _WINDOW.fullmatch(expr)
        assert match, expr
        assert (end - start) / step < 11_000
        window = (int(match[3]) + 1) / 1000
        points = []
        found = self._tiles[match[1]]
        for nth in range(int((end - start) / step) + 1):
            at = start + nth * step
            first = bisect.bisect_right(found, (at - window, math.inf))
            inside = found[first : bisect.bisect_right(found, (at, math.inf))]
            if inside:
                points.append((at, sum(v for _, v in inside)))
        return [Series({}, tuple(points))]


def tiles(minutes: int, bad: dict[int, float]) -> Scripted:
    """100 events a minute up to END; bad: minutes before END -> failed events."""
    total = {END - n * MINUTE: 100.0 for n in range(minutes)}
    errors = {END - n * MINUTE: bad.get(n, 0.0) for n in range(minutes)}
    return Scripted({series.TOTAL_TILE: total, series.ERRORS_TILE: errors})


DAILY = replace(ROW, period="1d")


def test_no_errors_no_incidents() -> None:
    assert slo_history.incidents(tiles(1440, {}), DAILY, [], NOW) == []


def test_errors_within_the_pace_of_the_budget_are_no_incident() -> None:
    row = replace(DAILY, budget=0.05)
    assert slo_history.incidents(tiles(60, {5: 5.0}), row, [], NOW) == []
    (found,) = slo_history.incidents(tiles(60, {5: 6.0}), row, [], NOW)
    assert found.errors == 6.0


def test_minutes_close_to_each_other_are_one_incident_the_costliest_first() -> None:
    bad = {10: 5.0, 14: 50.0, 40: 7.0, 45: 1.0}
    first, second, third = slo_history.incidents(tiles(1440, bad), DAILY, [], NOW)
    assert (first.began, first.ended) == (END - 15 * MINUTE, END - 10 * MINUTE)
    assert first.errors == 55.0
    assert first.share == pytest.approx(55 / (0.001 * 144_000))
    assert first.peak == pytest.approx(500.0)
    assert (second.errors, third.errors) == (7.0, 1.0)


def test_a_long_period_is_counted_in_steps_and_told_to_the_minute() -> None:
    scripted = tiles(43_200, {700: 40.0, 712: 60.0, 705: 3.0})
    (found,) = slo_history.incidents(scripted, ROW, [], NOW)
    assert (found.began, found.ended) == (END - 713 * MINUTE, END - 700 * MINUTE)
    assert found.errors == 103.0
    assert found.peak == pytest.approx(600.0)
    assert found.share == pytest.approx(103 / (0.001 * 4_320_000))
    assert all('sli="http-availability"' in e and 'service="api"' in e for e in scripted.asked)


def test_a_calendar_month_is_counted_from_its_first_minute_to_the_last() -> None:
    row = replace(ROW, period="calendar-month")
    # NOW is 2026-11-18 11:07: the month is 17 d 11 h 7 min old.
    old = 17 * 1440 + 11 * 60 + 7
    bad = {0: 5.0, old - 1: 6.0, old: 90.0}
    found = slo_history.incidents(tiles(old + 60, bad), row, [], NOW)
    assert [i.errors for i in found] == [6.0, 5.0]


def test_a_burn_down_falls_by_what_each_incident_spent() -> None:
    scripted = tiles(43_200, {700: 40.0, 712: 60.0, 20_000: 432.0})
    found = slo_history.burn_down(scripted, ROW, NOW)
    assert len(found) == slo_history.SPARK_POINTS
    assert (found[0][1], found[-1][0]) == (1.0, END)
    whole = 0.001 * 4_320_000
    left = [v for _, v in found]
    assert sorted({round(v, 9) for v in left}) == pytest.approx(
        [1 - 532 / whole, 1 - 432 / whole, 1.0]
    )
    assert left == sorted(left, reverse=True)
    assert [at for at, _ in found] == [END - n * 0.5 * DAY for n in range(59, -1, -1)]


def test_bad_first_minutes_of_a_young_ledger_are_not_a_spent_budget() -> None:
    found = slo_history.burn_down(tiles(10_000, {9_999: 80.0}), ROW, NOW)
    assert [v for _, v in found] == pytest.approx([1 - 80 / 1000] * len(found))


def test_a_burn_down_of_a_day_has_whole_minutes() -> None:
    found = slo_history.burn_down(tiles(1440, {}), replace(ROW, period="1d1m"), NOW)
    assert 40 < len(found) <= slo_history.SPARK_POINTS
    assert all(at % 60 == 0 for at, _ in found)


def test_without_events_there_is_no_burn_down() -> None:
    empty = Scripted({series.TOTAL_TILE: {}, series.ERRORS_TILE: {}})
    assert slo_history.burn_down(empty, ROW, NOW) == []
    idle = Scripted({series.TOTAL_TILE: {END: 0.0}, series.ERRORS_TILE: {END: 0.0}})
    assert slo_history.burn_down(idle, replace(ROW, period="calendar-month"), NOW) == []


def test_a_burn_down_of_a_calendar_month_begins_with_it() -> None:
    row = replace(ROW, period="calendar-month")
    old = 17 * 1440 + 11 * 60 + 7  # NOW is 2026-11-18 11:07
    found = slo_history.burn_down(tiles(old + 600, {old + 30: 9e6, 10: 50.0}), row, NOW)
    assert found[0][1] == 1.0
    assert found[-1][1] == pytest.approx(1 - 50 / (0.001 * 100 * old))


def test_a_sparkline_shows_the_worst_of_what_it_has_no_room_for() -> None:
    points = [(float(n), v) for n, v in enumerate((1.0, 0.99, 0.5, 0.01, 0.0, -2.0))]
    assert slo_history.sparkline(points) == "██▅▁✗✗"
    assert slo_history.sparkline(points, 3) == "█▁✗"
    assert slo_history.sparkline([]) == ""
    many = [(float(n), 1.0) for n in range(200)]
    for width in (1, 7, 59, 60, 200, 300):
        assert len(slo_history.sparkline(many, width)) == min(width, 200)


def test_an_incident_as_json() -> None:
    found = Incident(NOW - 120, NOW, 12.0, None, math.pi, (3,))
    assert slo_history.incident_json(found) == {
        "began_at": "2026-11-18T11:05:00.000Z",
        "ended_at": "2026-11-18T11:07:00.000Z",
        "errors": 12.0,
        "budget_spent": None,
        "peak_burn": math.pi,
        "episodes": [3],
    }


def test_a_budget_without_events_has_no_share() -> None:
    empty = Budget("api", "availability", "99%", "1d", 0.01, indicator="http")
    scripted = Scripted({series.TOTAL_TILE: {}, series.ERRORS_TILE: {END: 2.0}})
    (found,) = slo_history.incidents(scripted, empty, [], NOW)
    assert (found.share, found.peak) == (None, 0.0)
