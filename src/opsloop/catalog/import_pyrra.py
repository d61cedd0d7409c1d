"""Pyrra's ServiceLevelObjective: ratio, latency, latencyNative and bool_gauge."""

from __future__ import annotations

import re
from typing import Any

from opsloop.catalog.import_measure import from_errors, from_good, selectors
from opsloop.catalog.import_read import APPLIED, BOOKKEEPING, Map
from opsloop.catalog.import_sloth import query
from opsloop.catalog.import_windows import objective, rolling
from opsloop.catalog.imported import DraftService, DraftSLO, Measured
from opsloop.catalog.units import Duration

API_VERSION = "pyrra.dev/v1alpha1"
KIND = "ServiceLevelObjective"
PREFIX = "pyrra.dev/"
# Pyrra has no services: the first of these labels that an object has names one.
SERVICE_LABELS = (f"{PREFIX}service", "service", "app.kubernetes.io/name", "app")
_INDICATORS = ("ratio", "latency", "latencyNative", "bool_gauge")
_OFFSET = re.compile(r"\s+offset\s+(-?(?:\d+(?:ms|[smhdwy]))+)\s*$")


def read(document: Map) -> None:
    """One document: one SLO."""
    document.skip("apiVersion", "kind", "status")
    metadata = document.map("metadata", required=True)
    spec = document.map("spec", required=True)
    document.rest()
    if metadata is None or spec is None:
        return
    name = metadata.text("name", required=True)
    service = _service(metadata, name)
    target = objective(spec.book, spec.at("target"), spec.number("target", required=True))
    length = spec.duration("window", required=True)
    description = spec.text("description")
    for key in ("partial_response_strategy", "rulenamespace"):
        spec.leave(key, "is of Thanos's and Mimir's rulers, which opsloop does not write for")
    alerts = spec.map("alerting")
    said = _alerting(alerts) if alerts is not None else {}
    indicator = spec.map("indicator", required=True)
    measured = _indicator(indicator) if indicator is not None else None
    spec.rest()
    if not name or target is None or length is None or measured is None:
        return
    window = rolling(spec.book, spec.at("window"), length)
    slo = DraftSLO(name, metadata.origin, target, window, measured, description, said)
    spec.book.add(service, slo)


def _service(metadata: Map, name: str) -> DraftService:
    metadata.skip("name", *BOOKKEEPING)
    labels = metadata.pairs("labels")
    namespace = metadata.text("namespace")
    key = next((k for k in SERVICE_LABELS if labels.get(k)), "")
    used = {key, f"{PREFIX}team"}
    if key:
        service = metadata.book.service(labels[key], metadata.at("labels"))
    else:
        service = metadata.book.service(namespace or name, metadata.at("namespace"))
        why = "Pyrra's objectives name no service; label them pyrra.dev/service, or edit the result"
        what = f"namespace {namespace!r}" if namespace else f"the name {name!r}"
        metadata.book.change(service.origin, what, f"service {namespace or name!r}", why)
    team = labels.get(f"{PREFIX}team")
    if team:
        service.team = service.team or team
    left = [k for k in labels if k not in used]
    if left:
        why = "the series and alerts of an SLO carry service, team, tier and environment"
        metadata.book.leave(metadata.at("labels"), f"labels {', '.join(left)}", why)
    annotations = [k for k in metadata.pairs("annotations") if k != APPLIED]
    if annotations:
        what = f"annotations {', '.join(annotations)}"
        why = "the texts of alerts are opsloop's own"
        metadata.book.leave(metadata.at("annotations"), what, why)
    metadata.rest()
    return service


def _alerting(given: Map) -> dict[str, Any]:
    off = given.flag("disabled", False) or not given.flag("burnrates", True)
    if given.has("absent") and not given.flag("absent", True):
        why = "missing data always alerts, or nobody would see that an objective is blind"
        given.book.leave(given.at("absent"), "absent: false", why)
    given.leave(
        "name", "the alerts are SLOBurnRateCritical and SLOBurnRateHigh, by slo and service"
    )
    given.leave("absentName", "the alert is SLODataMissing, by slo and service")
    if given.text("burnRateType") not in ("", "static"):
        given.leave(
            "burnRateType",
            "burn rates are fixed, and an event floor keeps low traffic from paging",
            "set alerting.min_events to choose the floor",
        )
    given.skip("disabled", "burnrates", "absent", "burnRateType")
    given.rest()
    return {"page": False, "ticket": False} if off else {}


def _indicator(given: Map) -> Measured | None:
    kinds = [k for k in _INDICATORS if given.has(k)]
    if len(kinds) != 1:
        what = f"not {' and '.join(kinds)}" if kinds else "and has none"
        given.book.problem(
            given.origin, f"an indicator has one of {', '.join(_INDICATORS)}, {what}"
        )
        return None
    inner = given.map(kinds[0])
    given.rest()
    if inner is None:
        return None
    _grouping(inner)
    if kinds[0] == "bool_gauge":
        metric = query(inner, "metric", template=False)
        measured = _gauge(metric) if metric else None
    elif kinds[0] == "latencyNative":
        total, limit = _metric(inner, "total"), inner.duration("latency", required=True)
        measured = _native(total, limit) if total and limit else None
    else:
        other = "errors" if kinds[0] == "ratio" else "success"
        part, total = _metric(inner, other), _metric(inner, "total")
        measured = None
        if part and total:
            named = {"errors": part} if other == "errors" else {"good": part}
            measured = selectors(total, **named) or _rates(part, total, good=other != "errors")
    inner.rest()
    return measured


def _metric(given: Map, key: str) -> str:
    inner = given.map(key, required=True)
    if inner is None:
        return ""
    found = query(inner, "metric", template=False)
    inner.rest()
    return found


def _grouping(given: Map) -> None:
    labels = given.words("grouping")
    if labels:
        given.book.leave(
            given.at("grouping"),
            f"a budget for each {', '.join(labels)}",
            "an objective of opsloop has one budget, over all of them",
            "write an slo with a matcher for each that needs its own",
        )


def _rates(part: str, total: str, *, good: bool) -> Measured:
    """For what is more than a metric with matchers, such as one with an offset."""
    above, below = f"sum(rate({_ranged(part)}))", f"sum(rate({_ranged(total)}))"
    return from_good(above, below) if good else from_errors(above, below)


def _ranged(metric: str) -> str:
    found = _OFFSET.search(metric)
    if found is None:
        return f"{metric}[{{window}}]"
    return f"{metric[: found.start()]}[{{window}}] offset {found.group(1)}"


def _native(total: str, limit: Duration) -> Measured:
    rate = f"sum(rate({_ranged(total)}))"
    every = f"histogram_count({rate})"
    slow = f"{every}\n*\n(1 - histogram_fraction(0, {limit.seconds:.15g}, {rate}))"
    why = "native histograms have no counter to select; Prometheus must keep them (a feature flag)"
    return Measured({"promql": {"errors": slow, "total": every}}, why)


def _gauge(metric: str) -> Measured:
    series = _ranged(metric)
    ratio = f"1 - (\nsum(sum_over_time({series}))\n/\nsum(count_over_time({series}))\n)"
    return Measured(
        {"promql": {"error_ratio": ratio}}, "it is a gauge, so each minute weighs the same"
    )
