"""docs/reference/errors.md: every kind of error, and every one that the code raises."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opsloop import errors
from opsloop.errors import OpsloopError

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "opsloop"
HEAD = """\
# Errors

Every failure is one sentence on stderr: the thing, the reason, the next step. Its kind decides the exit code, and whether
trying again can help. The words in ‹ › are filled in. A catalog's mistakes come all at once, one a line, with file,
line and field; they are not listed here.

| kind | exit code | again? | what it is |
|---|---|---|---|
"""
_MOST = 160  # characters of a cell


@dataclass(frozen=True, slots=True, order=True)
class Raised:
    """One place that raises an error of ours: what it will say."""

    kind: str
    thing: str
    reason: str
    next_step: str


def page() -> str:
    """The page, in Markdown."""
    kinds = list(_tree(OpsloopError))
    lines = [
        f"| {'&nbsp;' * 4 * depth}`{kind.__name__}` | {kind.exit_code} "
        f"| {'yes' if kind.retryable else 'no'} | {(kind.__doc__ or '').splitlines()[0]} |"
        for depth, kind in kinds
    ]
    text = HEAD + "\n".join(lines) + "\n"
    found = sorted(set(raised()))
    for _, kind in kinds:
        rows = [r for r in found if r.kind == kind.__name__]
        if rows:
            text += f"\n## {kind.__name__}\n\n| thing | reason | next step |\n|---|---|---|\n"
            text += "".join(f"| {r.thing} | {r.reason} | {r.next_step} |\n" for r in rows)
    return text


def _tree(kind: type[OpsloopError], depth: int = 0) -> Iterator[tuple[int, type[OpsloopError]]]:
    yield depth, kind
    for below in kind.__subclasses__():
        # StoreUnusable has two parents, and stands under the first.
        if below.__bases__[0] is kind and below.__module__ == errors.__name__:
            yield from _tree(below, depth + 1)


def raised() -> Iterator[Raised]:
    """Every call of an error's class in the package."""
    kinds = {kind.__name__ for _, kind in _tree(OpsloopError)} - {"CatalogError"}
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = _constants(tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in kinds and len(node.args) >= 2:
                given = {k.arg: k.value for k in node.keywords}
                last = node.args[2] if len(node.args) > 2 else given.get("next_step")
                thing, reason = (_words(argument, constants) for argument in node.args[:2])
                yield Raised(node.func.id, thing, reason, _words(last, constants) if last else "")


def _constants(tree: ast.Module) -> dict[str, str]:
    """The module's own names for texts."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def _words(node: ast.expr, constants: dict[str, str]) -> str:
    text = _text(node, constants).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


def _text(node: ast.expr, constants: dict[str, str]) -> str:
    """An expression as it will read, with <what is filled in>."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, constants)
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, constants) + _text(node.right, constants)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body, constants)} / {_text(node.orelse, constants)}"
    return f"‹{_filled(node)}›"


def _filled(node: ast.expr) -> str:
    """A short name of what is filled in: `path` of str(path), `strerror` of error.strerror."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            return _filled(node.func.value)
        return _filled(node.args[0]) if node.args else _filled(node.func)
    if isinstance(node, ast.Attribute):
        return "reason" if node.attr == "strerror" else node.attr.strip("_").replace("_", " ")
    if isinstance(node, ast.Name):
        return "reason" if node.id == "error" else node.id.strip("_").lower().replace("_", " ")
    if isinstance(node, ast.Subscript):
        return _filled(node.value)
    if isinstance(node, ast.BinOp):
        return _filled(node.right if isinstance(node.left, ast.Constant) else node.left)
    return "…"
