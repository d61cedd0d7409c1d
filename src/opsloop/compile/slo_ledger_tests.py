"""promtool unit tests of the ledger: minute by minute, after an outage, and at a month's end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile.slo_expected import Count
from opsloop.compile.slo_names import (
    ERRORS_TILE,
    GROUP_BUDGET,
    GROUP_WINDOWS,
    KINDS,
    MONTH,
    PAGE,
    PERIOD,
    SLI,
    TILE,
    TOTAL_TILE,
    Kind,
    closed_page,
    month_page,
    open_page,
    page,
    period_sum,
)
from opsloop.compile.slo_promtool import UNDER_TEST, series, test_file, values, values_at
from opsloop.compile.slo_spec import SLOSpec

SECOND = Duration(1000)
# An evaluation in the last second of an hour's first minute, the next one far from any.
OUTAGE = Duration(int(PAGE) + 59_000)
HALF_DAY = Duration(12 * 3_600_000)
_MONTH_END = 31 * 2 * int(HALF_DAY)  # of January 1970
_MONTH_STEP = 1800  # seconds
LAST_LOOK = Duration(_MONTH_END + int(TILE))  # which still tells of January

Events = tuple[Count, Count]  # total and errors of one minute


@dataclass(frozen=True, slots=True)
class Pages:
    """What the ledger must hold after one minute; None: no sample."""

    page: Count
    closed: Count
    opened: Count


def ledger_test_files(specs: Sequence[SLOSpec]) -> dict[str, str]:
    """File name to text; the ledger is the same for every objective, so one stands for all."""
    if not specs:
        return {}
    labels = {names.SERVICE: specs[0].service, SLI: UNDER_TEST}
    files = {
        "slo-ledger.yml": test_file([_minutes(labels)], TILE, GROUP_WINDOWS),
        "slo-ledger-outage.yml": test_file([_outage(labels)], OUTAGE, GROUP_WINDOWS),
    }
    calendar = [s for s in specs if s.period.calendar]
    if calendar:
        own = {names.SERVICE: calendar[0].service, SLI: UNDER_TEST}
        files["slo-month.yml"] = test_file([_month_end(own)], HALF_DAY, GROUP_WINDOWS)
        files["slo-month-budget.yml"] = test_file(
            [_whole_month(own, str(calendar[0].period))], LAST_LOOK, GROUP_BUDGET
        )
    return files


def ledger(tiles: Iterable[Count]) -> list[Pages]:
    """The ledger of tiles of minutes, the first at a full hour, without a missed evaluation."""
    found: list[Pages] = []
    carried: Count = None
    for minute, tile in enumerate(tiles):
        if tile is None and not carried:
            found.append(Pages(None, None, None))
            continue
        filled = (tile or 0.0) + (carried or 0.0)
        closes = minute * int(TILE) % int(PAGE) == 0
        carried = 0.0 if closes else filled
        found.append(Pages(filled, filled if closes else None, carried))
    return found


def _story() -> list[Events]:
    """Nothing, something, gaps within an hour and over its end, and an idle end of an hour."""
    quiet: list[Events] = [(0.0, 0.0)]
    gap: list[Events] = [(None, None)]
    some: list[Events] = [(5.0, 1.0), (3.0, 0.0)]
    first = [*quiet, (1.0, 1.0), *gap * 2, *some * 26]  # up to minute 55
    over = [*gap * 8, *quiet * 2, *gap * 2, *quiet]
    idle = quiet * (120 - len(first) - len(over))
    return [*first, *over, *idle, *gap * 2, (2.0, 2.0)]


def _minutes(labels: Mapping[str, str]) -> dict[str, Any]:
    story = _story()
    told: dict[Kind, list[Count]] = {
        "total": [total for total, _ in story],
        "errors": [errors for _, errors in story],
        "minutes": [None if total is None else 1.0 for total, _ in story],
    }
    checks = []
    for kind in KINDS:
        for at, pages in enumerate(ledger(told[kind])):
            if at in (0, 1, 2, 3, 4, 55, 56, 59, 60, 61, 62, 63, 64, 66, 68, 119, 120, 121, 122):
                time = str(Duration(at * int(TILE)))
                checks += _pages(kind, labels, time, pages)
    return {
        "name": "every event is in one page, which an hour's first minute closes",
        "interval": str(TILE),
        "input_series": [
            _input(TOTAL_TILE, labels, values(told["total"])),
            _input(ERRORS_TILE, labels, values(told["errors"])),
        ],
        "promql_expr_test": checks,
    }


def _outage(labels: Mapping[str, str]) -> dict[str, Any]:
    """Rules that were not evaluated for long: what was open an hour ago is not known any more."""
    first, second = int(OUTAGE) // 1000, 2 * int(OUTAGE) // 1000
    tiles = {first - 59: 4.0, second - 60: 6.0}  # the other one was of the minute before
    opened = {first - 3600: 9.0, second - 3599: 5.0}
    known = {"total": 4.0, "errors": 4.0, "minutes": 1.0}
    checks = []
    for kind in KINDS:
        after = Pages(known[kind], known[kind], 0.0)
        checks += _pages(kind, labels, str(OUTAGE), after)
        late = Pages(5.0, None, 5.0)
        checks += _pages(kind, labels, str(Duration(2 * int(OUTAGE))), late)
    return {
        "name": "after an outage an open page is continued, or forgotten when it is an hour old",
        "interval": str(SECOND),
        "input_series": [
            _input(TOTAL_TILE, labels, values_at(tiles)),
            _input(ERRORS_TILE, labels, values_at(tiles)),
            *(_input(open_page(kind), labels, values_at(opened)) for kind in KINDS),
        ],
        "promql_expr_test": checks,
    }


def _month_end(labels: Mapping[str, str]) -> dict[str, Any]:
    """A page that is closed in a month's first minute belongs to the month before."""
    turn, half = _MONTH_END // 1000, int(HALF_DAY) // 1000
    closed = {turn - half - 60: 3.0, turn - 59: 7.0, turn + half: 8.0}
    checks = []
    for kind in KINDS:
        for time, value, month in ((turn - half, None, 1), (turn, 7.0, 1), (turn + half, 8.0, 2)):
            named = dict(labels) | {MONTH: str(month)}
            checks.append(_check(month_page(kind), named, str(Duration(time * 1000)), value))
    return {
        "name": "a page of a month's first minute is the last of the month before",
        "interval": str(SECOND),
        "input_series": [_input(closed_page(kind), labels, values_at(closed)) for kind in KINDS],
        "promql_expr_test": checks,
    }


