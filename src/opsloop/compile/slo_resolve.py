"""The catalog's objectives as what the rules need: sources, shared SLIs, windows and labels."""

from __future__ import annotations

import hashlib

from opsloop import names
from opsloop.catalog.model import Catalog, Metrics, Service
from opsloop.catalog.slo import (
    MOST_EVENTS,
    SLO,
    Alerting,
    Events,
    PromQL,
    event_floor,
    pairs_of,
)
from opsloop.catalog.units import Duration
from opsloop.compile import texts
from opsloop.compile.options import Options
from opsloop.compile.selectors import (
    HTTP,
    Matcher,
    Selector,
    metrics_of,
    quote,
    scrape_interval,
    scrape_timeout,
)
from opsloop.compile.slo_names import ALERTS
from opsloop.compile.slo_spec import Age, Counters, Links, Rates, Ratio, Runs, SLOSpec, Source
from opsloop.errors import InputError

_DIGITS = 8  # of a digest in a name


def slo_specs(catalog: Catalog, options: Options) -> list[SLOSpec]:
    """Every objective of the catalog, sorted by service and name.

    The name of an SLI is made of what is measured alone, so objectives of equal sources share
    their rules, and neither a new service nor a changed objective starts its history anew.
    Raises InputError for an objective that its service has no metric for.
    """
    policies = {p: texts.in_words(catalog, p) for p in sorted(catalog.remediation.policies)}
    console, runbook = texts.console(catalog, options), catalog.stack.runbook_url or "RUNBOOK.md"
    links = Links(console, texts.dashboards(catalog, options), policies, runbook)
    return [
        _spec(catalog, links, service, name, slo)
        for service, declared in sorted(catalog.services.items())
        for name, slo in sorted(declared.slos.items())
    ]


def _spec(catalog: Catalog, links: Links, service: str, name: str, slo: SLO) -> SLOSpec:
    declared = catalog.services[service]
    sli, source = source_of(catalog, service, name)
    pairs = pairs_of(slo)
    least = slo.alerting.min_events
    interval, timeout = _scrapes(catalog, service, slo)
    return SLOSpec(
        slo=name,
        service=service,
        sli=sli,
        source=source,
        objective=slo.objective,
        period=slo.window,
        pairs=pairs,
        floors=tuple(least or event_floor(pair, slo.objective) for pair in pairs),
        labels=_labels(catalog, declared),
        min_events=least or MOST_EVENTS,
        alerting=alerting_text(slo.alerting),
        description=slo.description,
        runbook=declared.runbook,
        scrape_interval=interval,
        scrape_timeout=timeout,
        links=links,
        policies=_policies(catalog, service),
    )


def _policies(catalog: Catalog, service: str) -> dict[str, str]:
    team = catalog.services[service].team
    met = {a: catalog.remediation.meeting(a, service, team) for a in ALERTS}
    return {alert: policy for alert, policy in met.items() if policy}


def _labels(catalog: Catalog, service: Service) -> dict[str, str]:
    return {
        names.TEAM: service.team,
        names.TIER: str(service.tier),
        names.ENVIRONMENT: catalog.stack.environment,
    }


def _scrapes(catalog: Catalog, service: str, slo: SLO) -> tuple[Duration, Duration]:
    """How often what it counts is scraped, and how long a scrape may take."""
    probe = catalog.probes.get(slo.sli.probe or "")
    if probe is None:
        return scrape_interval(catalog, service), scrape_timeout(catalog, service)
    interval = probe.interval or catalog.stack.scrape_interval
    longest = catalog.stack.effective_scrape_timeout
    return interval, Duration(min(int(longest), int(interval)))


def alerting_text(alerting: Alerting) -> str:
    """What tells an objective's own alerting from its period's; empty where it has none."""
    parts = []
    if not alerting.page:
        parts.append("no-page")
    if not alerting.ticket:
        parts.append("no-ticket")
    if alerting.min_events is not None:
        parts.append(f"min-events-{alerting.min_events}")
    if alerting.windows:
        parts.append(f"windows-{_digest(*(w.model_dump_json() for w in alerting.windows))}")
    return ".".join(parts)


def source_of(catalog: Catalog, service: str, name: str) -> tuple[str, Source]:
    """(name of the SLI, source) of one objective; InputError where the service has no metric."""
    sli = catalog.services[service].slos[name].sli
    place = f"services.{service}.slos.{name}.sli"
    if sli.latency is not None:
        return _latency(catalog, service, sli.latency.threshold, place)
    if sli.freshness is not None:
        age = Age(sli.freshness.metric.strip(), sli.freshness.max_age.seconds)
        return f"freshness-{_digest(age.metric, str(sli.freshness.max_age))}", age
    if sli.probe is not None:
        if sli.probe not in catalog.probes:
            raise InputError(f"{place}.probe", f"there is no probe {sli.probe!r}")
        # Its series may carry another service's label, so this SLI is this service's alone.
        return f"{service}-probe-{sli.probe}", Runs(f"probe_success{{probe={quote(sli.probe)}}}")
    if sli.events is not None:
        return _events(service, sli.events)
    if sli.promql is not None:
        return _promql(service, sli.promql)
    return _availability(catalog, service, place)


def _availability(catalog: Catalog, service: str, place: str) -> tuple[str, Source]:
    metrics = metrics_of(catalog, service)
    if not (metrics.requests and metrics.errors):
        raise InputError(
            place, "the service has no metric of requests and errors", "set its metrics:"
        )
    return _named("availability", metrics), Counters(metrics.requests, metrics.errors)


def _latency(catalog: Catalog, service: str, threshold: Duration, place: str) -> tuple[str, Source]:
    metrics = metrics_of(catalog, service)
    if not metrics.latency:
        raise InputError(place, "the service has no histogram of latency", "set its metrics:")
    histogram = Selector.parse(metrics.latency)
    good = Selector(
        f"{histogram.metric}_bucket", (*histogram.matchers, bucket_matcher(threshold.seconds))
    )
    source = Counters(histogram.where(suffix="_count"), good=str(good.where()))
    return f"{_named('latency', metrics)}-{threshold}", source


def bucket_matcher(bound: float) -> Matcher:
    """The label `le` of a bound in seconds, whichever way the client writes whole numbers."""
    text = f"{bound:.15g}"
    if "." in text or "e" in text:
        return Matcher("le", "=", text)
    return Matcher("le", "=~", rf"{text}(\.0)?")


def _named(kind: str, metrics: Metrics) -> str:
    if metrics.model_copy(update={"buckets": []}) == HTTP:
        return f"http-{kind}"
    told = (metrics.requests, metrics.errors) if kind == "availability" else (metrics.latency,)
    return f"{kind}-{_digest(*(t.strip() for t in told if t))}"


def _events(service: str, events: Events) -> tuple[str, Source]:
    own = events.series == "own"
    source = Counters(events.total.strip(), _bare(events.errors), good=_bare(events.good), own=own)
    name = f"events-{_digest(source.total, source.errors or '', source.good or '')}"
    return (name if own else f"{service}-{name}"), source


def _promql(service: str, promql: PromQL) -> tuple[str, Source]:
    told = [q for q in (promql.error_ratio, promql.errors, promql.total) if q]
    source: Source
    if promql.errors is not None and promql.total is not None:
        source = Rates(promql.errors.strip(), promql.total.strip())
    else:
        source = Ratio((promql.error_ratio or "").strip())
    return f"{service}-promql-{_digest(*told)}", source


def _bare(text: str | None) -> str | None:
    return None if text is None else text.strip()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGITS]
