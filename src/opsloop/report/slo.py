"""Error budgets as Prometheus has them: one row an objective, for JSON, tables and people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opsloop import names
from opsloop.catalog.slo import Period, windows_for
from opsloop.catalog.units import Duration
from opsloop.compile import slo_names as series
from opsloop.compile.selectors import quote
from opsloop.remediation.ports import Metrics, Sample
from opsloop.report.times import stamp

BAR_CELLS: Final = 10
COVERED: Final = 0.9  # less of the period than this is said
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Budget:
    """One objective now. Shares are 0..1 (left may be negative); None: not measured yet.

    sli: the share of good events over the period; left_errors: how many more may fail;
    left_minutes: of a complete outage at the mean traffic; burn: by window, as text, in multiples
    of the even pace; coverage: the share of the period that has data; spent_in_s: seconds
    until nothing is left at the present burn, None where it lasts.
    """

    service: str
    slo: str
    objective: str
    period: str
    budget: float
    sli: float | None = None
    left: float | None = None
    left_errors: float | None = None
    left_minutes: float | None = None
    burn: Mapping[str, float] = field(default_factory=dict)
    coverage: float | None = None
    spent_in_s: float | None = None
    indicator: str = ""

    @property
    def state(self) -> str:
        """`new` (not measured yet), `spent`, `burning` (faster than evenly now) or `good`."""
        if self.left is None:
            return "new"
        if self.left <= 0:
            return "spent"
        windows = columns(self.period)
        if any((self.burn.get(w) or 0.0) > 1 for w in windows[:2] if w):
            return "burning"
        return "good"


def columns(period: str) -> tuple[str, str, str, str]:
    """The windows behind `burn now`, `1h`, `6h` and `3d`: those of the period's own alerts.

    Empty where the period has none: its windows scale with its length.
    """
    pairs = windows_for(Period.parse(period))
    pages = [p for p in pairs if p.kind == "page"]
    tickets = [p for p in pairs if p.kind == "ticket"]
    now, first = str(pages[0].short), str(pages[0].long)
    second = str(pages[1].long) if len(pages) > 1 else ""
    return now, first, second, str(tickets[-1].long) if tickets else ""


def budgets(metrics: Metrics, service: str | None = None) -> list[Budget]:
    """Ask Prometheus for every objective; the worst budget first, unmeasured ones last.

    Raises PrometheusError when it does not answer.
    """
    matcher = f"{{{names.SERVICE}={quote(service)}}}" if service is not None else ""
    ours = _by_objective(metrics.query(series.BUDGET + matcher))
    if not ours:
        return []
    wanted = (series.LEFT_RATIO, series.LEFT_EVENTS, series.LEFT_MINUTES, series.EXHAUSTION)
    values = {name: _by_objective(metrics.query(name + matcher)) for name in wanted}
    shared = {
        name: _by_indicator(metrics.query(name + matcher))
        for name in (series.RATIO_PERIOD, series.COVERAGE_PERIOD)
    }
    windows = sorted({w for _, labels in ours.values() for w in columns(_period(labels)) if w})
    burns = {
        w: _by_objective(metrics.query(series.burn_rate(_duration(w)) + matcher)) for w in windows
    }
    rows = []
    for key, (budget, labels) in ours.items():
        indicator = (labels.get(series.SLI, ""), key[0], _period(labels))
        ratio = shared[series.RATIO_PERIOD].get(indicator)
        found = {name: at[key][0] for name, at in values.items() if key in at}
        rows.append(
            Budget(
                service=key[0],
                slo=key[1],
                objective=labels.get(series.OBJECTIVE, ""),
                period=_period(labels),
                budget=budget,
                sli=None if ratio is None else 1 - ratio,
                left=found.get(series.LEFT_RATIO),
                left_errors=found.get(series.LEFT_EVENTS),
                left_minutes=found.get(series.LEFT_MINUTES),
                burn={w: at[key][0] for w, at in burns.items() if key in at},
                coverage=shared[series.COVERAGE_PERIOD].get(indicator),
                spent_in_s=found.get(series.EXHAUSTION),
                indicator=indicator[0],
            )
        )
    return sorted(rows, key=_worst_first)


def _worst_first(row: Budget) -> tuple[bool, float, str, str]:
    return row.left is None, 0.0 if row.left is None else row.left, row.service, row.slo


def _by_objective(
    samples: Iterable[Sample],
) -> dict[tuple[str, str], tuple[float, Mapping[str, str]]]:
    return {
        (s.labels.get(names.SERVICE, ""), s.labels.get(series.SLO, "")): (s.value, s.labels)
        for s in samples
    }


def _by_indicator(samples: Iterable[Sample]) -> dict[tuple[str, str, str], float]:
    return {
        (s.labels.get(series.SLI, ""), s.labels.get(names.SERVICE, ""), _period(s.labels)): s.value
        for s in samples
    }


def _period(labels: Mapping[str, str]) -> str:
    return labels.get(series.PERIOD, "30d")


def _duration(text: str) -> Duration:
    return Duration.parse(text)


# For people and programs


def as_json(row: Budget, now: float) -> dict[str, Any]:
    """The stable form of `opsloop slo --json`; shares 0..1, times RFC 3339 in UTC."""
    return {
        "service": row.service,
        "slo": row.slo,
        "objective": row.objective,
        "window": row.period,
        "state": row.state,
        "sli": row.sli,
        "budget_left": row.left,
        "errors_left": row.left_errors,
        "minutes_left": row.left_minutes,
        "burn": dict(row.burn),
        "coverage": row.coverage,
        "exhausted_at": None if row.spent_in_s is None else stamp(now + row.spent_in_s),
    }


def percent(share: float | None, digits: int) -> str:
    """`99.95 %` with at most `digits` decimals; `-` for None.

    Rounded down, so that 99.9996 % good never reads as 100 %.
    """
    if share is None:
        return "-"
    scale = 10**digits
    floored = _floor(share * 100 * scale + 1e-9) / scale
    text = f"{floored:,.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _floor(value: float) -> int:
    whole = int(value)
    return whole - 1 if value < whole else whole


def count(value: float | None) -> str:
    """A number with sensible digits: `12.4`, `1,234`; `-` for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}".removesuffix(".0")


