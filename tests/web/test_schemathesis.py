"""schemathesis over the engine's OpenAPI document: what it makes up is answered as documented."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from opsloop.web import intake, openapi
from tests.web.engine import BASIC, BEARER, Face
from tests.web.test_openapi import filled

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
HEADERS = {"Host": "127.0.0.1", "Authorization": BASIC[1]}


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    made = Face(tmp_path)
    filled(made)
    yield made
    made.store.close()


def tried(face: Face, examples: int) -> dict[str, int]:
    """How many requests of each operation were answered as the document says; the first that
    was not is raised."""
    schema = schemathesis.openapi.from_asgi(openapi.PATH, face.app, headers=HEADERS)
    found: list[Any] = list(schema.get_all_operations())
    operations = [one.ok() for one in found]
    return {operation.label: _tried(operation, examples) for operation in operations}


def _tried(operation: Any, examples: int) -> int:
    secret = BEARER if operation.path == intake.PATH else BASIC
    headers = {**HEADERS, "Authorization": secret[1]}
    count = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        nonlocal count
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS, headers=headers)
        count += 1

    ask()
    return count


@pytest.mark.parametrize(
    "examples",
    [3, pytest.param(20, marks=pytest.mark.full), pytest.param(150, marks=pytest.mark.long)],
)
def test_what_is_made_up_of_the_document_is_answered_as_it_says(face: Face, examples: int) -> None:
    counts = tried(face, examples)
    said = openapi.document()["paths"].items()
    asked = {f"{m.upper()} {path}" for path, each in said for m in each if m != "parameters"}
    assert counts.keys() == asked - {f"GET {openapi.PATH}"}  # the document is not asked for itself
    assert all(counts.values())
