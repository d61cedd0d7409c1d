"""IncidentAftermath: what an incident leaves behind is no second one, and for how long.

Rates, burn rates and missing data outlast their cause by their windows. An inhibition ends with
its source, so they would be told when all is well again. This alert goes on for that long; nobody
is told of it, and Alertmanager inhibits by it. It ends at once when a budget burns anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import Period
from opsloop.catalog.units import Duration
from opsloop.compile import texts
from opsloop.compile.alertrule import AlertRule
from opsloop.compile.conditions import Clause
from opsloop.compile.dependents import dependents_of
from opsloop.compile.grace import longest_wait
from opsloop.compile.options import Options
from opsloop.compile.selectors import BY_SERVICE, one_of, quote, scrape_interval, scrape_timeout
from opsloop.compile.slo_alerts import factor_text
from opsloop.compile.slo_names import BUDGET, ERRORS_TILE, PERIOD, TILE, burn_rate, half_open
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_windows import EACH
from opsloop.compile.wording import Wording

Kind = Literal["page", "ticket"]
SYMPTOMS: Final = "symptoms"  # what `covers` says: errors and latency
DATA: Final = "data"  # objectives without data
PAGE: Final[Kind] = "page"
TICKET: Final[Kind] = "ticket"
KINDS: Final[tuple[Kind, ...]] = (PAGE, TICKET)

MOST_NAMED: Final = 100  # services in a matcher
_DOWN = (names.SERVICE_DOWN,)
# Of whom people were told when the budget began to burn; a ticket also follows a page.
CAUSES: Final[dict[Kind, tuple[str, ...]]] = {
    PAGE: (names.HIGH_ERROR_RATE, names.SERVICE_DOWN),
    TICKET: (
        names.HIGH_ERROR_RATE, names.HIGH_LATENCY, names.SERVICE_DOWN, names.SLO_BURN_CRITICAL
    ),
}  # fmt: skip
# How often the past is looked at; what fired for less than that beyond its wait may be missed.
_STEPS: Final[dict[Kind, Duration]] = {PAGE: Duration(15_000), TICKET: TILE}
# After the end of a cause: its last tile, the tile's own minute, and the evaluation after both.
SETTLED: Final = Duration(3 * int(TILE))
DATA_BACK: Final = Duration(5 * int(TILE))  # the first tile after a gap needs two minutes of data

_MEANING: Final = {
    SYMPTOMS: "What rates still hold of an instance that was down is not told of its service.",
    DATA: "That data comes back after an instance was down is not told of its service.",
    PAGE: "The budget that an incident burnt is not told as a page of its service.",
    TICKET: "The budget that an incident burnt is not told as a ticket of its service.",
}


def aftermath_rules(
    catalog: Catalog, options: Options, rules: Sequence[AlertRule], specs: Sequence[SLOSpec]
) -> list[AlertRule]:
    """The rules, in the order of `covers`. rules: the catalogue's others; specs: all objectives."""
    make = _Maker(catalog, options, rules, specs)
    found = [make.rule(SYMPTOMS, make.symptoms()), make.rule(DATA, make.data())]
    for period in sorted({spec.period for spec in specs}, key=str):
        found += [make.rule(kind, make.burning(kind, period), period) for kind in KINDS]
    return [rule for rule in found if rule is not None]


@dataclass(frozen=True, slots=True)
class _Past:
    """What is asked of the past: which alerts of which services fired."""

    alerts: tuple[str, ...]
    services: tuple[str, ...]

    @property
    def firing(self) -> str:
        which = one_of("alertname", self.alerts)
        if len(self.services) <= MOST_NAMED:  # of others it says what nobody asks
            which += f",{one_of(names.SERVICE, self.services)}"
        return f'ALERTS{{alertstate="firing",{which}}}'

    def within(self, window: Duration) -> str:
        return f"max_over_time({self.firing}[{window}])"

    def told_within(self, window: Duration, wait: Duration, step: Duration) -> str:
        """Those that fired for longer than people wait to be told."""
        told = f"{self.firing} and {self.firing} offset {wait}"
        return f"max_over_time(({told})[{window}:{step}])"


