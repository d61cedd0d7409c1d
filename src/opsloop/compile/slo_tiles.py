"""Tiles: the true number of events of each minute, from counters, gauges or free PromQL."""

from __future__ import annotations

from typing import Any

from opsloop import names
from opsloop.catalog.slo import WINDOW_PLACEHOLDER
from opsloop.catalog.units import Duration
from opsloop.compile.selectors import Selector, one_of, quote
from opsloop.compile.slo_names import ERRORS_TILE, SLI, TILE, TOTAL_TILE, half_open
from opsloop.compile.slo_spec import Age, Counters, Indicator, Rates, Ratio, Runs

LOOK_BACK = Duration(30 * 60_000)  # a counter that was away for less continues where it stopped
KNOWN_WITHIN = Duration(5 * 60_000)  # a target seen this recently has told all its old series
TARGET = "job, instance"
MOST_NAMED = 100  # services named in a selector; more cost more than the series they keep out
RATE_WINDOW = Duration(5 * 60_000)


def tile_rules(indicator: Indicator) -> list[dict[str, Any]]:
    """The rules of one SLI: its total tile, then its error tile."""
    total, errors = _expressions(indicator)
    labels = {SLI: indicator.name}
    if not indicator.source.own:
        labels[names.SERVICE] = indicator.services[0]
    return [
        {"record": TOTAL_TILE, "expr": total, "labels": labels},
        {"record": ERRORS_TILE, "expr": errors, "labels": labels},
    ]


def _expressions(indicator: Indicator) -> tuple[str, str]:
    source = indicator.source
    if isinstance(source, Counters):
        return _counters(indicator, source)
    if isinstance(source, Runs):
        return _runs(indicator, source)
    if isinstance(source, Age):
        return _age(indicator, source)
    if isinstance(source, Rates):
        return _rates(indicator, source)
    return _ratio(indicator, source)


def delay_of(indicator: Indicator) -> Duration:
    """How far behind the tiles look: a scrape is stored when it ends, with the time it began.

    Without it, a scrape that begins before a rule is evaluated and ends after it would be in
    no tile: too late for this one, and the starting point of the next.
    """
    whole = -(-int(indicator.scrape_timeout) // 1000) * 1000
    return Duration(whole)


def _counters(indicator: Indicator, source: Counters) -> tuple[str, str]:
    total = _counted(indicator, source.total, source.total)
    written = _written_total(indicator)
    if source.errors is not None:
        # A service that never failed has no error series: it has 0 errors.
        errors = _counted(indicator, source.errors, source.total)
        return total, f"{errors}\nor{_on(indicator)}\n  0 * {written}"
    good = _counted(indicator, source.good or "", source.total)
    counted = f"(\n{good}\nor{_on(indicator)}\n  0 * {written}\n)"
    return total, f"clamp_min(\n{written}\n-{_on(indicator)}\n{counted}\n, 0)"


def _counted(indicator: Indicator, selector: str, sibling: str) -> str:
    """Events since the tile before: nothing is extrapolated, and a reset counts from 0.

    What a process counted before it was restarted within the minute is the peak: a repair follows
    an error burst within seconds, and the burst must not be lost with the process that had it.
    A series without a past counts from 0 when its target is known by its other series, and not
    at all when it is not: then nobody knows how old its events are.
    """
    delay = delay_of(indicator)
    before = Duration(TILE + delay)
    series, known = _where(indicator, selector), _where(indicator, sibling)
    now = f"last_over_time({series}[{_present(indicator)}] offset {delay})"
    past = f"last_over_time({series}[{LOOK_BACK}] offset {before})"
    seen = f"last_over_time({known}[{KNOWN_WITHIN}] offset {before})"
    peak = f"max_over_time({series}[{half_open(TILE)}] offset {delay})"
    highest = f"({peak} or {now})" if _present(indicator) != half_open(TILE) else peak
    again = f'label_replace({now} < {peak}, "after", "restart", "", "")'
    return (
        f"sum{_by(indicator)} (\n"
        f"  (\n    {highest}\n    -\n    {past}\n    >= 0\n  )\n"
        f"  or\n"
        f"  (\n    {now}\n    and on ({TARGET})\n    {seen}\n  )\n"
        f"  or\n"
        f"  {again}\n)"
    )


def _present(indicator: Indicator) -> str:
    """How old the newest sample may be: a tile, or two scrapes where they are rare."""
    return half_open(Duration(max(int(TILE), 2 * int(indicator.scrape_interval))))


def _runs(indicator: Indicator, source: Runs) -> tuple[str, str]:
    delay = delay_of(indicator)
    samples = f"{_where(indicator, source.success)}[{half_open(TILE)}] offset {delay}"
    good = f"sum{_by(indicator)} (sum_over_time({samples}))"
    return (
        f"sum{_by(indicator)} (count_over_time({samples}))",
        f"clamp_min(\n{_written_total(indicator)}\n-{_on(indicator)}\n{good}\n, 0)",
    )


def _age(indicator: Indicator, source: Age) -> tuple[str, str]:
    series = _where(indicator, source.metric)
    limit = f"{source.max_age:.15g}"
    return (
        f"group{_by(indicator)} ({series})",
        f"time() - max{_by(indicator)} ({series}) > bool {limit}",
    )


def _rates(indicator: Indicator, source: Rates) -> tuple[str, str]:
    seconds = int(TILE) // 1000
    errors = f"{seconds} * sum (\n{_in_window(indicator, source.errors)}\n) >= 0"
    return (
        f"{seconds} * sum (\n{_in_window(indicator, source.total)}\n) >= 0",
        f"({errors})\nor\n  0 * {_written_total(indicator)}",
    )


def _ratio(indicator: Indicator, source: Ratio) -> tuple[str, str]:
    # NaN is no answer: a comparison drops it.
    query = f"sum (\n{_in_window(indicator, source.query)}\n) >= 0"
    return f"0 * ({query}) + 1", f"clamp_max({query}, 1)"


def _in_window(indicator: Indicator, query: str) -> str:
    window = Duration(max(int(RATE_WINDOW), 4 * int(indicator.scrape_interval)))
    return query.strip().replace(WINDOW_PLACEHOLDER, str(window))


def _where(indicator: Indicator, selector: str) -> str:
    own = indicator.source.own and len(indicator.services) <= MOST_NAMED
    more = (one_of(names.SERVICE, indicator.services),) if own else ()
    return Selector.parse(selector).where(*more)


def _by(indicator: Indicator) -> str:
    return f" by ({names.SERVICE})" if indicator.source.own else ""


def _on(indicator: Indicator) -> str:
    return f" on ({names.SERVICE})" if indicator.source.own else ""


def _written_total(indicator: Indicator) -> str:
    """The total tile of this minute, with the labels that the counters are summed by."""
    tile = f"{TOTAL_TILE}{{{SLI}={quote(indicator.name)}}}"
    return f"sum{_by(indicator)} (last_over_time({tile}[{half_open(TILE)}]))"
