"""OpenSLO v1 and v1alpha: SLOs with their SLIs, services, data sources and alert policies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from opsloop.catalog.import_openslo_alerts import alerting_of
from opsloop.catalog.import_openslo_sli import Sources, alpha_sli, sli_of
from opsloop.catalog.import_openslo_window import period_of
from opsloop.catalog.import_read import BOOKKEEPING, Map
from opsloop.catalog.import_windows import objective
from opsloop.catalog.imported import Book, DraftService, DraftSLO, Measured, Origin
from opsloop.catalog.scaffold import name_of

V1 = "openslo/v1"
ALPHA = "openslo/v1alpha"
VERSIONS = (V1, ALPHA)
_METHODS = ("Occurrences", "Timeslices", "RatioTimeslices")
_REFERRED = ("SLI", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget")


class Library:
    """The OpenSLO documents of one import; they refer to each other by kind and name."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._found: dict[tuple[str, str], Map] = {}
        self._used: set[tuple[str, str]] = set()
        self._slos: list[tuple[Map, str]] = []

    def read(self, document: Map, version: str, kind: str) -> None:
        """Keep one document until all are there."""
        document.skip("apiVersion", "kind")
        if kind == "SLO":
            self._slos.append((document, version))
            return
        if kind != "Service" and kind not in _REFERRED:
            why = "has no place in the catalog"
            self._book.leave(document.origin, f"{kind} {_name_in(document)!r}", why)
            return
        metadata = document.map("metadata", required=True)
        name = metadata.text("name", required=True) if metadata is not None else ""
        if not name:
            return
        if kind == "Service":
            self._service(document, name)
            return
        first = self._found.setdefault((kind, name), document)
        if first is not document:
            message = f"{kind} {name!r} is here twice, first in {first.origin}"
            self._book.problem(document.origin, message, "keep one of them")

    def get(self, kind: str, name: str, at: Origin) -> Map | None:
        """The document that is referred to; a problem when it is in none of the files."""
        self._used.add((kind, name))
        found = self._found.get((kind, name))
        if found is None:
            hint = "give the file that has it too"
            self._book.problem(at, f"there is no {kind} {name!r} in these files", hint)
        return found

    def use(self, kind: str, name: str) -> bool:
        """Note that a document is referred to; whether it is there."""
        self._used.add((kind, name))
        return (kind, name) in self._found

    def _service(self, document: Map, name: str) -> None:
        metadata = document.map("metadata")
        service = self._book.service(name, document.origin)
        if metadata is not None:
            metadata.skip("name")
            _labels(metadata, service)
        spec = document.map("spec")
        description = spec.text("description") if spec is not None else ""
        service.description = _described(metadata, description)
        if spec is not None:
            spec.rest()
        if metadata is not None:
            metadata.rest()
        document.rest()

    def settle(self) -> None:
        """Read every SLO, now that all that it refers to is known; tell of what nobody used."""
        for document, version in self._slos:
            _slo(self, document, version)
        sources = Sources(self)
        for (kind, name), document in self._found.items():
            if (kind, name) not in self._used:
                what = f"{kind} {name!r}"
                self._book.leave(document.origin, what, "no SLO that is carried over refers to it")
            elif kind == "DataSource":
                sources.tell(document, name)
            elif kind == "AlertNotificationTarget":
                why = "who is told is in notifications:, with routes by severity and team"
                self._book.leave(document.origin, f"{kind} {name!r}", why)


def _name_in(document: Map) -> str:
    metadata = document.map("metadata")
    return metadata.text("name") if metadata is not None else ""


def _labels(metadata: Map, service: DraftService) -> None:
    """Take the team; tell of the other labels and the annotations."""
    metadata.skip(*BOOKKEEPING)
    labels = metadata.map("labels")
    if labels is not None:
        team = labels.first("team") or labels.first("owner")
        service.team = service.team or team or None
        left = [k for k in labels.keys() if k not in ("team", "owner")]  # noqa: SIM118
        if left:
            why = "the series and alerts of an SLO carry service, team, tier and environment"
            metadata.book.leave(metadata.at("labels"), f"labels {', '.join(left)}", why)
    annotations = metadata.map("annotations")
    if annotations is not None and annotations.keys():
        what = f"annotations {', '.join(annotations.keys())}"
        metadata.book.leave(metadata.at("annotations"), what, "they are for other tools")


