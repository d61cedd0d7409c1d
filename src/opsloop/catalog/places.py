"""Where a field of the catalog stands: field path -> file and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsloop.catalog import yamltree
from opsloop.catalog.fieldpath import Path, path_text
from opsloop.errors import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """file as the user gave it; line 1-based, 0 when unknown."""

    file: str
    line: int


class Places:
    """The trees of all files of a catalog; a path is looked up when a problem needs it."""

    def __init__(self, roots: Sequence[tuple[str, yamltree.Node]] = ()) -> None:
        self._roots = roots

    def at(self, path: Path) -> Place:
        """The place of `path`, or of its nearest ancestor that is written down."""
        best, reached = Place(self._roots[0][0], 1) if self._roots else Place("catalog", 0), 0
        for file, root in self._roots:
            depth, line = _walk(root, path)
            if depth > reached:
                best, reached = Place(file, line), depth
        return best

    def problem(self, path: Path, message: str, hint: str = "") -> Problem:
        place = self.at(path)
        return Problem(place.file, place.line, path_text(path), message, hint)


def _walk(node: yamltree.Node, path: Path) -> tuple[int, int]:
    """How many parts of `path` are written under `node`, and the line of the last one."""
    line = node.line
    for depth, part in enumerate(path):
        if isinstance(node, yamltree.Mapping) and part in node.items:
            line, node = node.items[str(part)]
        elif (
            isinstance(node, yamltree.Sequence) and isinstance(part, int) and part < len(node.items)
        ):
            node = node.items[part]
            line = node.line
        else:
            return depth, line
    return len(path), line