def _whole_month(labels: Mapping[str, str], period: str) -> dict[str, Any]:
    """The last evaluation that tells of a month of 31 days holds its first hour and its last."""
    hour, half = int(PAGE) // 1000, _MONTH_END // 2000
    told = {hour: 1.0, half: 10.0, _MONTH_END // 1000: 100.0}
    ticks = {at // _MONTH_STEP: value for at, value in told.items()}
    end = str(LAST_LOOK)
    whole = {names.SERVICE: labels[names.SERVICE], SLI: labels[SLI], PERIOD: period}
    return {
        "name": "a month's first hour counts until the last evaluation that tells of it",
        "interval": str(Duration(_MONTH_STEP * 1000)),
        "input_series": [
            _input(month_page(kind), dict(labels) | {MONTH: "1"}, values_at(ticks))
            for kind in KINDS
        ],
        "promql_expr_test": [_check(period_sum(kind), whole, end, 111.0) for kind in KINDS],
    }


def _pages(kind: Kind, labels: Mapping[str, str], time: str, pages: Pages) -> list[dict[str, Any]]:
    return [
        _check(page(kind), labels, time, pages.page),
        _check(closed_page(kind), labels, time, pages.closed),
        _check(open_page(kind), labels, time, pages.opened),
    ]


def _check(name: str, labels: Mapping[str, str], time: str, value: Count) -> dict[str, Any]:
    wanted = series(name, labels)
    # A plain selector would give an older sample where there is none.
    fresh = f"last_over_time({wanted}[1s])"
    expected = [] if value is None else [{"labels": wanted, "value": value}]
    return {"expr": fresh, "eval_time": time, "exp_samples": expected}


def _input(name: str, labels: Mapping[str, str], text: str) -> dict[str, str]:
    return {"series": series(name, labels), "values": text}
