"""Documents of other tools, field by field: what is read, what is wrong, what was not looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from opsloop.catalog import yamltree
from opsloop.catalog.explain import nearest
from opsloop.catalog.fieldpath import Path, path_text
from opsloop.catalog.imported import Book, Origin
from opsloop.catalog.units import Duration

MOST = 20_000  # documents in a file, items in a list
_NUMBER = re.compile(r"[-+]?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][-+]?\d{1,2})?")
# What a cluster writes into every object; it says nothing of an objective.
BOOKKEEPING = frozenset(
    (
        "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
        "ownerReferences", "finalizers",
    )
)  # fmt: skip
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Map:
    """A mapping of the input. Each field is asked for by name; `rest` tells of the others."""

    def __init__(self, node: yamltree.Mapping, file: str, path: Path, book: Book) -> None:
        self._node, self._file, self._path, self.book = node, file, path, book
        self._asked: set[str] = set()

    @property
    def origin(self) -> Origin:
        return Origin(self._file, self._node.line, path_text(self._path))

    def at(self, key: str) -> Origin:
        """The place of a field, or of this mapping when it is not there."""
        line = self._node.items[key][0] if key in self._node.items else self._node.line
        return Origin(self._file, line, path_text((*self._path, key)))

    def keys(self) -> list[str]:
        return list(self._node.items)

    def has(self, key: str) -> bool:
        """Whether the field is there and says something."""
        return self._get(key) is not None

    def text(self, key: str, *, required: bool = False) -> str:
        """A scalar as it is written; empty when it is not there."""
        node = self._get(key, required=required)
        if node is None:
            return ""
        if not isinstance(node, yamltree.Scalar):
            self.book.problem(self.at(key), f"text is wanted here, not {_kind(node)}")
            return ""
        if "\0" in node.value:
            self.book.problem(self.at(key), "holds a NUL character")
            return ""
        if required and not node.value.strip():
            self.book.problem(self.at(key), f"{key} is empty")
        return node.value.strip()

    def number(self, key: str, *, required: bool = False) -> Fraction | None:
        """A number, exact as it is written."""
        text = self.text(key, required=required)
        if not text:
            return None
        if _NUMBER.fullmatch(text) is None:
            self.book.problem(self.at(key), f"{text[:40]!r} is not a number")
            return None
        return Fraction(Decimal(text))

    def flag(self, key: str, default: bool) -> bool:
        node = self._get(key)
        if node is None:
            return default
        value = node.resolve() if isinstance(node, yamltree.Scalar) else None
        if not isinstance(value, bool):
            self.book.problem(self.at(key), "true or false is wanted here")
            return default
        return value

    def duration(self, key: str, *, required: bool = False) -> Duration | None:
        text = self.text(key, required=required)
        if not text:
            return None
        try:
            return Duration.parse(text)
        except ValueError as error:
            self.book.problem(self.at(key), str(error).partition(";")[0])
            return None

    def map(self, key: str, *, required: bool = False) -> Map | None:
        node = self._get(key, required=required)
        if node is None:
            return None
        if not isinstance(node, yamltree.Mapping):
            self.book.problem(self.at(key), f"a mapping is wanted here, not {_kind(node)}")
            return None
        return Map(node, self._file, (*self._path, key), self.book)

    def maps(self, key: str, *, required: bool = False) -> list[Map]:
        """A list of mappings; one that is no mapping is a mistake."""
        return [m for m in self.items(key, required=required) if isinstance(m, Map)]

    def items(self, key: str, *, required: bool = False, words: bool = False) -> list[Map | str]:
        """A list of mappings and, where `words` allows it, of plain words."""
        node = self._get(key, required=required)
        if node is None:
            return []
        if not isinstance(node, yamltree.Sequence):
            self.book.problem(self.at(key), f"a list is wanted here, not {_kind(node)}")
            return []
        if len(node.items) > MOST:
            self.book.problem(self.at(key), f"more than {MOST:,} items")
            return []
        found: list[Map | str] = []
        for i, item in enumerate(node.items):
            path = (*self._path, key, i)
            if isinstance(item, yamltree.Mapping):
                found.append(Map(item, self._file, path, self.book))
            elif words and isinstance(item, yamltree.Scalar):
                found.append(item.value)
            else:
                wanted = "a word" if words else "a mapping"
                where = Origin(self._file, item.line, path_text(path))
                self.book.problem(where, f"{wanted} is wanted here, not {_kind(item)}")
        return found

    def words(self, key: str) -> list[str]:
        return [w for w in self.items(key, words=True) if isinstance(w, str)]

    def pairs(self, key: str) -> dict[str, str]:
        """A mapping of words to words; a list of words counts as its first one."""
        inner = self.map(key)
        if inner is None:
            return {}
        return {name: inner.first(name) for name in inner.keys()}  # noqa: SIM118

    def first(self, key: str) -> str:
        node = self._get(key)
        if isinstance(node, yamltree.Sequence):
            words = [n.value for n in node.items if isinstance(n, yamltree.Scalar)]
            return words[0].strip() if words else ""
        return self.text(key)

    def leave(self, key: str, why: str, instead: str = "") -> None:
        """Say that a field is not carried over, when it is there."""
        if self.has(key):
            self.book.leave(self.at(key), key, why, instead)

    def skip(self, *keys: str) -> None:
        """These fields say nothing of an objective."""
        self._asked.update(keys)

    def rest(self) -> None:
        """Whatever nobody asked for is not carried over: a typo, or a field that is new."""
        for key, (line, _) in self._node.items.items():
            if key not in self._asked:
                where = Origin(self._file, line, path_text((*self._path, key)))
                hint = nearest(key, self._asked - set(self._node.items))
                instead = hint if hint.startswith("did") else ""
                self.book.leave(where, key, "is no field that is read here", instead)

    def _get(self, key: str, *, required: bool = False) -> yamltree.Node | None:
        self._asked.add(key)
        node = self._node.items[key][1] if key in self._node.items else None
        if isinstance(node, yamltree.Scalar) and node.resolve() is None:
            node = None
        if node is None and required:
            self.book.problem(self.at(key), f"{key} is missing", f"add {key}:")
        return node


def documents(file: str, text: str, book: Book) -> Iterator[Map]:
    """Every document of a file; lists, and lists of a cluster, are taken apart."""
    roots, problems = yamltree.parse_all(text, file)
    book.problems += problems
    if not roots and not problems:
        book.problem(Origin(file, 1, ""), "the file is empty")
    spread = ((node, path) for root in roots for node, path in _spread(root))
    for count, (node, path) in enumerate(spread):
        if count == MOST:
            book.problem(Origin(file, node.line, ""), f"more than {MOST:,} documents")
            return
        if isinstance(node, yamltree.Mapping):
            yield Map(node, file, path, book)
        else:
            where = Origin(file, node.line, path_text(path))
            book.problem(where, f"a document is a mapping, not {_kind(node)}")


def _spread(root: yamltree.Node) -> Iterator[tuple[yamltree.Node, Path]]:
    if isinstance(root, yamltree.Sequence):
        yield from ((item, (i,)) for i, item in enumerate(root.items))
        return
    if isinstance(root, yamltree.Mapping):
        kind, items = root.items.get("kind"), root.items.get("items")
        named = isinstance(kind[1], yamltree.Scalar) and kind[1].value if kind else ""
        if items and str(named).endswith("List") and isinstance(items[1], yamltree.Sequence):
            yield from ((item, ("items", i)) for i, item in enumerate(items[1].items))
            return
    yield root, ()


def _kind(node: yamltree.Node) -> str:
    if isinstance(node, yamltree.Mapping):
        return "a mapping"
    if isinstance(node, yamltree.Sequence):
        return "a list"
    return repr(node.value[:40]) if node.value else "nothing"
