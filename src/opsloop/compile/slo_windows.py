"""The ledger of closed and open pages, and every window's counts, ratios and burn rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opsloop import names
from opsloop.catalog.slo import Period
from opsloop.catalog.units import Duration
from opsloop.compile.selectors import one_of, quote
from opsloop.compile.slo_names import (
    BUDGET,
    ERRORS_TILE,
    KINDS,
    MONTH,
    PAGE,
    PERIOD,
    SLI,
    TILE,
    TOTAL_TILE,
    Kind,
    burn_rate,
    closed_page,
    half_open,
    month_page,
    open_page,
    window_ratio,
    window_sum,
)
from opsloop.compile.slo_spec import SLOSpec

DIRECT_UP_TO = PAGE  # longer windows are cheaper from pages
EACH = f"{SLI}, {names.SERVICE}"
MOST_NAMED = 100
_TILES: dict[Kind, str] = {"total": TOTAL_TILE, "errors": ERRORS_TILE, "minutes": TOTAL_TILE}


def ledger_rules(calendar: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """Tiles are added to an open page; each hour it is closed and a new one opened.

    Every event is in exactly one page, however late that is closed, so a window of any length is
    the closed pages in it, plus the open page now, minus the page that was open when it began.
    calendar: objectives over calendar months, whose pages also get their month.
    """
    rules = []
    for kind in KINDS:
        rules.append({"record": closed_page(kind), "expr": _closed(kind)})
        rules.append({"record": open_page(kind), "expr": _open(kind)})
    months = [{"record": month_page(k), "expr": _month(k, calendar)} for k in KINDS]
    return [*rules, *(months if calendar else [])]


def _closed(kind: Kind) -> str:
    """At the first evaluation of an hour; also when tiles have stopped, so that none is lost."""
    tile, pending = _tile(kind), _pending(kind)
    return (
        f"(\n  ({tile} or 0 * {pending})\n  +\n  ({pending} or 0 * {tile})\n)\n"
        f"and on () (vector(time()) % {int(PAGE) // 1000} < {int(TILE) // 1000})"
    )


def _open(kind: Kind) -> str:
    tile, pending = _tile(kind), _pending(kind)
    just_closed = f"0 * last_over_time({closed_page(kind)}[{half_open(TILE)}])"
    return f"{just_closed}\nor\n  {tile} + ({pending} or 0 * {tile})"


def _tile(kind: Kind) -> str:
    """This minute's tile: a plain selector would give an older one where there is none."""
    function = "count_over_time" if kind == "minutes" else "last_over_time"
    return f"{function}({_TILES[kind]}[{half_open(TILE)}])"


def _pending(kind: Kind) -> str:
    return f"last_over_time({open_page(kind)}[{half_open(PAGE)}])"


def _month(kind: Kind, calendar: Sequence[SLOSpec]) -> str:
    # A page that is closed in the first minute of a month is the last of the month before.
    only = few_services(calendar)
    pages = f"{closed_page(kind)}{{{only}}}" if only else closed_page(kind)
    month = f'count_values("{MONTH}", month(vector(time() - {int(TILE) // 1000})))'
    closed = f"last_over_time({pages}[{half_open(TILE)}])"
    return f"{closed}\n* on () group_left ({MONTH})\n  {month}"


def counted(kind: Kind, window: Duration, only: str = "", offset: Duration | None = None) -> str:
    """The count of the last `window`, exact to the minute. only: a matcher, or nothing."""
    braces = f"{{{only}}}" if only else ""
    late = f" offset {offset}" if offset else ""
    if window <= DIRECT_UP_TO and not offset:
        # Minutes with data are counted on the total, which has a tile for each of them.
        function = "count_over_time" if kind == "minutes" else "sum_over_time"
        return f"{function}({_TILES[kind]}{braces}[{half_open(window)}])"
    began = Duration(window + (offset or 0))
    page, start = f"{closed_page(kind)}{braces}", f"{open_page(kind)}{braces}"
    return (
        f"sum by ({EACH}) (\n"
        f"  sum_over_time({page}[{half_open(window)}]{late})\n"
        f"  or\n"
        f"  {_part('open', f'last_over_time({start}[{half_open(PAGE)}]{late})')}\n"
        f"  or\n"
        f"  {_part('began', f'-last_over_time({start}[{half_open(PAGE)}] offset {began})')}\n"
        f") >= 0"
    )


def _part(name: str, expr: str) -> str:
    """A summand that `or` keeps beside the others."""
    return f'label_replace({expr}, "part", "{name}", "", "")'


def window_rules(specs: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """Counts of the long windows, then the error ratio of each window, shortest first."""
    rules: list[dict[str, Any]] = []
    long = {p.long for s in specs for p in s.pairs}
    for window in sorted({w for s in specs for p in s.pairs for w in p.windows}):
        only = _only(specs, window)
        braces = f"{{{only}}}" if only else ""
        if window in long:
            rules += [
                {"record": window_sum(kind, window), "expr": counted(kind, window, only)}
                for kind in KINDS
            ]
            errors = f"{window_sum('errors', window)}{braces}"
            total = f"{window_sum('total', window)}{braces}"
        else:
            errors, total = counted("errors", window, only), counted("total", window, only)
        ratio = (
            f"({errors})\n/\n({total} > 0)" if window not in long else f"{errors} / ({total} > 0)"
        )
        rules.append({"record": window_ratio(window), "expr": ratio})
    return rules


def _only(specs: Sequence[SLOSpec], window: Duration) -> str:
    """A matcher for the services that need this window; nothing when it would not save work."""
    wanted = [s for s in specs if any(window in p.windows for p in s.pairs)]
    return "" if len(wanted) == len(specs) else few_services(wanted)


def few_services(specs: Iterable[SLOSpec]) -> str:
    """A matcher for the services of these objectives; nothing when they are many."""
    services = {s.service for s in specs}
    return one_of(names.SERVICE, services) if len(services) <= MOST_NAMED else ""


def burn_rules(specs: Iterable[SLOSpec]) -> list[dict[str, Any]]:
    """How many times faster than evenly each objective's budget burns, by window."""
    by_period: dict[Period, set[Duration]] = {}
    for spec in specs:
        windows = by_period.setdefault(spec.period, set())
        windows |= {w for p in spec.pairs for w in p.windows}
    return [
        {
            "record": burn_rate(window),
            "expr": f"{window_ratio(window)}\n/ on ({EACH}) group_right ()\n"
            f"  {BUDGET}{{{PERIOD}={quote(str(period))}}}",
            "labels": {PERIOD: str(period)},
        }
        for period, windows in sorted(by_period.items(), key=lambda item: str(item[0]))
        for window in sorted(windows)
    ]
