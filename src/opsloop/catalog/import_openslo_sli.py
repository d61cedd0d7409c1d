"""OpenSLO's indicators: which of their metrics are Prometheus's, and what they measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from opsloop.catalog.import_measure import (
    averaged,
    from_errors,
    from_good,
    from_ratio,
    per_minute,
    windowed,
)
from opsloop.catalog.import_read import Map
from opsloop.catalog.import_sloth import grouped, query
from opsloop.catalog.imported import Measured, Origin
from opsloop.catalog.slo import decimal

PROMETHEUS = (
    "prometheus", "promql", "thanos", "mimir", "cortex", "victoriametrics", "amazonprometheus",
    "googlecloudprometheus", "grafanacloudprometheus",
)  # fmt: skip
QUERY_FIELDS = ("query", "promql", "expr")
# The operator says which values are good; what fails is the rest.
FAILS = {"lte": ">", "lt": ">=", "gte": "<", "gt": "<="}


class Documents(Protocol):
    """What OpenSLO documents refer to each other by."""

    def get(self, kind: str, name: str, at: Origin) -> Map | None: ...

    def use(self, kind: str, name: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Metric:
    """The indicator of one SLO: events (two queries), a share that is computed, or a threshold."""

    place: Map
    above: str = ""  # failed or good events, or the share
    total: str = ""
    good: bool = False  # what `above` counts
    counter: bool = False
    threshold: str = ""

    def measured(self, given: Map, method: str) -> Measured | None:
        """The SLI for one objective, which has the operator and the value of a threshold."""
        by_minute = method.lower() == "ratiotimeslices"
        if by_minute:
            slice_ = given.text("timeSliceWindow")
            if slice_ not in ("1m", "1", ""):
                why = "each minute weighs the same, whatever the slice"
                given.book.change(
                    given.at("timeSliceWindow"), f"slices of {slice_}", "minutes", why
                )
        else:
            given.leave("timeSliceWindow", "it is of Timeslices, which is not the method here")
        if self.threshold:
            return self._threshold(given)
        if not self.total:
            return from_ratio(self.above, success=self.good)
        make = from_good if self.good else from_errors
        found = make(self.above, self.total, counters=self.counter)
        return per_minute(found) if by_minute else found

    def _threshold(self, given: Map) -> Measured | None:
        value, op = given.number("value", required=True), given.text("op", required=True)
        if value is None or not op:
            return None
        if op.lower() not in FAILS:
            given.book.problem(given.at("op"), f"{op!r} is not one of {', '.join(FAILS)}")
            return None
        failing = f"({self.threshold}\n) {FAILS[op.lower()]} bool {decimal(value)}"
        return averaged(failing, "it compares a gauge, so each minute weighs the same")


class Sources:
    """Data sources: which kind they are. Their connection is never looked at."""

    def __init__(self, library: Documents) -> None:
        self._library = library

    def tell(self, document: Map, name: str) -> None:
        spec = document.map("spec")
        if spec is not None and spec.has("connectionDetails"):
            document.book.leave(
                spec.at("connectionDetails"),
                f"the connection of data source {name!r}",
                "rules run in the Prometheus that loads them",
            )

    def of(self, source: Map) -> str:
        """The type of a metricSource, from itself or from what it refers to."""
        own, reference = source.text("type"), source.text("metricSourceRef")
        if reference and (self._library.use("DataSource", reference) or not own):
            document = self._library.get("DataSource", reference, source.at("metricSourceRef"))
            spec = document.map("spec") if document is not None else None
            return own or (spec.text("type", required=True) if spec is not None else "")
        if not own:
            hint = "add type: Prometheus"
            source.book.problem(source.origin, "neither type nor metricSourceRef is here", hint)
        return own


def sli_of(library: Documents, spec: Map) -> Metric | None:
    """The metric of `indicator` or `indicatorRef`; None when it is wrong or left out."""
    if spec.has("indicator") and spec.has("indicatorRef"):
        spec.book.problem(spec.at("indicatorRef"), "indicator and indicatorRef are both here")
        return None
    if spec.has("indicatorRef"):
        name = spec.text("indicatorRef")
        document = library.get("SLI", name, spec.at("indicatorRef"))
    else:
        document = spec.map("indicator")
    if document is None:
        return None
    inner = document.map("spec") if document.has("spec") else document
    if inner is None:
        return None
    inner.skip("description", "apiVersion", "kind", "metadata")
    if inner.has("ratioMetric") == inner.has("thresholdMetric"):
        message = "an indicator has one of ratioMetric and thresholdMetric"
        inner.book.problem(inner.origin, message)
        return None
    found = _ratio(library, inner) if inner.has("ratioMetric") else _threshold(library, inner, spec)
    inner.rest()
    return found


def _threshold(library: Documents, inner: Map, spec: Map) -> Metric | None:
    metric = inner.map("thresholdMetric")
    if metric is None:
        return None
    # v1alpha has source and query right there.
    text = _alpha(metric) if metric.has("source") else _query(library, metric)
    return Metric(spec, threshold=text) if text else None


def _ratio(library: Documents, inner: Map) -> Metric | None:
    ratio = inner.map("ratioMetric")
    if ratio is None:
        return None
    counter = ratio.flag("counter", False)
    if ratio.has("raw"):
        kind = ratio.text("rawType", required=True)
        text = _of(library, ratio, "raw")
        ratio.rest()
        if kind not in ("success", "failure"):
            ratio.book.problem(ratio.at("rawType"), f"{kind!r} is not one of success, failure")
            return None
        return Metric(inner, above=windowed(text), good=kind == "success") if text else None
    if ratio.has("good") == ratio.has("bad"):
        ratio.book.problem(ratio.origin, "a ratio has raw, or total and one of good and bad")
        return None
    key = "good" if ratio.has("good") else "bad"
    above, total = _of(library, ratio, key), _of(library, ratio, "total")
    ratio.rest()
    if not above or not total:
        return None
    return Metric(inner, above, total, key == "good", counter)


def _of(library: Documents, ratio: Map, key: str) -> str:
    metric = ratio.map(key, required=True)
    return _query(library, metric) if metric is not None else ""


def _query(library: Documents, metric: Map) -> str:
    source = metric.map("metricSource", required=True)
    metric.rest()
    if source is None:
        return ""
    kind = Sources(library).of(source)
    spec = source.map("spec", required=True)
    source.rest()
    if not kind or spec is None or not is_prometheus(source, kind):
        return ""
    key = next((k for k in QUERY_FIELDS if spec.has(k)), "query")
    text = query(spec, key, template=False)
    if text:
        grouped(spec, key, text)
    spec.rest()
    return text


def is_prometheus(at: Map, kind: str) -> bool:
    """Whether queries of this kind are PromQL; an SLO of another kind is left out."""
    if kind.lower().replace("-", "").replace("_", "").replace(" ", "") in PROMETHEUS:
        return True
    at.book.leave(
        at.origin,
        f"the SLO with this metric of {kind}",
        "opsloop reads metrics from Prometheus alone",
        "write an sli with the same events from a Prometheus metric",
    )
    return False


def alpha_sli(given: Map, method: str) -> Measured | None:
    """v1alpha keeps the queries in the objective: ratioMetrics with good and total."""
    ratio = given.map("ratioMetrics")
    if ratio is None:
        return None
    counter = ratio.flag("counter", False) or ratio.flag("incremental", False)
    texts = {}
    for key in ("good", "total"):
        metric = ratio.map(key, required=True)
        texts[key] = _alpha(metric) if metric is not None else ""
    ratio.rest()
    if not all(texts.values()):
        return None
    return Metric(ratio, texts["good"], texts["total"], True, counter).measured(given, method)


def _alpha(metric: Map) -> str:
    kind = metric.text("source", required=True)
    metric.skip("queryType")
    if not kind or not is_prometheus(metric, kind):
        metric.skip("query", "metadata")
        return ""
    text = query(metric, "query", template=False)
    if text:
        grouped(metric, "query", text)
    metric.rest()
    return text
