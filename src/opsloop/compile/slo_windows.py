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
    page,
    window_ratio,
    window_sum,
)
from opsloop.compile.slo_spec import SLOSpec

OPEN_WITHIN = Duration(300_000)  # an open page is told each minute; Prometheus may restart
DIRECT_UP_TO = PAGE  # longer windows are cheaper from pages
EACH = f"{SLI}, {names.SERVICE}"
MOST_NAMED = 100
_TILES: dict[Kind, str] = {"total": TOTAL_TILE, "errors": ERRORS_TILE, "minutes": TOTAL_TILE}


def ledger_rules(calendar: Sequence[SLOSpec]) -> list[dict[str, Any]]:
    """Tiles are added to an open page; each hour it is closed and a new one opened.

    Every event is in exactly one closed page, however late that is closed, so a window of any
    length is the closed pages in it, plus the open page now, minus what was open when it began.
    calendar: objectives over calendar months, whose pages also get their month.
    """
    rules = []
    for kind in KINDS:
        now, hour = f"last_over_time({page(kind)}[{half_open(TILE)}])", int(PAGE) // 1000
        minute = f"vector(time()) % {hour}"
        first = int(TILE) // 1000  # the first evaluation of an hour closes its page
        closed = f"{now}\nand on () ({minute} < {first})"
        opened = f"{now}\n* on () group_left () ({minute} >= bool {first})"
        rules += [
            {"record": page(kind), "expr": _page(kind)},
            {"record": closed_page(kind), "expr": closed},
            {"record": open_page(kind), "expr": opened},
        ]
    months = [{"record": month_page(k), "expr": _month(k, calendar)} for k in KINDS]
    return [*rules, *(months if calendar else [])]


def _page(kind: Kind) -> str:
    """What was open and this minute's tile. Without a tile it stays open until it is closed."""
    # A plain selector would give an older tile where there is none.
    function = "count_over_time" if kind == "minutes" else "last_over_time"
    tile = f"{function}({_TILES[kind]}[{half_open(TILE)}])"
    before = f"last_over_time({open_page(kind)}[{half_open(PAGE)}])"
    return f"({tile} or 0 * ({before} > 0))\n+\n({before} or 0 * {tile})"


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
    closed, opened = f"{closed_page(kind)}{braces}", f"{open_page(kind)}{braces}"
    recent = half_open(OPEN_WITHIN)
    return (
        f"sum by ({EACH}) (\n"
        f"  sum_over_time({closed}[{half_open(window)}]{late})\n"
        f"  or\n"
        f"  {_part('open', f'last_over_time({opened}[{recent}]{late})')}\n"
        f"  or\n"
        f"  {_part('began', f'-last_over_time({opened}[{recent}] offset {began})')}\n"
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
