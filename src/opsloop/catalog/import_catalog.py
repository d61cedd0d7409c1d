"""Files of Sloth, Pyrra and OpenSLO together as one catalog that passes `opsloop check`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from opsloop.catalog import (
    check,
    import_openslo,
    import_pyrra,
    import_sloth,
    import_text,
    validate,
)
from opsloop.catalog.check_services import RESERVED_NAMES
from opsloop.catalog.import_read import Map, documents
from opsloop.catalog.imported import (
    Book,
    CarriedSLO,
    DraftService,
    DraftSLO,
    Imported,
    NotCarried,
    Origin,
)
from opsloop.catalog.interpolate import secret_in
from opsloop.catalog.model import Catalog
from opsloop.catalog.places import Places
from opsloop.catalog.scaffold import name_of
from opsloop.errors import CatalogError, InputError, Problem
from opsloop.settings import Settings

DEFAULT_TEAM = "platform"
NAME = re.compile(r"[a-z][a-z0-9-]{0,47}")
LONGEST_TEXT = 2000
_ROUNDS = 20


class NothingCarried(InputError):
    """The files are right, but nothing in them has a place in the catalog."""

    def __init__(self, not_carried: tuple[NotCarried, ...]) -> None:
        self.not_carried = not_carried
        super().__init__(
            "import", "nothing can be carried over, so nothing is written", "see the lines above"
        )


def import_texts(files: Iterable[tuple[str, str]], team: str | None = None) -> Imported:
    """The catalog of these (name, text) pairs; documents may refer to each other across files.

    team: of services that name none. Raises CatalogError with every mistake of the input, and
    NothingCarried when no objective is left.
    """
    book = Book()
    found = [document for name, text in files for document in documents(name, text, book)]
    _read(found, book)
    if book.problems:
        raise _refused(book.problems)
    drafts = _named(book, team)
    catalog, services, slos = _settled(book, drafts)
    left = tuple(dict.fromkeys(book.not_carried))
    if catalog is None:
        raise NothingCarried(left)
    carried = tuple(
        CarriedSLO(s, n, draft.origin, catalog.services[s].slos[n], draft.measured.why)
        for (s, n), draft in slos.items()
        if s in catalog.services and n in catalog.services[s].slos
    )
    text = import_text.render(services, carried)
    return Imported(text, carried, left, tuple(dict.fromkeys(book.changed)))


def _refused(problems: list[Problem]) -> CatalogError:
    error = CatalogError(list(dict.fromkeys(problems)))
    error.thing = "import"
    error.reason += "; nothing was written"
    return error


def _read(found: list[Map], book: Book) -> None:
    windows, library = import_sloth.Windows(), import_openslo.Library(book)
    sloth: list[Map] = []
    known = 0
    for document in found:
        version = document.text("apiVersion")
        kind = document.text("kind")
        own = document.text("version")
        known += 1
        if own == import_sloth.WINDOWS_VERSION or (
            version == import_sloth.API_VERSION and kind == import_sloth.WINDOWS_KIND
        ):
            windows.read(document)
        elif own == import_sloth.VERSION or (
            version == import_sloth.API_VERSION and kind == import_sloth.KIND
        ):
            sloth.append(document)
        elif (version, kind) == (import_pyrra.API_VERSION, import_pyrra.KIND):
            import_pyrra.read(document)
        elif version in import_openslo.VERSIONS:
            library.read(document, version, kind)
        else:
            known -= 1
            _unknown(document, version, kind, own)
    period, written = windows.settle(book)
    for document in sloth:
        import_sloth.read(document, period, written)
    library.settle()
    if found and not known and not book.problems:
        names = ", ".join(dict.fromkeys(d.origin.file for d in found))
        hint = "give files of Sloth, Pyrra or OpenSLO"
        book.problems.append(Problem(names, 0, "", "has no SLO that is read here", hint))


def _unknown(document: Map, version: str, kind: str, own: str) -> None:
    at = document.origin
    if version.startswith("opsloop/"):
        document.book.problem(at, "is a catalog of opsloop already", "opsloop check reads it")
    elif import_openslo.is_version(version):
        known = " and ".join(import_openslo.VERSIONS)
        document.book.problem(at, f"{version} is not read", f"what is read is {known}")
    elif own or not (version and kind):
        message = f"version {own!r} is not known" if own else "is no SLO that is read here"
        hint = "Sloth has version: prometheus/v1, the others have apiVersion: and kind:"
        document.book.problem(at, message, hint)
    else:
        what = f"{kind} of {version}"
        document.book.leave(at, what, "is not an SLO of Sloth, Pyrra or OpenSLO")


def _named(book: Book, team: str | None) -> dict[str, dict[str, Any]]:
    """Services and SLOs under names that the catalog takes; what is renamed is told."""
    drafts = [s for s in book.services.values() if s.slos]
    for service in book.services.values():
        if not service.slos:
            what = f"service {service.name!r}"
            book.leave(service.origin, what, "none of its objectives is carried over")
    taken = set(RESERVED_NAMES)
    names = _names(book, [(d.name, d.origin) for d in drafts], taken, "service")
    return {
        new: {"draft": draft, "entry": _entry(book, draft, team)}
        for new, draft in sorted(zip(names, drafts, strict=True), key=lambda pair: pair[0])
    }


def _names(book: Book, given: list[tuple[str, Origin]], taken: set[str], kind: str) -> list[str]:
    """A valid, unique name for each; a name that is valid already keeps itself."""
    reserved = set(taken)
    fine = {name for name, _ in given if NAME.fullmatch(name) and name not in reserved}
    taken |= fine
    found = []
    for name, at in given:
        if name in fine:
            found.append(name)
            continue
        new = name_of(name, taken, kind)
        plain = name_of(name, set(), kind)
        why = "names have lower-case letters, digits and dashes, a letter first, 48 at most"
        if plain in reserved:
            why = "a part of the stack has that name"
        elif plain != new:
            why += f"; and {plain!r} is taken"
        book.change(at, f"{kind} {name!r}", repr(new), why)
        found.append(new)
    return found


def _entry(book: Book, draft: DraftService, team: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"team": _team(book, draft, team)}
    if draft.tier is not None:
        entry["tier"] = draft.tier
    if draft.description:
        entry["description"] = draft.description
    if draft.runbook:
        entry["runbook"] = draft.runbook
    given = [(s.name, s.origin) for s in draft.slos]
    names = _names(book, given, set(), "slo")
    entry["slos"] = dict(sorted(zip(names, draft.slos, strict=True), key=lambda pair: pair[0]))
    return entry


def _team(book: Book, draft: DraftService, team: str | None) -> str:
    if draft.team is None:
        if team is None:
            what = f"service {draft.name!r} without a team"
            book.change(draft.origin, what, f"team {DEFAULT_TEAM}", "--team NAME chooses another")
        return team or DEFAULT_TEAM
    return _names(book, [(draft.team, draft.origin)], set(), "team")[0]


def _settled(
    book: Book, named: dict[str, dict[str, Any]]
) -> tuple[Catalog | None, dict[str, Any], dict[tuple[str, str], DraftSLO]]:
    """What is left when everything that `check` refuses is taken out and told."""
    drafts: dict[tuple[str, str], DraftSLO] = {}
    services: dict[str, Any] = {}
    for name, made in named.items():
        entry = made["entry"]
        _guard(book, made["draft"].origin, entry, ("description", "runbook"))
        slos = {}
        for slo, draft in entry["slos"].items():
            written = draft.written()
            _guard(book, draft.origin, written, ("description",))
            slos[slo] = written
            drafts[name, slo] = draft
        services[name] = {**entry, "slos": slos}
    for _ in range(_ROUNDS):
        services = {n: s for n, s in services.items() if s["slos"]}
        if not services:
            return None, {}, drafts
        catalog, problems = _checked(services)
        if catalog is not None and not problems:
            return catalog, services, drafts
        if not _drop(book, services, drafts, problems):
            break
    raise _refused(problems)


def _guard(book: Book, at: Origin, entry: dict[str, Any], keys: tuple[str, ...]) -> None:
    """A text that the catalog would refuse is not carried, and never shown."""
    for key in keys:
        text = entry.get(key)
        if not isinstance(text, str):
            continue
        secret = secret_in(key, text)
        if secret is not None:
            book.leave(at, f"the {key}", secret.message)
            del entry[key]
        elif len(text) > LONGEST_TEXT:
            book.leave(at, f"the {key}", f"it is longer than {LONGEST_TEXT} characters")
            del entry[key]


def _checked(services: Mapping[str, Any]) -> tuple[Catalog | None, list[Problem]]:
    data = {"apiVersion": "opsloop/v1", "services": services}
    refused = frozenset(_secrets(services))
    outcome = validate.validate(data, Places(), refused)
    problems = list(outcome.problems)
    problems += [
        Problem("", 0, ".".join(map(str, path)), "looks like a secret") for path in refused
    ]
    if outcome.catalog is not None and not problems:
        scope = check.examine(outcome.catalog, Settings(), Places())
        problems += scope.errors
    return outcome.catalog, problems


def _secrets(services: Mapping[str, Any]) -> list[tuple[str | int, ...]]:
    """Queries that hold what looks like a secret."""
    found: list[tuple[str | int, ...]] = []
    for name, service in services.items():
        for slo, entry in service["slos"].items():
            for kind, parts in entry["sli"].items():
                found += [
                    ("services", name, "slos", slo, "sli", kind, key)
                    for key, text in parts.items()
                    if secret_in(key, text) is not None
                ]
    return found


def _drop(
    book: Book,
    services: dict[str, Any],
    drafts: Mapping[tuple[str, str], DraftSLO],
    problems: list[Problem],
) -> bool:
    """Take out the objectives that have a problem; False when one belongs to none of them."""
    for problem in problems:
        parts = problem.path.split(".")
        if len(parts) < 4 or parts[0] != "services" or parts[2] != "slos":
            return False
        service, slo = parts[1], parts[3]
        draft = drafts[service, slo]
        if slo in services[service]["slos"]:
            del services[service]["slos"][slo]
        what = f"the SLO {draft.name!r}"
        book.leave(draft.origin, what, f"check refuses it: {problem.message}", problem.hint)
    return bool(problems)
