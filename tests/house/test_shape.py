"""The shape of the code: small files, small functions, modules that say what they own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.tracked import ROOT, python_files

FILE_LINES = 350  # files are of about 300 lines at most
FUNCTION_LINES = 60

# path, or path:function -> why it may be longer. Keep it short; remove what no longer needs it.
LONGER: dict[str, str] = {
    "src/opsloop/catalog/slo.py": "models, and the windows and floors that follow from them",
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "manager", "managers", "misc"}

CODE = python_files("src", "examples", "benchmarks", "tools")


def lengths() -> Iterator[tuple[str, int, int]]:
    """(path or path:function, its lines, the limit) of everything that has a limit."""
    for path in CODE:
        text = (ROOT / path).read_text()
        yield str(path), len(text.splitlines()), FILE_LINES
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{path}:{node.name}", lines, FUNCTION_LINES


def test_files_and_functions_are_short() -> None:
    long = {what: lines for what, lines, limit in lengths() if lines > limit}
    unexplained = {what: lines for what, lines in long.items() if what not in LONGER}
    assert unexplained == {}, "split it, or give the reason in LONGER"


def test_the_list_of_longer_things_has_nothing_that_is_short() -> None:
    long = {what for what, lines, limit in lengths() if lines > limit}
    assert set(LONGER) - long == set()


def test_modules_say_what_they_own() -> None:
    silent = []
    for path in CODE:
        docstring = ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
        if not docstring.split("\n\n")[0].rstrip().endswith((".", ":")):
            silent.append(path)
    assert silent == [], "a module's docstring is one sentence: what it owns"


def test_packages_lie_one_level_deep() -> None:
    deep = [p for p in CODE if p.parts[:2] == ("src", "opsloop") and len(p.parts) > 4]
    assert deep == []


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {p.parent for p in python_files("src")} - {ROOT / "src"}
    assert [f for f in sorted(folders) if not (ROOT / f / "__init__.py").is_file()] == []


def test_modules_are_named_for_what_they_own() -> None:
    assert [p for p in CODE if p.stem in FORBIDDEN_NAMES] == []