def times(burn: float | None) -> str:
    """`0.4x`, `14x`, `1,200x`; `-` for None."""
    if burn is None:
        return "-"
    return f"{burn:,.0f}x" if burn >= 10 else f"{burn:.1f}x"


def bar(share: float | None, width: int = BAR_CELLS) -> str:
    """A bar of `width` cells for a share of 0..1; empty below, and for None."""
    if share is None:
        return ""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(width, "·")


def sentence(rows: Sequence[Budget]) -> str:
    """What the table says, in one line."""
    kinds = (
        ("spent", "spent"),
        ("burning", "burning faster than evenly"),
        ("new", "not measured yet"),
    )
    parts = [f"{len(rows)} objective{'s' if len(rows) != 1 else ''}"]
    for state, word in kinds:
        found = [r for r in rows if r.state == state]
        if found:
            parts.append(f"{len(found)} {word}: {_named(found)}")
    if len(parts) == 1:
        parts.append("all within their budgets")
    return "; ".join(parts)


def young(rows: Sequence[Budget]) -> str:
    """Whose numbers tell of less than their period; empty when none do."""
    found = [r for r in rows if r.coverage is not None and r.coverage < COVERED]
    if not found:
        return ""
    found.sort(key=lambda r: r.coverage or 0.0)
    named = ", ".join(
        f"{r.service}/{r.slo} (data for {coverage(r)} of {r.period})" for r in found[:3]
    )
    return f"not a full period yet: {named}" + (
        f" and {len(found) - 3} more" if len(found) > 3 else ""
    )


def coverage(row: Budget) -> str:
    """The share of the period that has data; `<1 %` below that."""
    if row.coverage is not None and 0 < row.coverage < 0.01:
        return "<1 %"
    return percent(row.coverage, 0)


def _named(rows: Sequence[Budget]) -> str:
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return ", ".join(f"{r.service}/{r.slo}" for r in rows[:3]) + more
