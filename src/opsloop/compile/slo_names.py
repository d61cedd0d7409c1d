"""Names of the SLO rules: series, labels, groups, and the windows' own text in PromQL."""

from __future__ import annotations

from typing import Final, Literal

from opsloop import names
from opsloop.catalog.units import Duration

SLO: Final = "slo"
SLI: Final = "sli"  # what is measured; objectives that share it share its tiles
OBJECTIVE: Final = "objective"  # as the catalog has it: 99.9%
PERIOD: Final = "period"  # 30d, calendar-month
ALERTING: Final = "alerting"  # set where an objective's alerts differ from its period's own
MONTH: Final = "month"

Kind = Literal["total", "errors", "minutes"]
KINDS: Final[tuple[Kind, ...]] = ("total", "errors", "minutes")
"""What the ledger counts: events, failed events, minutes that have data."""

BUDGET: Final = "slo:budget:ratio"  # 1 - objective; one constant series for each SLO
TOTAL_TILE: Final = "slo:total:tile1m"
ERRORS_TILE: Final = "slo:errors:tile1m"
RATIO_PERIOD: Final = "slo:error_ratio:period"
COVERAGE_PERIOD: Final = "slo:coverage:period"
LEFT_RATIO: Final = "slo:budget_left:ratio"
LEFT_EVENTS: Final = "slo:budget_left:events"
LEFT_MINUTES: Final = "slo:budget_left:minutes"
EXHAUSTION: Final = "slo:exhaustion:seconds"

BURN_CRITICAL: Final = names.SLO_BURN_CRITICAL
BURN_HIGH: Final = names.SLO_BURN_HIGH
BUDGET_EXHAUSTED: Final = names.SLO_BUDGET_EXHAUSTED
DATA_MISSING: Final = names.SLO_DATA_MISSING
ERRORS_EXCEED: Final = names.SLO_ERRORS_EXCEED

ALERTS: Final = (BURN_CRITICAL, BURN_HIGH, DATA_MISSING, ERRORS_EXCEED, BUDGET_EXHAUSTED)

GROUP_OBJECTIVES: Final = "slo-objectives"
GROUP_WINDOWS: Final = "slo"
GROUP_BUDGET: Final = "slo-budget"
GROUP_SLOTH: Final = "slo-sloth"

TILE: Final = Duration(60_000)
PAGE: Final = Duration(3_600_000)


def page(kind: Kind) -> str:
    """Events since the last page was closed, this minute's among them; told once a minute."""
    return f"slo:{kind}:page"


def open_page(kind: Kind) -> str:
    """What is carried to the next minute: the page, or 0 when this minute has closed it."""
    return f"slo:{kind}:open"


def closed_page(kind: Kind) -> str:
    """Events of one closed page, an hour; one sample when it is closed."""
    return f"slo:{kind}:page1h"


def month_page(kind: Kind) -> str:
    """A closed page with the month (UTC) that it belongs to."""
    return f"slo:{kind}:month1h"


def window_sum(kind: Kind, window: Duration) -> str:
    return f"slo:{kind}:sum{window}"


def window_ratio(window: Duration) -> str:
    return f"slo:error_ratio:{window}"


def burn_rate(window: Duration) -> str:
    return f"slo:burn_rate:{window}"


def period_sum(kind: Kind) -> str:
    return f"slo:{kind}:period"


def half_open(window: Duration) -> str:
    """A range that holds its right end only, in Prometheus 2 and 3 alike: 1 ms is taken off."""
    return f"{int(window) - 1}ms"
