"""What compile needs of one objective, free of the catalog's shape; and SLIs that share rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opsloop import names
from opsloop.catalog.slo import BurnPair, Objective, Period, decimal
from opsloop.catalog.units import Duration
from opsloop.compile.slo_names import ALERTING, OBJECTIVE, PERIOD, SLI, SLO
from opsloop.errors import InputError

SCRAPE_TIMEOUT = Duration(10_000)
SCRAPE_INTERVAL = Duration(15_000)


@dataclass(frozen=True, slots=True)
class Counters:
    """Selectors of counters: all events, and either the failed or the good ones.

    own: the series carry the label `service`, so one rule serves every service of the SLI.
    """

    total: str
    errors: str | None = None
    good: str | None = None
    own: bool = True


@dataclass(frozen=True, slots=True)
class Rates:
    """Free PromQL with {window}: events a second. The fall-back; counts are extrapolated."""

    errors: str
    total: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """Free PromQL with {window}: the share of failures. Events are minutes."""

    query: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Age:
    """A unix time that must not be older than max_age seconds. Events are minutes."""

    metric: str
    max_age: float
    own: bool = True


@dataclass(frozen=True, slots=True)
class Runs:
    """A gauge of which each sample is one run: 1 good, 0 failed (probe_success)."""

    success: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Links:
    """What pages name: console and dashboards (without a slash at the end), policies in words."""

    console: str
    dashboards: str
    policies: Mapping[str, str] = field(default_factory=dict)
    runbook: str = "RUNBOOK.md"  # with a section for each alert


Source = Counters | Rates | Ratio | Age | Runs


@dataclass(frozen=True, slots=True)
class SLOSpec:
    """One objective of one service, resolved.

    slo: its name, unique in its service; sli: the name of what is measured, equal only where
    `source` is equal; pairs with floors: its burn-rate alerts and how many errors each needs;
    labels: team, tier, environment; min_events: of the budget alert.
    """

    slo: str
    service: str
    sli: str
    source: Source
    objective: Objective
    period: Period
    pairs: tuple[BurnPair, ...]
    floors: tuple[int, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    min_events: int = 10
    alerting: str = ""  # distinguishes own alerting; empty: the period's own
    description: str = ""
    runbook: str | None = None
    scrape_interval: Duration = SCRAPE_INTERVAL
    scrape_timeout: Duration = SCRAPE_TIMEOUT
    links: Links | None = None  # None: pages name no addresses
    policies: Mapping[str, str] = field(default_factory=dict)  # by the alert that each meets

    @property
    def budget(self) -> str:
        """The share of events that may fail, as exact decimal text."""
        return decimal(self.objective.budget)

    @property
    def series_labels(self) -> dict[str, str]:
        """The labels of every series and alert of this objective."""
        own = {
            SLO: self.slo,
            names.SERVICE: self.service,
            SLI: self.sli,
            OBJECTIVE: str(self.objective),
            PERIOD: str(self.period),
        }
        return own | ({ALERTING: self.alerting} if self.alerting else {}) | dict(self.labels)


@dataclass(frozen=True, slots=True)
class Indicator:
    """An SLI: one source, and the services whose events it counts."""

    name: str
    source: Source
    services: tuple[str, ...]
    scrape_interval: Duration
    scrape_timeout: Duration


def indicators(specs: Iterable[SLOSpec]) -> list[Indicator]:
    """The SLIs of these objectives, sorted by name.

    Raises InputError when one name stands for two sources, or one (service, slo) comes twice.
    """
    by_name: dict[str, list[SLOSpec]] = {}
    seen: set[tuple[str, str]] = set()
    for spec in specs:
        if (spec.service, spec.slo) in seen:
            raise InputError(f"{spec.service}/{spec.slo}", "is here twice", "rename one")
        seen.add((spec.service, spec.slo))
        by_name.setdefault(spec.sli, []).append(spec)
    return [_indicator(name, found) for name, found in sorted(by_name.items())]


def _indicator(name: str, specs: list[SLOSpec]) -> Indicator:
    services = tuple(sorted({s.service for s in specs}))
    sources = {s.source for s in specs}
    if len(sources) > 1 or (not specs[0].source.own and len(services) > 1):
        raise InputError(f"sli {name!r}", "stands for two different things", "name them apart")
    return Indicator(
        name,
        specs[0].source,
        services,
        Duration(max(int(s.scrape_interval) for s in specs)),
        Duration(max(int(s.scrape_timeout) for s in specs)),
    )