def _described(metadata: Map | None, description: str) -> str:
    """The display name has no field of its own, so it goes before the description."""
    shown = metadata.text("displayName") if metadata is not None else ""
    return f"{shown}: {description}" if shown and description else shown or description


@dataclass(frozen=True, slots=True)
class _Common:
    """What the objectives of one SLO share."""

    name: str
    service: DraftService
    window: str
    method: str
    description: str


def _slo(library: Library, document: Map, version: str) -> None:
    metadata = document.map("metadata", required=True)
    spec = document.map("spec", required=True)
    document.rest()
    if metadata is None or spec is None:
        return
    book = document.book
    name = metadata.text("name", required=True)
    service = book.service(spec.text("service", required=True), spec.at("service"))
    _labels(metadata, service)
    description = _described(metadata, spec.text("description"))
    metadata.rest()
    window = period_of(spec, alpha=version == ALPHA)
    method = spec.text("budgetingMethod", required=version == V1) or "Occurrences"
    objectives = spec.maps("objectives", required=True)
    if spec.has("objectives") and not objectives:
        book.problem(spec.at("objectives"), "there is no objective")
    if method.lower() not in [m.lower() for m in _METHODS]:
        book.problem(spec.at("budgetingMethod"), f"{method!r} is not one of {', '.join(_METHODS)}")
        return
    if window is None or not name:
        return
    if method.lower() == "timeslices":
        book.leave(
            spec.at("budgetingMethod"),
            f"the SLO {name!r}, whose budgetingMethod is Timeslices",
            "it counts good slices of time, and opsloop counts events",
            "with Occurrences, or as RatioTimeslices, it is carried over",
        )
        return
    _objectives(library, spec, objectives, _Common(name, service, window, method, description))


def _objectives(library: Library, spec: Map, objectives: list[Map], common: _Common) -> None:
    shared = sli_of(library, spec) if spec.has("indicator") or spec.has("indicatorRef") else None
    alerts = alerting_of(library, spec, common.window)
    weighted = [o for o in objectives if o.has("compositeWeight")]
    if weighted:
        why = "an objective of opsloop measures one thing; each part became an SLO of its own"
        spec.book.leave(weighted[0].at("compositeWeight"), "the weights of a composite SLO", why)
    taken: set[str] = set()
    for i, given in enumerate(objectives, 1):
        percent = _target(given)
        own = given.has("indicator") or given.has("indicatorRef")
        metric = sli_of(library, given) if own else shared
        measured: Measured | None = None
        if given.has("ratioMetrics"):
            measured = alpha_sli(given, common.method)
        elif metric is not None:
            measured = metric.measured(given, common.method)
        elif not own and not (spec.has("indicator") or spec.has("indicatorRef")):
            spec.book.problem(given.origin, "no indicator says what is measured", "add indicator:")
        shown = given.text("displayName")
        given.skip("value", "op", "compositeWeight", "timeSliceWindow")
        given.leave("timeSliceTarget", "it is of Timeslices, which is not the method here")
        given.rest()
        target = objective(spec.book, given.origin, percent)
        if target is None or measured is None:
            continue
        name = common.name
        if len(objectives) > 1:
            name = f"{name}-{name_of(shown, taken, f'objective-{i}')}"
        about = common.description
        if len(objectives) == 1 and shown and shown.lower() not in about.lower():
            about = f"{about} ({shown})" if about else shown
        slo = DraftSLO(name, given.origin, target, common.window, measured, about, dict(alerts))
        spec.book.add(common.service, slo)
    spec.rest()


def _target(given: Map) -> Fraction | None:
    """The target in percent, from a share or from percent."""
    share, percent = given.number("target"), given.number("targetPercent")
    if (share is None) == (percent is None):
        if not (given.has("target") and given.has("targetPercent")) and (
            given.has("target") or given.has("targetPercent")
        ):
            return None  # it is no number, and was told
        message = "an objective has one of target and targetPercent"
        given.book.problem(given.origin, message, "write target: 0.999")
        return None
    if percent is not None:
        return percent
    return None if share is None else _share(given, share)


def _share(given: Map, share: Fraction) -> Fraction | None:
    if 0 <= share <= 1:
        return share * 100
    hint = f"write targetPercent: {float(share):g}" if 1 < share < 100 else "write target: 0.999"
    given.book.problem(given.at("target"), "a target is between 0 and 1", hint)
    return None


def is_version(text: str) -> bool:
    """Whether an apiVersion is one of OpenSLO's, read here or not."""
    return re.match(r"openslo(?:\.com)?/", text) is not None