class _Maker:
    """Makes the clauses for one catalog: the rules of others say how long each thing lasts."""

    def __init__(
        self,
        catalog: Catalog,
        options: Options,
        rules: Sequence[AlertRule],
        specs: Sequence[SLOSpec],
    ) -> None:
        self._catalog, self._options = catalog, options
        self._rules, self._specs = rules, specs
        self._users = dependents_of(catalog)
        self._down = {s for r in rules if r.shape == names.SERVICE_DOWN for s in r.subjects}
        causes = [r for r in rules if r.shape in CAUSES[TICKET]]
        self._wait = longest_wait(catalog, causes)

    def rule(
        self, covers: str, clauses: list[Clause], period: Period | None = None
    ) -> AlertRule | None:
        if not clauses:
            return None
        said = texts.page(
            self._catalog,
            self._options,
            names.INCIDENT_AFTERMATH,
            summary=Wording.of("An incident of this service is told already"),
            description=Wording.of(_MEANING[covers]),
            impact="None: nobody is told of this alert.",
        )
        own = {names.COVERS: covers} | ({PERIOD: str(period)} if period else {})
        return AlertRule(
            shape=names.INCIDENT_AFTERMATH,
            alert=names.INCIDENT_AFTERMATH,
            severity="",
            policy=None,
            scope="service",
            clauses=tuple(clauses),
            for_=Duration(0),
            labels=own,
            annotations=said,
            part=".".join([covers, *([str(period)] if period else [])]),
        )

    def symptoms(self) -> list[Clause]:
        """Rates hold for their windows what was counted while an instance was down, also those
        of the services that depend on it."""
        lasting: dict[str, int] = {}
        for rule in self._rules:
            if rule.shape in (names.HIGH_ERROR_RATE, names.HIGH_LATENCY):
                for clause in rule.clauses:
                    for s in clause.subjects:
                        lasting[s] = max(lasting.get(s, 0), int(clause.window) + self._read(s))
        groups: dict[int, list[str]] = {}
        for service in sorted(self._down):
            about = (service, *self._users.get(service, ()))
            if longest := max((lasting.get(s, 0) for s in about), default=0):
                groups.setdefault(longest, []).append(service)
        return [_simple(members, Duration(window)) for window, members in sorted(groups.items())]

    def _read(self, service: str) -> int:
        """What passes until an end is seen in a rate: a scrape, and two evaluations."""
        seen = scrape_interval(self._catalog, service) + scrape_timeout(self._catalog, service)
        return seen + 2 * int(self._catalog.stack.evaluation_interval)

    def data(self) -> list[Clause]:
        services = sorted({s.service for s in self._specs} & self._down)
        return [_simple(services, DATA_BACK)] if services else []

    def burning(self, kind: Kind, period: Period) -> list[Clause]:
        """For the services with such alerts over this period: their own incidents, and those of
        what they depend on, one clause for those that depend on the same."""
        some = [s for s in self._specs if s.period == period]
        pairs = [p for s in some for p in s.pairs if p.kind == kind]
        services = {s.service for s in some if any(p.kind == kind for p in s.pairs)}
        if not services:
            return []
        first, last = min(p.short for p in pairs), max(p.short for p in pairs)
        burn = _Burn(
            kind,
            period,
            first,
            Duration(first + SETTLED),
            Duration(last + SETTLED),
            factor_text(min(p.factor for p in pairs)),
            max(f for s in some for p, f in zip(s.pairs, s.floors, strict=True) if p.kind == kind),
            self._wait,
        )
        found = [burn.own(tuple(sorted(services)))]
        for causes, users in self._by_dependencies(services):
            found.append(burn.of_dependents(causes, users))
        return found

    def _by_dependencies(
        self, services: Iterable[str]
    ) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """(what they depend on, services), those first that depend on the first."""
        on: dict[str, list[str]] = {}
        for cause, users in sorted(self._users.items()):
            for user in users:
                if cause in self._down:
                    on.setdefault(user, []).append(cause)
        groups: dict[tuple[str, ...], list[str]] = {}
        for service in sorted(services):
            if causes := on.get(service):
                groups.setdefault(tuple(causes), []).append(service)
        for causes_of, members in sorted(groups.items()):
            yield causes_of, tuple(members)


@dataclass(frozen=True, slots=True)
class _Burn:
    """How long burn rates over one period remember, and what shows that they burn anew.

    first: the shortest window; clean: how long after an incident it holds nothing of it; last:
    how long after it any alert of this kind can hold some; factor, least: of a new burn.
    """

    kind: Kind
    period: Period
    first: Duration
    clean: Duration
    last: Duration
    factor: str
    least: int
    wait: Duration

    def own(self, services: tuple[str, ...]) -> Clause:
        past = _Past(CAUSES[self.kind], services)

        def incident(window: Duration) -> str:
            return f"max by ({BY_SERVICE}) ({self._told(past, window)})"

        return self._clause(services, incident)

    def of_dependents(self, causes: tuple[str, ...], users: tuple[str, ...]) -> Clause:
        past = _Past(_DOWN, causes)
        budgets = f"{BUDGET}{{{self._period},{one_of(names.SERVICE, users)}}}"

        def incident(window: Duration) -> str:
            told = f"max({self._told(past, window)})"
            return f"max by ({BY_SERVICE}) ({budgets} >= bool 0)\nand on ()\n{told}"

        return self._clause(users, incident)

    def _told(self, past: _Past, window: Duration) -> str:
        return past.told_within(window, self.wait, _STEPS[self.kind])

    @property
    def _period(self) -> str:
        return f"{PERIOD}={quote(str(self.period))}"

    def _clause(self, services: tuple[str, ...], incident: Callable[[Duration], str]) -> Clause:
        """An incident within the last windows, unless it burns anew since one."""
        anew = f"{burn_rate(self.first)}{{{self._period}}} > {self.factor}"
        if self.kind == PAGE:  # a few errors at night are no burn; those of hours are not summed
            errors = f"sum_over_time({ERRORS_TILE}[{half_open(self.first)}])"
            anew = f"{anew}\nand on ({EACH})\n{errors} >= {self.least}"
        expr = (
            f"(\n{incident(self.last)}\n)\n"
            f"unless on ({names.SERVICE})\n"
            f"(\nmax by ({names.SERVICE}) (\n{anew}\n)\n"
            f"unless on ({names.SERVICE})\n"
            f"(\n{incident(self.clean)}\n)\n)"
        )
        return Clause(
            expr=expr,
            subjects=services,
            threshold=float(self.factor),
            window=self.last,
            short=self.clean,
            least=self.least if self.kind == PAGE else 0,
        )


def _simple(services: Sequence[str], window: Duration) -> Clause:
    past = _Past(_DOWN, tuple(services))
    expr = f"max by ({BY_SERVICE}) ({past.within(window)})"
    return Clause(expr=expr, subjects=tuple(services), window=window, short=window)
