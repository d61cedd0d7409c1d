"""YAML text to a tree whose every node knows its line; scalars read as YAML 1.2 says.

PyYAML's parser (libyaml) gives events; the tree is made here, not by its composer, because
that one crashes the interpreter on deep nesting, forgets repeated keys, and reads `22:00` as
the number 1320 and `on` as a boolean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from opsloop.catalog.fieldpath import path_text
from opsloop.errors import Problem

MAX_DEPTH = 40
MAX_NODES = 1_000_000
_CORE_TAGS = (None, "!", "tag:yaml.org,2002:str")
_INT = re.compile(r"[-+]?\d{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d{1,3})?")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(slots=True)
class Scalar:
    value: str
    line: int
    plain: bool  # written without quotes and without a tag

    def resolve(self) -> str | int | float | bool | None:
        """The value by YAML 1.2's core schema; what has quotes is text."""
        if not self.plain:
            return self.value
        if self.value in _WORDS:
            return _WORDS[self.value]
        if _INT.fullmatch(self.value):
            return int(self.value)
        if _FLOAT.fullmatch(self.value):
            return float(self.value)
        return self.value


@dataclass(slots=True)
class Sequence:
    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    line: int
    items: dict[str, tuple[int, Node]] = field(default_factory=dict)  # key -> line of it, value


Node = Scalar | Sequence | Mapping


class YamlError(Exception):
    """The text cannot be read any further; `line` is 1-based."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        self.line, self.message, self.hint = line, message, hint
        super().__init__(message)


def parse(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The one document in `text`, None when there is none or it cannot be read."""
    composer = _Composer(text, file)
    try:
        return composer.document(), composer.problems
    except YamlError as error:
        problem = Problem(file, error.line, "", error.message, error.hint)
        return None, [*composer.problems, problem]


def parse_all(text: str, file: str) -> tuple[list[Node], list[Problem]]:
    """Every document in `text` that is not empty, in order; a mistake ends the reading."""
    composer = _Composer(text, file)
    found: list[Node] = []
    try:
        found.extend(composer.documents())
    except YamlError as error:
        problem = Problem(file, error.line, "", error.message, error.hint)
        return found, [*composer.problems, problem]
    return found, composer.problems


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._events = _events(text)
        self._path: list[str | int] = []  # from the root to the node that is being made
        self._anchors: dict[str, Node | None] = {}  # None while the node is being made

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise YamlError(
                        _line(event),
                        "a second document starts here",
                        "put each document into a file of its own in a folder",
                    )
                root = self._node(next(self._events), 0)
        if isinstance(root, Scalar) and root.resolve() is None:
            return None
        return root

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                root = self._node(next(self._events), 0)
                if not (isinstance(root, Scalar) and root.resolve() is None):
                    yield root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        if depth > MAX_DEPTH:
            raise YamlError(line, f"nested deeper than {MAX_DEPTH} levels")
        anchor, tag = _properties(event)
        if anchor is not None:
            self._anchors[anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(tag, line, _CORE_TAGS)
            node = Scalar(event.value, line, not event.style and tag is None)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._refuse_tag(tag, line, (None, "!", "tag:yaml.org,2002:seq"))
            node = Sequence(line)
            for i, item in enumerate(self._until(yaml.SequenceEndEvent)):
                self._path.append(i)
                node.items.append(self._node(item, depth + 1))
                self._path.pop()
        else:
            self._refuse_tag(tag, line, (None, "!", "tag:yaml.org,2002:map"))
            node = self._mapping(line, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _mapping(self, line: int, depth: int) -> Mapping:
        node = Mapping(line)
        merges: list[Node] = []
        for event in self._until(yaml.MappingEndEvent):
            at = _line(event)
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise YamlError(at, "a key is text, not a list or a mapping")
            self._path.append(key.value)
            value = self._node(next(self._events), depth + 1)
            self._path.pop()
            if key.value == "<<" and key.plain:
                merges += value.items if isinstance(value, Sequence) else [value]
            elif key.value in node.items:
                message = f"{key.value!r} is here twice, first on line {node.items[key.value][0]}"
                where = path_text((*self._path, key.value))
                self.problems.append(Problem(self.file, at, where, message, "keep one of them"))
            else:
                node.items[key.value] = (at, value)
        for merge in merges:
            if not isinstance(merge, Mapping):
                raise YamlError(merge.line, "<< takes a mapping, or a list of mappings")
            for name, entry in merge.items.items():
                node.items.setdefault(name, entry)
        return node

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event

    def _alias(self, name: str, line: int) -> Node:
        if name not in self._anchors:
            raise YamlError(line, f"alias *{name} has no anchor before it")
        node = self._anchors[name]
        if node is None:
            raise YamlError(line, f"alias *{name} stands inside its own anchor")
        return node

    @staticmethod
    def _refuse_tag(tag: str | None, line: int, known: tuple[str | None, ...]) -> None:
        if tag not in known:
            short = tag.replace("tag:yaml.org,2002:", "!!") if tag else ""
            raise YamlError(line, f"tag {short} is not read here", "write the plain value")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _properties(event: yaml.Event) -> tuple[str | None, str | None]:
    """Anchor and tag of a node's first event."""
    return getattr(event, "anchor", None), getattr(event, "tag", None)


def _events(text: str) -> Iterator[yaml.Event]:
    """PyYAML's events; what it refuses becomes a YamlError."""
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        words = " ".join(part for part in (error.context, error.problem) if part)
        hint = _yaml_hint(text, words, error.context_mark, error.problem_mark)
        raise YamlError(line, f"not YAML: {words}", hint) from None
    except yaml.YAMLError as error:
        raise YamlError(1, f"not YAML: {str(error).splitlines()[0]}") from None


def _yaml_hint(
    text: str, words: str, context: yaml.error.Mark | None, problem: yaml.error.Mark | None
) -> str:
    """The next step for what trips people most often, judged by the lines that it is about."""
    lines = text.split("\n")
    first, last = context or problem, problem or context
    around = lines[first.line : last.line + 1] if first and last else []
    if "flow" in words and any("${" in line for line in around):
        return "inside { } and [ ] put ${...} in quotes"
    if "cannot start any token" in words and problem and problem.line < len(lines):
        column = problem.column
        tab = lines[problem.line][column : column + 1] == "\t"
        return "indent with spaces" if tab else "put the value in quotes"
    return ""
