"""The JSON Schema: it takes what check takes, and what it refuses check refuses."""

from __future__ import annotations

import ast
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from opsloop.catalog import fields, yamltree
from opsloop.catalog.load import load
from opsloop.catalog.schema import schema
from opsloop.cli.main import cli
from opsloop.errors import CatalogError
from tests.catalog.test_properties import SHOP, values

TESTS = Path(__file__).parents[1]
BAD = Path(__file__).parent / "bad"


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def plain(node: yamltree.Node) -> Any:
    """What stands in the file, as an editor reads it: references are still there."""
    if isinstance(node, yamltree.Mapping):
        return {key: plain(value) for key, (_, value) in node.items.items()}
    if isinstance(node, yamltree.Sequence):
        return [plain(item) for item in node.items]
    return node.resolve()


def refusals(text: str) -> list[str]:
    root, problems = yamltree.parse(text, "opsloop.yaml")
    if root is None or problems:
        return []  # no YAML: an editor says so without the schema
    found = validator().iter_errors(plain(root))
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in found]


def is_refused(text: str, folder: Path) -> bool:
    file = folder / "opsloop.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load(file, {})
    except CatalogError:
        return True
    return False


def catalogs() -> Iterator[tuple[str, str]]:
    """(where, text) of every catalog in the tests and the examples."""
    for path in sorted([*TESTS.rglob("*.yaml"), *(TESTS.parent / "examples").rglob("*.yaml")]):
        text = path.read_text(encoding="utf-8")
        if "apiVersion: opsloop/v1" in text:
            yield str(path), text
    for path in sorted([*TESTS.rglob("*.py"), *(TESTS.parent / "benchmarks").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if node.value.lstrip().startswith("apiVersion: opsloop/v1"):
                yield f"{path}:{node.lineno}", node.value


def test_it_is_a_schema_and_the_command_prints_it() -> None:
    Draft202012Validator.check_schema(schema())
    done = CliRunner().invoke(cli, ["schema"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == schema()


def test_what_it_refuses_check_refuses(tmp_path: Path) -> None:
    found = list(catalogs())
    assert len(found) > 130
    wrong = {}
    refused = 0
    for where, text in found:
        if refusal := refusals(text):
            refused += 1
            if not is_refused(text, tmp_path):
                wrong[where] = refusal
    assert wrong == {}
    assert refused > 40


def test_the_shop_and_the_largest_catalog_fit() -> None:
    from tests.compile import catalogs as shared

    assert refusals(SHOP.decode()) == []
    assert refusals(shared.EVERYTHING) == []


# One rule each that a single field shows: an editor must show it too.
SEEN = (
    "address_is_url", "alert_severity", "api_version_missing", "api_version_wrong", "duration_wrong",
    "duration_without_unit", "not_one_of", "name_of_service", "entry_empty",
)  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_it_sees(name: str) -> None:
    assert refusals((BAD / f"{name}.yaml").read_text(encoding="utf-8")) != []


@pytest.mark.parametrize(
    "part",
    [
        "stack: {scrape_interval: '${EVERY}'}",
        "stack: {environment: '${WHERE:-demo}'}",
        "services: {web: {team: a, tier: '${TIER:-1}', targets: {static: ['${HOST:-a}:80']}}}",
        "services:",
        "remediation: {policies: {a: {when: {alert: [ServiceDown]}, steps: [restart, {restart: }]}}}",
        "notifications: {slack: '#a', pagerduty: }",
    ],
)
def test_it_takes(part: str, tmp_path: Path) -> None:
    assert refusals(f"apiVersion: opsloop/v1\n{part}\n") == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_shop_with_one_value_changed(data: st.DataObject) -> None:
    catalog: Any = yaml.safe_load(SHOP)
    here = catalog
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(here[key], dict | list) and here[key]
        if not deeper or not data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(values)
    text = yaml.safe_dump(catalog, allow_unicode=True, sort_keys=False)
    with tempfile.TemporaryDirectory() as folder:
        if refused := refusals(text):
            assert is_refused(text, Path(folder)), refused


def test_every_field_has_a_meaning_and_an_example() -> None:
    models = {model.__name__: fields.written_fields(model) for model in fields.models()}
    assert len(models) > 40
    described = {name: set(said) for name, said in fields.described().items()}
    assert described == {name: set(known) for name, known in models.items() if known}, (
        "describe each field in src/opsloop/catalog/fields.yaml"
    )


def test_every_example_is_taken() -> None:
    for model in fields.models():
        for name, field in fields.written_fields(model).items():
            said = fields.described()[model.__name__][name]
            wanted = TypeAdapter(fields.annotation_of(field))
            wanted.validate_python(said.example)
            assert said.meaning.endswith((".", ")")), f"{model.__name__}.{name}"
