"""Whether a live Prometheus has what objectives select; where it has not, what is there instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opsloop import names
from opsloop.catalog.fieldpath import Path, path_text
from opsloop.catalog.model import Catalog
from opsloop.catalog.places import Places
from opsloop.catalog.selector import Selector, one_of
from opsloop.catalog.slo import SLO, WINDOW_PLACEHOLDER
from opsloop.compile.options import Options
from opsloop.compile.slo_resolve import slo_specs
from opsloop.compile.slo_spec import Age, Counters, Rates, Ratio, Runs, SLOSpec, indicators
from opsloop.errors import Problem, PrometheusError
from opsloop.remediation.ports import Metrics, Sample
from opsloop.stack.live_nearby import bounds_text, nearby

MOST_SERVICES = 100  # named in one query


@dataclass(slots=True)
class Findings:
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)  # field paths whose doubts are answered


def check_live(catalog: Catalog, places: Places, prometheus: Metrics, url: str) -> Findings:
    """Ask about the series of every objective: a few queries for each SLI, not for each objective.

    Raises PrometheusError when it does not answer at all.
    """
    prometheus.query("vector(1)")
    check = _Check(catalog, places, prometheus, url)
    specs = slo_specs(catalog, Options())
    by_sli: dict[str, list[SLOSpec]] = {}
    for spec in specs:
        by_sli.setdefault(spec.sli, []).append(spec)
    for indicator in indicators(specs):
        check.indicator(by_sli[indicator.name])
    return check.found


class _Check:
    """One run over a catalog."""

    def __init__(self, catalog: Catalog, places: Places, prometheus: Metrics, url: str) -> None:
        self.catalog = catalog
        self.places = places
        self.prometheus = prometheus
        self.url = url
        self.found = Findings()

    def indicator(self, specs: list[SLOSpec]) -> None:
        source = specs[0].source
        if isinstance(source, Counters):
            self._counters(specs, source)
        elif isinstance(source, Runs):
            self._there(specs, source.success, "probe", own=False)
        elif isinstance(source, Age):
            self._there(specs, source.metric, "freshness", "metric", own=True)
        elif isinstance(source, Rates):
            for query, name in ((source.total, "total"), (source.errors, "errors")):
                self._answers(specs[0], query, name)
        elif isinstance(source, Ratio):
            self._answers(specs[0], source.query, "error_ratio")

    # Selectors

    def _counters(self, specs: list[SLOSpec], source: Counters) -> None:
        latency = self._slo(specs[0]).sli.latency
        if latency is not None:
            self._latency(specs, source)
            return
        path = ("events", "total") if self._slo(specs[0]).sli.events is not None else ()
        present = self._there(specs, source.total, *path, own=source.own)
        part = source.errors if source.errors is not None else source.good or ""
        if present:
            self._part(present, part, source)

    def _part(self, specs: list[SLOSpec], part: str, source: Counters) -> None:
        """The failed or good ones: there, and no more than the total."""
        good = source.errors is None
        have = self._services(part, specs, own=source.own)
        for spec in specs:
            if spec.service in have:
                continue
            where = self._part_path(spec, "good" if good else "errors")
            if good:
                message = f"{part} matches nothing on {self.url}, so every event would have failed"
                self._error(where, message, nearby(self.prometheus, part, self._own(spec, source)))
            else:
                self._warning(
                    where,
                    f"{part} matches nothing on {self.url}: no error so far, or a wrong selector",
                    nearby(self.prometheus, part, self._own(spec, source)),
                )
        self._subset([s for s in specs if s.service in have], part, source, good=good)

    def _subset(self, specs: list[SLOSpec], part: str, source: Counters, *, good: bool) -> None:
        inner, outer = Selector.parse(part), Selector.parse(source.total)
        same = inner.metric == outer.metric
        for spec in specs:
            own = self._own(spec, source)
            some, whole = inner.where(*own), outer.where(*own)
            if same:
                beyond = self._query(f"topk(1, {some} unless {whole})")
                if beyond:
                    self._error(
                        self._part_path(spec, "good" if good else "errors"),
                        f"{part} is no part of {source.total}: it counts"
                        f" {_shown(beyond[0].labels)} too, which that does not",
                        "give it the matchers of the total",
                    )
            elif self._query(f"sum({some}) > sum({whole})"):
                self._error(
                    self._part_path(spec, "good" if good else "errors"),
                    f"{part} has counted more than {source.total} on {self.url}: it is no part"
                    " of it",
                    "one of them is another metric than was meant",
                )

    def _latency(self, specs: list[SLOSpec], source: Counters) -> None:
        present = self._there(specs, source.total, "latency", own=True)
        bucket = Selector.parse(source.good or "")
        rest = Selector(bucket.metric, tuple(m for m in bucket.matchers if m.label != "le"))
        for group in _parts(present):
            own = one_of(names.SERVICE, [s.service for s in group])
            found = self._query(f"group by ({names.SERVICE}, le) ({rest.where(own)})")
            bounds: dict[str, list[float]] = {}
            for sample in found:
                if sample.labels.get("le", "+Inf") != "+Inf":
                    bounds.setdefault(sample.labels.get(names.SERVICE, ""), []).append(
                        float(sample.labels["le"])
                    )
            for spec in group:
                self._bound(spec, bounds.get(spec.service, []))

    def _bound(self, spec: SLOSpec, bounds: list[float]) -> None:
        latency = self._slo(spec).sli.latency
        at: Path = ("services", spec.service, "slos", spec.slo, "sli", "latency", "threshold")
        if latency is None:
            return
        if latency.threshold.seconds in bounds:
            self.found.settled.add(path_text(at))
            return
        there = f"the bounds are {bounds_text(bounds)}" if bounds else "it has no buckets there"
        self._error(
            at,
            f"{latency.threshold} is no bound of the histogram's buckets on {self.url}",
            there,
        )

    def _there(self, specs: list[SLOSpec], selector: str, *path: str, own: bool) -> list[SLOSpec]:
        """The objectives whose selector has series; an error for each of the others."""
        have = self._services(selector, specs, own=own)
        for spec in specs:
            if spec.service not in have:
                matcher = (f'{names.SERVICE}="{spec.service}"',) if own else ()
                at: Path = ("services", spec.service, "slos", spec.slo, "sli", *path)
                shown = Selector.parse(selector).where(*matcher)
                message = f"{shown} matches nothing on {self.url}"
                self._error(at, message, nearby(self.prometheus, selector, matcher))
        return [s for s in specs if s.service in have]

    def _services(self, selector: str, specs: list[SLOSpec], *, own: bool) -> set[str]:
        """The services among these that have series of the selector now."""
        parsed = Selector.parse(selector)
        if not own:
            some = self._query(f"count({parsed.where()})")
            return {s.service for s in specs} if some else set()
        found: set[str] = set()
        for group in _parts(specs):
            matcher = one_of(names.SERVICE, [s.service for s in group])
            samples = self._query(f"count by ({names.SERVICE}) ({parsed.where(matcher)})")
            found |= {s.labels.get(names.SERVICE, "") for s in samples}
        return found

    # Free PromQL

    def _answers(self, spec: SLOSpec, query: str, name: str) -> None:
        at: Path = ("services", spec.service, "slos", spec.slo, "sli", "promql", name)
        try:
            samples = self.prometheus.query(query.replace(WINDOW_PLACEHOLDER, "5m"))
        except PrometheusError as error:
            self._error(at, error.reason)
            return
        if not samples:
            self._warning(at, f"gives nothing on {self.url} now")

    # Places

    def _query(self, expr: str) -> list[Sample]:
        return self.prometheus.query(expr)

    def _slo(self, spec: SLOSpec) -> SLO:
        return self.catalog.services[spec.service].slos[spec.slo]

    def _part_path(self, spec: SLOSpec, name: str) -> Path:
        sli = ("services", spec.service, "slos", spec.slo, "sli")
        if self._slo(spec).sli.events is not None:
            return (*sli, "events", name)
        return sli

    @staticmethod
    def _own(spec: SLOSpec, source: Counters) -> tuple[str, ...]:
        return (f'{names.SERVICE}="{spec.service}"',) if source.own else ()

    def _error(self, path: Path, message: str, hint: str = "") -> None:
        self.found.errors.append(self.places.problem(path, message, hint))

    def _warning(self, path: Path, message: str, hint: str = "") -> None:
        self.found.warnings.append(self.places.problem(path, message, hint))


def _parts(specs: list[SLOSpec]) -> Iterable[list[SLOSpec]]:
    for at in range(0, len(specs), MOST_SERVICES):
        yield specs[at : at + MOST_SERVICES]


def _shown(labels: Mapping[str, str]) -> str:
    plain = {k: v for k, v in sorted(labels.items()) if k != "__name__"}
    return "{" + ",".join(f'{k}="{v}"' for k, v in plain.items()) + "}"
