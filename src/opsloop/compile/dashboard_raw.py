"""Queries over a service's own counters and histograms, whatever its selectors are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opsloop import names
from opsloop.catalog.model import Catalog, Metrics
from opsloop.compile.panels import Query
from opsloop.compile.selectors import HTTP, RECORDED_WINDOW, Selector, one_of, signals

CLASSES: Final = ("2", "3", "4", "5")
ROUTES: Final = ("method", "route", "handler", "path")  # what clients call it
SHOWN: Final = 10
RATE: Final = "[$__rate_interval]"


def by_class(catalog: Catalog, raw: str, mine: str) -> tuple[Query, ...]:
    """Requests a second by class of status code; of services whose counters have no such label,
    those that failed and the others.

    raw: the matchers of the service's own series; mine: of its recorded ones.
    """
    groups = signals(catalog, catalog.services, RECORDED_WINDOW)
    http = [g for g in groups if _is_http(g.metrics)]
    others = sorted(s for g in groups if not _is_http(g.metrics) for s in g.services)
    found = []
    if http:
        requests = HTTP.requests or ""
        found = [(f'sum(rate({requests}{{{raw},code=~"{c}.."}}{RATE}))', f"{c}xx") for c in CLASSES]
    if others or not http:
        some = f"{mine},{one_of(names.SERVICE, others)}" if http else mine
        failed, every = f"{names.ERROR_RATE}{{{some}}}", f"{names.REQUEST_RATE}{{{some}}}"
        found += [(f"sum({every} - {failed})", "succeeded"), (f"sum({failed})", "failed")]
    return tuple(Query(chr(65 + n), expr, name) for n, (expr, name) in enumerate(found))


def top_errors(catalog: Catalog, raw: str) -> tuple[Query, ...]:
    """The routes with most failures a second."""
    by = ", ".join(ROUTES)
    rates = _any(catalog, lambda m: m.errors, lambda s: f"rate({s.where(raw)}{RATE})")
    legend = "{{method}} {{route}}{{handler}}{{path}}"
    return (Query("A", f"topk({SHOWN}, sum by ({by}) ({rates}))", legend, instant=True),)


def causes(catalog: Catalog, mine: str) -> Query:
    """Failures in the interval by what the selectors of errors tell apart: a code, an outcome."""
    labels = {
        m.label for g in _groups(catalog) if g.errors for m in Selector.parse(g.errors).matchers
    }
    by = sorted(labels | {"method", "route"})
    counts = _any(catalog, lambda m: m.errors, lambda s: f"increase({s.where(mine)}{RATE})")
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return Query("A", f"topk({SHOWN}, sum by ({', '.join(by)}) ({counts}))", legend)


def histogram(catalog: Catalog, raw: str) -> tuple[Query, ...]:
    """How many events each bucket of latency got."""
    counts = _any(
        catalog,
        lambda m: m.latency,
        lambda s: f"increase({s.where(raw, suffix='_bucket')}{RATE})",
    )
    return (Query("A", f"sum by (le) ({counts})", "{{le}}"),)


def _is_http(metrics: Metrics) -> bool:
    return metrics.requests == HTTP.requests


def _groups(catalog: Catalog) -> list[Metrics]:
    found: dict[str, Metrics] = {}
    for group in signals(catalog, catalog.services, RECORDED_WINDOW):
        found.setdefault(group.metrics.model_dump_json(), group.metrics)
    return list(found.values()) or [HTTP]


def _any(
    catalog: Catalog,
    selector: Callable[[Metrics], str | None],
    made: Callable[[Selector], str],
) -> str:
    """Of all selectors that services use: a service has series of its own alone."""
    used: Iterable[str] = dict.fromkeys(t.strip() for m in _groups(catalog) if (t := selector(m)))
    texts = list(used) or [selector(HTTP) or ""]
    return "\nor ".join(made(Selector.parse(t)) for t in texts)
