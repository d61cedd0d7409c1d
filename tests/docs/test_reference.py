"""The pages that are made of the code are those that the code makes now."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import click
import pytest

from opsloop import errors
from opsloop.catalog import fields
from opsloop.cli.main import COMMANDS, cli
from opsloop.settings import GIVEN, VARIABLES
from tests.docs.pages import ROOT
from tools import architecture_picture, reference, reference_commands, reference_errors

DOCS = ROOT / "docs"
_OURS = re.compile(r"(?:OPSLOOP|PROMETHEUS|ALERTMANAGER|PAGERDUTY|GRAFANA)_[A-Z_]+")


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_fresh(name: str) -> None:
    kept = (DOCS / name).read_text(encoding="utf-8")
    assert kept == _made(name), "run: make docs"


def _made(name: str) -> str:
    """The page as `make docs` makes it: click keeps the help option of whoever asked first."""
    if name != "reference/commands.md":
        return reference.PAGES[name]()
    code = f"import sys; from tools import reference; sys.stdout.write(reference.PAGES[{name!r}]())"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    return made.stdout.decode()


def test_the_catalog_page_has_every_field() -> None:
    text = (DOCS / "reference/catalog.md").read_text(encoding="utf-8")
    for model in fields.models():
        _, found, section = text.partition(f'<a id="{model.__name__.lower()}"></a>\n')
        assert found, model
        section = section.partition("<a id=")[0]
        rows = re.findall(r"^\| `([^`]+)` \|.*\|$", section, re.MULTILINE)
        assert rows == list(fields.written_fields(model)), model
    anchors = set(re.findall(r'<a id="(\w+)">', text))
    assert set(re.findall(r"\(#(\w+)\)", text)) <= anchors


def test_every_command_and_option_is_on_its_page() -> None:
    text = (DOCS / "reference/commands.md").read_text(encoding="utf-8")
    found = list(reference_commands.every(cli, "opsloop"))
    assert {path.split()[1] for path, _ in found} == set(COMMANDS)
    for path, command in found:
        section = re.search(rf"^##+ {path}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None, path
        assert "Exit codes: " in section[1]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert any(option in section[1] for option in parameter.opts), parameter.opts


@pytest.mark.parametrize(
    ("name", "words"),
    [("drill", "0: healed"), ("check", "0 when it can be compiled"), ("pause", "those of every")],
)
def test_exit_codes_are_those_that_the_help_says(name: str, words: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert words in reference_commands.exits(command)


def test_every_variable_that_the_code_names_is_on_the_page() -> None:
    """Whatever the code spells like a variable of ours is one that a person can read about."""
    known = {v.name for v in (*VARIABLES, *GIVEN)}
    assert len({v.name for v in GIVEN}) == len(GIVEN), "described once"
    unknown = {}
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("examples/shop/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value
                if _OURS.fullmatch(name) and name not in known and name != "OPSLOOP_BIN_":
                    unknown[name] = str(path.relative_to(ROOT))
    assert unknown == {}, "describe it in VARIABLES or GIVEN of opsloop/settings.py"


def test_every_kind_of_error_is_on_its_page() -> None:
    text = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.OpsloopError)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        assert re.search(rf"`{kind.__name__}` \| {kind.exit_code} \|", text), kind


def test_errors_are_read_from_the_calls_that_make_them() -> None:
    found = {(r.kind, r.thing, r.reason, r.next_step) for r in reference_errors.raised()}
    assert len(found) > 100
    assert (
        "NotRunning",
        "the stack",
        "is not up",
        "start it with `opsloop up`",
    ) in found
    assert (
        "ArgumentError",
        "--port-base",
        "‹base› is not in -1900..56000",
        "choose a smaller offset",
    ) in found


def test_the_picture_shows_each_package_and_each_import() -> None:
    edges = architecture_picture.imports()
    assert set(edges) == set(architecture_picture.OWNS)
    assert {"remediation", "store"} <= edges["app"]
    svg = ET.fromstring(architecture_picture.picture())
    texts = {e.text for e in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert set(edges) <= texts
    # What is drawn says all: every import is a way along the arrows.
    arrows = architecture_picture.direct(edges)
    for name, others in edges.items():
        seen, waiting = set[str](), [name]
        while waiting:
            here = waiting.pop()
            new = {b for a, b in arrows if a == here} - seen
            seen |= new
            waiting += new
        assert others <= seen, name
