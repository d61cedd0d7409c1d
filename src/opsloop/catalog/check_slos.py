"""Rules over objectives: what they measure is there, fits its bounds, and is kept long enough."""

from __future__ import annotations

from fractions import Fraction

from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.model import Metrics, Service
from opsloop.catalog.selector import Selector
from opsloop.catalog.slo import (
    HTTP_BUCKETS,
    MINUTE,
    RETENTION_MARGIN,
    SHORTEST_LONG,
    SHORTEST_SHORT,
    SLI,
    SLO,
    BurnWindow,
    Events,
    pairs_of,
    required_retention,
)
from opsloop.catalog.subset import outside
from opsloop.catalog.units import Duration
from opsloop.errors import InputError

LEAST_PAGE = Fraction(3, 2)  # a page at a factor of this or less would tell of normal days
LEAST_TICKET = Fraction(1)


def slos(scope: Scope) -> None:
    for name, service in scope.catalog.services.items():
        seen: dict[tuple[str, ...], str] = {}
        for slo_name, slo in service.slos.items():
            path: Path = ("services", name, "slos", slo_name)
            alerting = slo.alerting.model_dump_json()
            key = (slo.sli.model_dump_json(), str(slo.objective), str(slo.window), alerting)
            first = seen.setdefault(key, slo_name)
            if first != slo_name:
                scope.error(
                    path, f"measures and promises the same as {first!r}", "remove one of them"
                )
            _window(scope, path, slo)
            _alerting(scope, path, slo)
            _sli(scope, path, service, slo.sli)


def _window(scope: Scope, path: Path, slo: SLO) -> None:
    """A period that is not kept as a whole would be told too well."""
    retention, needed = scope.catalog.stack.retention, required_retention(slo.window)
    if retention is None or retention == 0 or needed <= retention:
        return
    scope.error(
        (*path, "window"),
        f"{slo.window} is longer than the retention, {retention}, minus {RETENTION_MARGIN}",
        f"set stack.retention to {needed} or more, or leave it out: then what objectives need is"
        " kept",
        reads=[("stack", "retention")],
    )


# Alerting


def _alerting(scope: Scope, path: Path, slo: SLO) -> None:
    at = (*path, "alerting")
    seen: set[tuple[str, Duration, Duration]] = set()
    well = True
    for i, window in enumerate(slo.alerting.windows):
        well = _own_window(scope, (*at, "windows", i), slo, window) and well
        key = (window.kind, window.long, window.short)
        if key in seen:
            scope.warning((*at, "windows", i), f"a {window.kind} over {window.long} is here twice")
        seen.add(key)
    if well:
        _factors(scope, path, slo)


def _own_window(scope: Scope, at: Path, slo: SLO, window: BurnWindow) -> bool:
    found = len(scope.errors)
    for field, least in (("short", SHORTEST_SHORT), ("long", SHORTEST_LONG)):
        length: Duration = getattr(window, field)
        if length < least or length % MINUTE:
            scope.error(
                (*at, field), f"{length} is not at least {least} in whole minutes", f"write {least}"
            )
    if window.short >= window.long:
        scope.error(
            (*at, "short"),
            f"{window.short} is not shorter than long, {window.long}",
            reads=[(*at, "long")],
        )
    if window.long > slo.window.length:
        scope.error(
            (*at, "long"),
            f"{window.long} is longer than the objective's window, {slo.window}",
            reads=[(*at[:4], "window")],
        )
    return len(scope.errors) == found


def _factors(scope: Scope, path: Path, slo: SLO) -> None:
    """Refuse alerts that the budget's even pace, or hardly more, would fire."""
    for i, pair in enumerate(pairs_of(slo)):
        page = pair.kind == "page"
        if pair.factor > LEAST_PAGE if page else pair.factor >= LEAST_TICKET:
            continue
        limit = f"more than {float(LEAST_PAGE):g}" if page else "at least 1"
        own = slo.alerting.windows
        at = (*path, "alerting", "windows", i) if len(own) == len(pairs_of(slo)) else path
        hint = f"a larger share of the budget, a shorter long window, or {pair.kind}: false"
        scope.error(
            at,
            f"the {pair.kind} over {pair.long} would fire at {float(pair.factor):.3g} times the"
            f" even pace; {limit} is wanted",
            hint
            if own
            else f"promise more than {slo.objective}, or set alerting.{pair.kind}: false",
            reads=[(*path, "window"), (*path, "objective"), (*path, "alerting")],
        )


