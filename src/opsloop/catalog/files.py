"""The files of a catalog: found, read with limits, and turned into plain data with places."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsloop.catalog import yamltree
from opsloop.catalog.fieldpath import Path as FieldPath
from opsloop.catalog.fieldpath import path_text
from opsloop.catalog.interpolate import Mistake, interpolate, secret_in
from opsloop.errors import Problem

DEFAULTS = ("opsloop.yaml", "catalog")
MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 1000
_INIT_HINT = "opsloop init writes a first one; --catalog PATH names another"


@dataclass(frozen=True, slots=True)
class Document:
    """One file's content: `data` as plain values, `root` with lines.

    refused: paths whose value has a problem already, so nothing more is said about them.
    """

    file: Path
    data: dict[str, Any]
    root: yamltree.Mapping
    refused: frozenset[FieldPath]


@dataclass(slots=True)
class Reading:
    """All that came of reading. `complete` is False when some of the text could not be read."""

    directory: Path
    files: list[Path] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True


def read(path: Path | None, environ: Mapping[str, str]) -> Reading:
    """Read the catalog at `path` (None: the default places); never raises for its content."""
    try:
        place = path if path is not None else _default()
        reading = _find(place)
    except _Refused as refused:
        reading = Reading(Path())
        reading.problems.append(refused.problem)
        reading.complete = False
        return reading
    for file in reading.files:
        _read_file(file, environ, reading)
    if not reading.documents and reading.complete:
        where = str(reading.files[0]) if len(reading.files) == 1 else str(place)
        reading.problems.append(Problem(where, 0, "", "the catalog is empty", _INIT_HINT))
        reading.complete = False
    return reading


class _Refused(Exception):
    def __init__(self, file: Path, message: str, hint: str = "") -> None:
        self.problem = Problem(str(file), 0, "", message, hint)
        super().__init__(message)


def _default() -> Path:
    for name in DEFAULTS:
        if Path(name).exists():
            return Path(name)
    raise _Refused(Path(DEFAULTS[0]), "there is no catalog here", _INIT_HINT)


def _find(path: Path) -> Reading:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return Reading(path.absolute().parent, [path])
        if not stat.S_ISDIR(mode):
            raise _Refused(path, "is neither a file nor a folder")
        found = sorted(
            file
            for file in path.iterdir()
            if file.suffix in (".yaml", ".yml") and not file.name.startswith(".") and file.is_file()
        )
    except FileNotFoundError:
        raise _Refused(path, "there is no such file or folder", _INIT_HINT) from None
    except OSError as error:
        raise _Refused(path, f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise _Refused(Path(repr(str(path))), f"cannot be read: {error}") from None
    if not found:
        raise _Refused(path, "the folder has no *.yaml file", _INIT_HINT)
    if len(found) > MAX_FILES:
        raise _Refused(path, f"the folder has {len(found)} files; {MAX_FILES} are read at most")
    return Reading(path.absolute(), found)


def _read_file(file: Path, environ: Mapping[str, str], reading: Reading) -> None:
    try:
        text = _text(file)
    except _Refused as refused:
        reading.problems.append(refused.problem)
        reading.complete = False
        return
    root, problems = yamltree.parse(text, str(file))
    reading.problems += problems
    if root is None:
        reading.complete = reading.complete and not problems
        return
    if not isinstance(root, yamltree.Mapping):
        message = "a catalog is a mapping of sections, such as services:"
        reading.problems.append(Problem(str(file), root.line, "", message))
        reading.complete = False
        return
    try:
        converter = _Converter(str(file), environ)
        data = converter.value(root, (), "")
    except yamltree.YamlError as error:
        problem = Problem(str(file), error.line, "", error.message, error.hint)
        reading.problems.append(problem)
        reading.complete = False
        return
    reading.problems += converter.problems
    # A section with nothing in it is as good as none: all its entries are comments.
    data = {name: value for name, value in data.items() if value is not None}
    reading.documents.append(Document(file, data, root, frozenset(converter.refused)))


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Refused(file, f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        hint = "split it into a folder of files"
        raise _Refused(file, f"is larger than {MAX_BYTES // 1024 // 1024} MiB", hint)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Refused(file, f"is not UTF-8: byte {raw[error.start]:#04x} on line {line}") from None


class _Converter:
    """Nodes to plain values; references replaced, secrets refused, aliases expanded."""

    def __init__(self, file: str, environ: Mapping[str, str]) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.refused: list[FieldPath] = []
        self._environ = environ
        self._count = 0

    def value(self, node: yamltree.Node, path: FieldPath, key: str) -> Any:
        self._count += 1
        if self._count > yamltree.MAX_NODES:
            raise yamltree.YamlError(
                node.line, f"more than {yamltree.MAX_NODES:,} values when its aliases are expanded"
            )
        if isinstance(node, yamltree.Mapping):
            return {
                name: self.value(child, (*path, name), name)
                for name, (_, child) in node.items.items()
            }
        if isinstance(node, yamltree.Sequence):
            return [self.value(child, (*path, i), key) for i, child in enumerate(node.items)]
        value = node.resolve()
        return self._text(value, node.line, path, key) if isinstance(value, str) else value

    def _text(self, text: str, line: int, path: FieldPath, key: str) -> str:
        mistakes: list[Mistake] = []
        if "${" in text:
            text, mistakes = interpolate(text, self._environ)
        if "\0" in text:
            self._refuse(line, path, "holds a NUL character")
        elif not mistakes:
            secret = secret_in(key, text)
            mistakes = [secret] if secret else []
        for mistake in mistakes:
            self._refuse(line, path, mistake.message, mistake.hint)
        return text

    def _refuse(self, line: int, path: FieldPath, message: str, hint: str = "") -> None:
        where = path_text(path)
        self.problems.append(Problem(self.file, line, where, message, hint))
        self.refused.append(path)
