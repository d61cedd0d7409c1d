"""The lines of objectives as PromQL: what the catalog promises, held by the recorded constants."""

from __future__ import annotations

from collections.abc import Iterable

from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import SLO, BurnPair, pairs_of
from opsloop.compile.selectors import one_of, quote
from opsloop.compile.slo_names import ALERTING, BUDGET, OBJECTIVE, PERIOD, SLI
from opsloop.compile.slo_resolve import alerting_text, source_of


def _slis(catalog: Catalog, kind: str) -> dict[str, list[SLO]]:
    """The SLIs of one kind, by name, with the objectives over them."""
    found: dict[str, list[SLO]] = {}
    for service, declared in sorted(catalog.services.items()):
        for name, slo in sorted(declared.slos.items()):
            if slo.sli.kind == kind:
                found.setdefault(source_of(catalog, service, name)[0], []).append(slo)
    return found


def latency_slis(catalog: Catalog) -> str | None:
    """A matcher for the SLIs of latency; None where the catalog has none."""
    found = _slis(catalog, "latency")
    return one_of(SLI, found) if found else None


def error_objective(catalog: Catalog, mine: str) -> str | None:
    """The share of requests that may fail, by objective of availability; None: there is none.

    mine: the matcher of the service.
    """
    found = _slis(catalog, "availability")
    return f"max by (slo) ({BUDGET}{{{mine},{one_of(SLI, found)}}})" if found else None


def latency_objective(catalog: Catalog, mine: str) -> str | None:
    """The threshold in seconds, by objective of latency; None: there is none."""
    thresholds: dict[float, list[str]] = {}
    for sli, slos in _slis(catalog, "latency").items():
        for slo in slos:
            if slo.sli.latency is not None:
                thresholds.setdefault(slo.sli.latency.threshold.seconds, []).append(sli)
    return _constants(mine, ((s, one_of(SLI, slis)) for s, slis in thresholds.items())) or None


def distinct(catalog: Catalog) -> list[SLO]:
    """One objective of all those that are alike in promise, period and alerts."""
    found = {
        (slo.objective, slo.window, alerting_text(slo.alerting)): slo
        for service in catalog.services.values()
        for slo in service.slos.values()
    }
    return list(found.values())


def burn_limits(catalog: Catalog, mine: str, kind: str) -> list[tuple[str, str]]:
    """(name, PromQL) of the burn rates at which alerts of this kind fire, page or ticket.

    One for each pair of windows, first the fastest.
    """
    groups: dict[tuple[BurnPair, ...], list[SLO]] = {}
    for slo in distinct(catalog):
        pairs = tuple(p for p in pairs_of(slo) if p.kind == kind)
        if pairs:
            groups.setdefault(pairs, []).append(slo)
    most = max((len(pairs) for pairs in groups), default=0)
    found = []
    for at in range(most):
        clauses = [
            (float(pairs[at].factor), matcher)
            for pairs, slos in sorted(groups.items(), key=lambda g: str(g[0]))
            if at < len(pairs)
            for matcher in _told_apart(slos)
        ]
        word = ("fast", "slow")[at] if most == 2 else str(at + 1)
        found.append((f"{kind} ({word})", _constants(mine, clauses)))
    return found


def _told_apart(slos: Iterable[SLO]) -> list[str]:
    """Matchers that hold for these objectives and for no other: what their windows follow from."""
    keys = {(str(s.window), str(s.objective), alerting_text(s.alerting)) for s in slos}
    return [
        f"{PERIOD}={quote(period)},{OBJECTIVE}={quote(objective)},{ALERTING}={quote(alerting)}"
        for period, objective, alerting in sorted(keys)
    ]


def _constants(mine: str, clauses: Iterable[tuple[float, str]]) -> str:
    """Each value for the service's objectives that its matcher holds for."""
    return "\nor ".join(
        f"{value:.10g} * group by (slo) ({BUDGET}{{{mine},{matcher}}})"
        for value, matcher in sorted(clauses)
    )
