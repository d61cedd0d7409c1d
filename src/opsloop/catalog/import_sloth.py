"""Sloth's SLOs: prometheus/v1 files, PrometheusServiceLevel objects and AlertWindows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opsloop.catalog.import_measure import from_errors, from_ratio, grouping, ready
from opsloop.catalog.import_read import APPLIED, BOOKKEEPING, Map
from opsloop.catalog.import_tokens import NotPromQL
from opsloop.catalog.import_windows import (
    DEFAULT_PERIOD,
    Window,
    alerting,
    fits,
    objective,
    or_shipped,
    sloth_windows,
)
from opsloop.catalog.imported import Book, DraftService, DraftSLO, Measured, Origin
from opsloop.catalog.slo import WINDOW_PLACEHOLDER

VERSION = "prometheus/v1"
API_VERSION = "sloth.slok.dev/v1"
KIND = "PrometheusServiceLevel"
WINDOWS_KIND = "AlertWindows"
WINDOWS_VERSION = "alertWindows/v1"
RUNBOOKS = ("runbook", "runbook_url", "runbookUrl", "runbookURL")
_SEVERITIES = "a page is P0 and a ticket P1"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The same fields have other names in files and in a cluster."""

    errors: str
    total: str
    ratio: str
    page: str
    ticket: str
    plugins: str
    info: str


FILE = Dialect(
    "error_query", "total_query", "error_ratio_query", "page_alert", "ticket_alert",
    "slo_plugins", "infoLabels",
)  # fmt: skip
CLUSTER = Dialect(
    "errorQuery", "totalQuery", "errorRatioQuery", "pageAlert", "ticketAlert",
    "sloPlugins", "infoLabels",
)  # fmt: skip


class Windows:
    """The AlertWindows of one import; Sloth's files do not say which period they mean."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Origin, list[Window]]] = {}

    def read(self, document: Map) -> None:
        document.skip("apiVersion", "kind", "version")
        metadata(document.map("metadata"))
        given = sloth_windows(document)
        document.rest()
        if given is None:
            return
        period, windows = given
        book = document.book
        if period in self._found:
            first = self._found[period][0]
            book.problem(document.origin, f"alert windows of {period} are in {first} already")
            return
        fitting = [w for at, w in windows if fits(book, at, w, period)]
        fitting = or_shipped(book, document.origin, fitting, {w.kind for _, w in windows}, period)
        self._found[period] = (document.origin, fitting)

    def settle(self, book: Book) -> tuple[str, list[dict[str, Any]]]:
        """The period of Sloth's SLOs and the windows to write for it."""
        if not self._found:
            return DEFAULT_PERIOD, []
        period = DEFAULT_PERIOD if DEFAULT_PERIOD in self._found else min(self._found)
        at, windows = self._found[period]
        if period != DEFAULT_PERIOD:
            why = "the alert windows that are here are for that period"
            book.change(at, f"Sloth's default period of {DEFAULT_PERIOD}", period, why)
        for other, (place, _) in self._found.items():
            if other != period:
                book.leave(
                    place, f"alert windows of {other}", f"the SLOs here have a period of {period}",
                    "import the SLOs of each period with its own windows",
                )  # fmt: skip
        return period, alerting(period, windows)


def metadata(given: Map | None, *read: str) -> None:
    """Tell of labels and annotations of an object; its name and bookkeeping say nothing."""
    if given is None:
        return
    given.skip("name", "namespace", *read, *BOOKKEEPING)
    for field in ("labels", "annotations"):
        keys = [k for k in given.pairs(field) if k not in (*read, APPLIED)]
        if keys:
            what = f"{field} {', '.join(keys)}"
            given.book.leave(given.at(field), what, "objects of a cluster have them, not services")
    given.rest()


def read(document: Map, period: str, windows: list[dict[str, Any]]) -> None:
    """One document: a service with its SLOs."""
    if document.has("version"):
        document.skip("version")
        spec, dialect = document, FILE
    else:
        document.skip("apiVersion", "kind", "status")
        metadata(document.map("metadata"))
        inner = document.map("spec", required=True)
        document.rest()
        if inner is None:
            return
        spec, dialect = inner, CLUSTER
    name = spec.text("service", required=True)
    service = spec.book.service(name, spec.at("service"))
    labels = spec.pairs("labels")
    owner(service, labels)
    leave_labels(spec, "labels", [k for k in labels if k not in ("team", "owner", "tier")])
    spec.leave(dialect.plugins, "opsloop runs no plugins of Sloth", "its rules and alerts stay")
    slos = spec.maps("slos", required=True)
    if spec.has("slos") and not slos:
        spec.book.problem(spec.at("slos"), f"service {name!r} has no SLO")
    for given in slos:
        draft = _slo(given, service, dialect, period, windows)
        if draft is not None:
            spec.book.add(service, draft)
    spec.rest()


def owner(service: DraftService, labels: dict[str, str]) -> None:
    """team (or owner) and tier of a service, where its labels say them."""
    service.team = service.team or labels.get("team") or labels.get("owner") or None
    if labels.get("tier") in ("1", "2", "3", "4"):
        service.tier = service.tier or int(labels["tier"])


def leave_labels(given: Map, field: str, keys: list[str]) -> None:
    if keys:
        given.book.leave(
            given.at(field),
            f"labels {', '.join(keys)}",
            "the series and alerts of an SLO carry service, team, tier and environment",
            "cluster and environment are in stack:",
        )


