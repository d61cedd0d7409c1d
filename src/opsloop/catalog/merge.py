"""Several files as one catalog: sections merge by name, and a name has one owner."""

from __future__ import annotations

from typing import Any

from opsloop.catalog.fieldpath import path_text
from opsloop.catalog.files import Document
from opsloop.catalog.places import Places
from opsloop.errors import Problem

# Sections whose entries may be spread over several files; an entry is whole in one of them.
NAMED_SECTIONS = (
    "services", "processes", "hosts", "probes", "certificates", "backups", "rules", "alerts"
)  # fmt: skip


def merge(documents: list[Document]) -> tuple[dict[str, Any], list[Problem]]:
    """One mapping of all files; what two files both claim is a problem that names both places."""
    merger = _Merger()
    for document in documents:
        for section, value in document.data.items():
            merger.add(document, section, value)
    return merger.merged, merger.problems


class _Merger:
    def __init__(self) -> None:
        self.merged: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self._owners: dict[tuple[str, ...], Document] = {}

    def add(self, document: Document, section: str, value: Any) -> None:
        if section == "apiVersion":
            # Each file may say it; a wrong one must not hide behind a right one.
            if self.merged.get(section, "opsloop/v1") == "opsloop/v1":
                self.merged[section] = value
        elif section in NAMED_SECTIONS and isinstance(value, dict):
            self._spread(self.merged, (section,), value, document)
        elif section == "remediation" and isinstance(value, dict):
            policies = value.get("policies")
            if not isinstance(policies, dict):
                self._spread(self.merged, (section,), value, document)
                return
            rest = {name: part for name, part in value.items() if name != "policies"}
            into = self._spread(self.merged, (section,), rest, document)
            if into is not None:
                self._spread(into, (section, "policies"), policies, document)
        elif self._claim((section,), document):
            self.merged[section] = value

    def _spread(
        self, parent: dict[str, Any], path: tuple[str, ...], entries: dict[str, Any], d: Document
    ) -> dict[str, Any] | None:
        """Put the entries that no earlier file has under `path`; None when it is no mapping."""
        into = parent.setdefault(path[-1], {})
        if not isinstance(into, dict):  # an earlier file is wrong there, and is told so
            return None
        for name, value in entries.items():
            if self._claim((*path, name), d):
                into[name] = value
        return into

    def _claim(self, path: tuple[str, ...], document: Document) -> bool:
        first = self._owners.setdefault(path, document)
        if first is document:
            return True
        earlier = Places([(str(first.file), first.root)]).at(path)
        message = f"{path[-1]!r} is also in {earlier.file}:{earlier.line}"
        hint = "keep one of them" if len(path) > 1 else f"keep {path_text(path)} in one file"
        here = Places([(str(document.file), document.root)])
        self.problems.append(here.problem(path, message, hint))
        return False