# What is measured


def _sli(scope: Scope, path: Path, service: Service, sli: SLI) -> None:
    at = (*path, "sli")
    metrics_at = (*path[:2], "metrics")
    if sli.availability is not None:
        _availability(scope, at, metrics_at, service)
    elif sli.latency is not None:
        _latency(scope, (*at, "latency", "threshold"), metrics_at, service, sli.latency.threshold)
    elif sli.freshness is not None:
        selector(scope, (*at, "freshness", "metric"), sli.freshness.metric)
        if sli.freshness.max_age == 0:
            scope.error((*at, "freshness", "max_age"), "must be longer than 0")
    elif sli.probe is not None:
        scope.refer((*at, "probe"), "probes", sli.probe, "probe")
    elif sli.events is not None:
        _events(scope, (*at, "events"), sli.events)
    else:
        scope.warning(
            (*at, "promql"),
            "free PromQL is not counted exactly: its numbers are estimates from rates",
            "write events: with the counters, where there are such",
        )


def _availability(scope: Scope, at: Path, metrics_at: Path, service: Service) -> None:
    given = service.metrics
    if given == "none" or (isinstance(given, Metrics) and not (given.requests and given.errors)):
        lacks = "no metrics" if given == "none" else "no requests: and errors: in its metrics"
        scope.error(
            at,
            f"the service has {lacks}, so there is nothing to count",
            "set metrics: on the service, or write events: with its counters",
            reads=[metrics_at],
        )
    elif isinstance(given, Metrics) and given.requests and given.errors:
        _subset(scope, (*metrics_at, "errors"), given.errors, given.requests, metrics_at)


def _latency(
    scope: Scope, at: Path, metrics_at: Path, service: Service, threshold: Duration
) -> None:
    given = service.metrics
    if given == "none" or (isinstance(given, Metrics) and not given.latency):
        scope.error(
            at,
            "the service has no histogram of latency",
            "set metrics: on the service, with latency:",
            reads=[metrics_at],
        )
        return
    bounds = given.buckets if isinstance(given, Metrics) else HTTP_BUCKETS
    if not bounds:
        scope.warning(
            at,
            f"nobody has said whether {threshold} is a bound of the histogram's buckets",
            "list them in metrics.buckets, or run `opsloop check --live`",
            reads=[metrics_at],
        )
    elif threshold not in bounds:
        scope.error(
            at,
            f"{threshold} is no bound of the histogram's buckets",
            f"the bounds are {', '.join(map(str, sorted(bounds)))}",
            reads=[metrics_at],
        )


def _events(scope: Scope, at: Path, events: Events) -> None:
    field = "errors" if events.errors is not None else "good"
    part = events.errors or events.good or ""
    well = [selector(scope, (*at, "total"), events.total), selector(scope, (*at, field), part)]
    if all(well):
        _subset(scope, (*at, field), part, events.total, (*at, "total"))


def selector(scope: Scope, path: Path, text: str) -> bool:
    """Whether a text is a selector; an error at `path` when not."""
    try:
        Selector.parse(text)
    except InputError as error:
        scope.error(path, f"{error.thing} is not a metric with matchers: {error.reason}",
                    error.next_step)  # fmt: skip
        return False
    return True


def _subset(scope: Scope, path: Path, part: str, total: str, total_at: Path) -> None:
    """Of one metric it can be seen; of two, only Prometheus can tell."""
    try:
        inner, outer = Selector.parse(part), Selector.parse(total)
    except InputError:
        return  # said where the selector stands
    if inner.metric != outer.metric:
        return
    missed = outside(inner, outer)
    if missed is not None:
        scope.error(
            path,
            f"counts events that the total does not: those that {missed} leaves out",
            f"add {missed} to it",
            reads=[total_at],
        )