def _slo(
    given: Map,
    service: DraftService,
    dialect: Dialect,
    period: str,
    windows: list[dict[str, Any]],
) -> DraftSLO | None:
    name = given.text("name", required=True)
    target = objective(given.book, given.at("objective"), given.number("objective", required=True))
    description = given.text("description")
    leave_labels(given, "labels", list(given.pairs("labels")))
    leave_labels(given, dialect.info, list(given.pairs(dialect.info)))
    given.leave("plugins", "opsloop runs no plugins of Sloth", "its rules and alerts stay")
    given.leave("interval", "all SLO rules are evaluated once a minute")
    alerts = given.map("alerting")
    said = _alerting(alerts, service, dialect) if alerts is not None else {}
    if windows:
        said["windows"] = windows
    sli = given.map("sli", required=True)
    measured = _sli(sli, dialect) if sli is not None else None
    given.rest()
    if not name or target is None or measured is None:
        return None
    return DraftSLO(name, given.origin, target, period, measured, description, said)


def _alerting(given: Map, service: DraftService, dialect: Dialect) -> dict[str, Any]:
    """What the catalog says of alerts: which there are. Names and texts are opsloop's own."""
    said: dict[str, Any] = {}
    given.leave(
        "name", "the alerts are SLOBurnRateCritical and SLOBurnRateHigh, by slo and service"
    )
    _texts(given, service)
    for key, kind in ((dialect.page, "page"), (dialect.ticket, "ticket")):
        alert = given.map(key)
        if alert is None:
            continue
        labels = alert.map("labels")
        # Sloth's own documentation shows `disable` among the labels too, where it does nothing.
        if alert.flag("disable", False):
            said[kind] = False
        if labels is not None and labels.keys():
            why = f"severities and routes are opsloop's own: {_SEVERITIES}"
            what = f"labels {', '.join(labels.keys())}"
            given.book.leave(alert.at("labels"), what, why, "write the routes in notifications:")
        _texts(alert, service, labels=False)
        alert.rest()
    given.rest()
    return said


def _texts(given: Map, service: DraftService, *, labels: bool = True) -> None:
    """Annotations: the runbook is the service's; the other texts are opsloop's own."""
    if labels:
        leave_labels(given, "labels", list(given.pairs("labels")))
    annotations = given.pairs("annotations")
    others = [k for k in annotations if k not in RUNBOOKS]
    for key in RUNBOOKS:
        link = annotations.get(key)
        if link and service.runbook not in (None, link):
            others.append(key)
        elif link:
            service.runbook = link
    if others:
        what = f"annotations {', '.join(others)}"
        why = "the texts of alerts are opsloop's own, and a service has one runbook"
        given.book.leave(given.at("annotations"), what, why)


def _sli(given: Map, dialect: Dialect) -> Measured | None:
    kinds = [k for k in ("events", "raw", "plugin") if given.has(k)]
    if len(kinds) != 1:
        what = f"not {' and '.join(kinds)}" if kinds else "and has none"
        given.book.problem(given.origin, f"an sli has one of events, raw and plugin, {what}")
        return None
    inner = given.map(kinds[0])
    given.rest()
    if inner is None:
        return None
    measured = None
    if kinds[0] == "plugin":
        _plugin(inner)
    elif kinds[0] == "events":
        errors, total = query(inner, dialect.errors), query(inner, dialect.total)
        if errors and total:
            grouped(inner, dialect.errors, errors)
            measured = from_errors(errors, total)
    else:
        ratio = query(inner, dialect.ratio)
        if ratio:
            grouped(inner, dialect.ratio, ratio)
            measured = from_ratio(ratio)
    inner.rest()
    return measured


def query(given: Map, key: str, *, template: bool = True) -> str:
    """A query with {window}; a problem when it is no PromQL, or lacks Sloth's template."""
    text = given.text(key, required=True)
    if not text:
        return ""
    try:
        found = ready(text)
    except NotPromQL as error:
        given.book.problem(given.at(key), str(error))
        return ""
    if template and WINDOW_PLACEHOLDER not in found:
        given.book.problem(given.at(key), "does not contain {{.window}}", "write [{{.window}}]")
        return ""
    return found


def grouped(given: Map, key: str, text: str) -> None:
    """Tell when a query would have given each group a budget of its own."""
    labels = grouping(text)
    if labels:
        given.book.leave(
            given.at(key),
            f"a budget for each {labels}",
            "an objective of opsloop has one budget, over all of them",
            "write an slo with a matcher for each that needs its own",
        )


def _plugin(given: Map) -> None:
    """Name the plugin and say what to write in its place."""
    name = given.text("id", required=True)
    options = given.pairs("options")
    shown = f" (options {', '.join(options)})" if options else ""
    guess = "sli: {events: {total: ..., errors: ..., series: all}}"
    if "latency" in name:
        guess = "sli: {events: {total: ..._count, good: ..._bucket{le=...}, series: all}}"
    given.book.leave(
        given.origin,
        f"the SLO, whose sli is the plugin {name!r}{shown}",
        "the plugin's code makes the query, and it is not in this file",
        f"write {guess}, with the selectors of the rules that Sloth makes of it",
    )
