"""Error budgets as rows, tables, pages and JSON, on scripted samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.compile import slo_names as series
from opsloop.remediation.ports import Sample
from opsloop.report import slo, slo_page, slo_table
from opsloop.report.slo import Budget
from opsloop.report.slo_history import Incident

NOW = 1_795_000_000.0
ROW = Budget(
    service="api",
    slo="availability",
    objective="99.9%",
    period="30d",
    budget=0.001,
    sli=0.99937,
    left=0.37,
    left_errors=1234.4,
    left_minutes=16.0,
    burn={"5m": 0.0, "1h": 0.4, "6h": 12.0, "3d": 1234.0},
    coverage=1.0,
    spent_in_s=90_000.0,
    indicator="http-availability",
)


class Scripted:
    """Answers by the name that a query begins with, where its matcher names the service."""

    def __init__(self, samples: Sequence[tuple[str, dict[str, str], float]]) -> None:
        self._samples = samples
        self.asked: list[str] = []

    def query(self, expr: str) -> list[Sample]:
        self.asked.append(expr)
        name, _, matcher = expr.partition("{")
        return [
            Sample(labels, value)
            for found, labels, value in self._samples
            if found == name and (not matcher or f'"{labels["service"]}"' in matcher)
        ]


def objective(service: str, name: str, sli: str, period: str = "30d") -> dict[str, str]:
    return {"service": service, "slo": name, "sli": sli, "period": period, "objective": "99.9%"}


def world() -> Scripted:
    api, web = objective("api", "availability", "http"), objective("web", "quick", "fast", "7d")
    new = objective("new", "availability", "http")
    measured = {"sli": "http", "service": "api", "period": "30d"}
    return Scripted(
        [
            *((series.BUDGET, labels, 0.001) for labels in (api, web, new)),
            (series.LEFT_RATIO, api, 0.37),
            (series.LEFT_EVENTS, api, 1234.4),
            (series.LEFT_MINUTES, api, 16.0),
            (series.EXHAUSTION, api, 90_000.0),
            (series.RATIO_PERIOD, measured, 0.00063),
            (series.COVERAGE_PERIOD, measured, 1.0),
            ("slo:burn_rate:5m", api, 0.0),
            ("slo:burn_rate:1h", api, 0.4),
            ("slo:burn_rate:6h", api, 12.0),
            ("slo:burn_rate:3d", api, 1234.0),
            (series.LEFT_RATIO, web, -0.5),
        ]
    )


def test_rows_are_joined_by_their_labels_and_the_worst_comes_first() -> None:
    rows = slo.budgets(world())
    assert [(r.service, r.state) for r in rows] == [
        ("web", "spent"),
        ("api", "good"),
        ("new", "new"),
    ]
    assert rows[1].sli == pytest.approx(0.99937)
    assert replace(rows[1], sli=ROW.sli, indicator=ROW.indicator) == ROW
    assert rows[2].sli is None


def test_one_service_is_asked_for_alone_and_none_is_empty() -> None:
    scripted = world()
    assert [r.service for r in slo.budgets(scripted, "api")] == ["api"]
    assert all('{service="api"}' in expr for expr in scripted.asked)
    assert slo.budgets(world(), "nobody") == []
    assert slo.budgets(Scripted([])) == []


@pytest.mark.parametrize(
    ("period", "found"),
    [
        ("30d", ("5m", "1h", "6h", "3d")),
        ("calendar-month", ("5m", "1h", "6h", "3d")),
        ("7d", ("2m", "14m", "1h24m", "16h48m")),
    ],
)
def test_columns_are_the_windows_of_the_period(period: str, found: tuple[str, ...]) -> None:
    assert slo.columns(period) == found


@pytest.mark.parametrize("days", range(1, 91))
def test_every_period_has_columns(days: int) -> None:
    now, first, _, last = slo.columns(f"{days}d")
    assert now
    assert first
    assert last


def test_states() -> None:
    assert ROW.state == "good"
    assert replace(ROW, left=0.0).state == "spent"
    assert replace(ROW, burn={"1h": 1.01}).state == "burning"
    assert replace(ROW, left=None).state == "new"


def test_json_keeps_its_fields() -> None:
    assert json.loads(json.dumps(slo.as_json(ROW, NOW))) == {
        "service": "api",
        "slo": "availability",
        "objective": "99.9%",
        "window": "30d",
        "state": "good",
        "sli": 0.99937,
        "budget_left": 0.37,
        "errors_left": 1234.4,
        "minutes_left": 16.0,
        "burn": {"5m": 0.0, "1h": 0.4, "6h": 12.0, "3d": 1234.0},
        "coverage": 1.0,
        "exhausted_at": "2026-11-19T12:06:40.000Z",
    }
    nothing = slo.as_json(Budget("a", "b", "99%", "30d", 0.01), NOW)
    assert nothing["sli"] is None
    assert nothing["exhausted_at"] is None


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (None, 1, "-"),
        (1.0, 3, "100 %"),
        (0.999996, 3, "99.999 %"),
        (0.9995, 3, "99.95 %"),
        (0.37, 1, "37 %"),
        (-0.0004, 1, "-0.1 %"),
        (-99.0, 1, "-9,900 %"),
        (0.0, 1, "0 %"),
    ],
)
def test_percent_never_flatters(share: float | None, digits: int, text: str) -> None:
    assert slo.percent(share, digits) == text


@given(st.floats(-5, 1, exclude_max=True), st.integers(0, 4))
def test_what_is_not_whole_never_reads_as_whole(share: float, digits: int) -> None:
    read = float(slo.percent(share, digits).removesuffix(" %").replace(",", ""))
    assert read <= share * 100 + 1e-6
    assert read > share * 100 - 10**-digits - 1e-6


def test_numbers() -> None:
    assert [slo.count(v) for v in (None, 0.0, 12.44, 99.99, 1234.4, -3.0)] == [
        *("-", "0", "12.4", "100", "1,234", "-3"),
    ]
    assert [slo.times(v) for v in (None, 0.04, 9.94, 12.4, 1234.0)] == [
        *("-", "0.0x", "9.9x", "12x", "1,234x"),
    ]
    assert slo.bar(0.5) == "█████·····"
    assert slo.bar(0.06) == "▋·········"
    assert (slo.bar(-1.0), slo.bar(7.0), slo.bar(None)) == ("·" * 10, "█" * 10, "")


def test_the_sentence_names_what_is_wrong() -> None:
    assert slo.sentence([ROW]) == "1 objective; all within their budgets"
    spent = [replace(ROW, service=f"s{n}", left=-0.1) for n in range(5)]
    burning, new = replace(ROW, burn={"5m": 2.0}), replace(ROW, left=None)
    assert slo.sentence([*spent, burning, new]) == (
        "7 objectives; 5 spent: s0/availability, s1/availability, s2/availability and 2 more;"
        " 1 burning faster than evenly: api/availability; 1 not measured yet: api/availability"
    )


def test_a_young_budget_is_said_to_be_one() -> None:
    assert slo.young([ROW, replace(ROW, coverage=None)]) == ""
    rows = [replace(ROW, coverage=0.5), replace(ROW, service="web", coverage=0.0004)]
    assert slo.young(rows) == (
        "not a full period yet: web/availability (data for <1 % of 30d),"
        " api/availability (data for 50 % of 30d)"
    )


# The table


def test_all_columns_where_there_is_no_terminal() -> None:
    headers, (line,) = slo_table.table([ROW], NOW)
    assert dict(zip([h.strip() for h in headers], [c.strip() for c in line], strict=True)) == {
        "SERVICE/SLO": "api/availability",
        "OBJECTIVE": "99.9% / 30d",
        "SLI": "99.937 %",
        "LEFT": "37 %",
        "": "███▊······",
        "ERR LEFT": "1,234",
        "MIN LEFT": "16",
        "BURN": "0.0x",
        "1H": "0.4x",
        "6H": "12x",
        "3D": "1,234x",
        "DATA": "100 %",
        "SPENT IN": "25 h",
        "ON (UTC)": "11-19 12:06",
    }


@pytest.mark.parametrize("width", [*range(40, 160, 10), 159])
def test_a_line_fits_the_terminal_and_says_more_where_there_is_room(width: int) -> None:
    rows = [ROW, replace(ROW, slo="latency", left=-12.0, spent_in_s=None, left_errors=-1e6)]
    headers, lines = slo_table.table(rows, NOW, width)
    for line in (headers, *lines):
        shown = sum(max(len(c), len(h)) for c, h in zip(line, headers, strict=True))
        assert shown + slo_table.GAP * (len(line) - 1) + slo_table.EDGES <= width
    names = [h.strip() for h in headers]
    assert {"SERVICE/SLO", "LEFT", "BURN"} <= set(names)
    if width > 60:
        assert "SPENT IN" in names
    if width < 159:
        wider, _ = slo_table.table(rows, NOW, width + 10)
        assert set(names) <= {h.strip() for h in wider}


def test_numbers_stand_below_each_other() -> None:
    rows = [ROW, replace(ROW, left_errors=7.0)]
    headers, lines = slo_table.table(rows, NOW)
    at = [h.strip() for h in headers].index("ERR LEFT")
    assert [line[at] for line in lines] == ["   1,234", "       7"]


def test_a_column_without_anything_is_left_out() -> None:
    headers, _ = slo_table.table([replace(ROW, spent_in_s=None)], NOW)
    assert "ON (UTC)" not in headers


def test_ends() -> None:
    assert slo_table.spent_in(ROW) == "25 h"
    assert slo_table.spent_in(replace(ROW, spent_in_s=None)) == "lasts"
    assert slo_table.spent_in(replace(ROW, left=-1.0)) == "spent"
    assert slo_table.spent_in(replace(ROW, left=None)) == "not measured yet"


# The page


def shown(row: Budget, incidents: Sequence[Incident] = (), width: int = 80, **more: Any) -> str:
    points = more.get("points", [(NOW - 86_400 * n, 1 - n / 40) for n in range(30, -1, -1)])
    return "\n".join([slo_page.headline(row), *slo_page.lines(row, points, incidents, width)])


def test_a_page() -> None:
    incident = Incident(NOW - 7200, NOW - 6600, 340.0, 0.041, 12.0, (4, 7))
    assert shown(ROW, [incident]) == (
        "api/availability: 99.9% over 30d, budget spent in 25 h at this burn\n"
        "  left       37 %  ███▊······  1,234 more errors, or 16 min of outage\n"
        "  good       99.937 % of events; data for 100 % of the time\n"
        "  burn       now 0.0x  1h 0.4x  6h 12x  3d 1,234x  (1x spends the budget evenly)\n"
        "  burn-down  ▃▃▃▃▃▄▄▄▄▄▅▅▅▅▅▆▆▆▆▆▇▇▇▇▇██████\n"
        "             10-19 11:06         11-18 11:06\n"
        "  incidents  began (UTC)  lasted  errors  of budget  peak  episodes\n"
        "             11-18 09:06  10 min     340      4.1 %   12x  4, 7"
    )


def test_a_page_of_what_is_spent_burning_or_new() -> None:
    spent = replace(ROW, left=-0.25, left_errors=-400.0)
    assert "99.9% over 30d, budget spent\n" in shown(spent)
    assert "-25 %  ··········  400 errors too many\n" in shown(spent)
    burning = replace(ROW, burn={"5m": 3.0}, spent_in_s=None)
    assert "over 30d, burning faster than evenly\n" in shown(burning)
    new = Budget("api", "availability", "99.9%", "30d", 0.001)
    assert shown(new, points=[]) == (
        "api/availability: 99.9% over 30d, not measured yet\n  incidents  none"
    )


def test_many_incidents_end_with_what_the_rest_spent() -> None:
    many = [Incident(NOW, NOW + 60, 10.0, 0.01, 3.0)] * 14
    text = shown(ROW, many)
    assert text.count("11-18 11:06    60 s") == slo_page.MOST_INCIDENTS
    assert text.endswith("and 4 smaller, together 4 %; --json has all")


@pytest.mark.parametrize("width", [40, 50, 60, 72, 80, 140])
def test_a_page_fits_its_terminal_and_cuts_no_number(width: int) -> None:
    incident = Incident(NOW - 7200, NOW - 6600, 340_000.0, 0.041, 12.0, tuple(range(100, 104)))
    lines = shown(ROW, [incident], width).splitlines()
    table = lines[-2:]
    assert all(len(line) <= width for line in table)
    assert table[1].split()[-1] in ("%", "103")
    (spark,) = [line for line in lines if "burn-down" in line]
    assert len(spark) <= width
