"""The OpenAPI document: every route is in it, and every answer is as it says."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from opsloop.remediation.ports import StepResult
from opsloop.web import api, intake, openapi
from tests.drivers.test_wire import payload
from tests.store.samples import alert, plan, started, taken, wish
from tests.web.asgi import Response, call
from tests.web.engine import BASIC, BEARER, Face

DOCUMENT = openapi.document()


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    made = Face(tmp_path)
    yield made
    made.store.close()


def filled(face: Face) -> None:
    """One of each: what is open, what has ended, what waits for people, what was told."""
    run = started(face.store, "a1", plan("api:api-0", "api:api-1"))
    face.store.begin_action(run, 0, 102.0)
    face.store.end_action(run, 0, StepResult(True, True, "done"), 103.0)
    face.store.escalate(face.store.episode(run.episode_id), run.id, "no", {"a": "b"}, {}, 104.0)
    face.store.record(wish(taken(face.store, "b2"), expires_at=9e9), 101.0)
    face.store.record(wish(taken(face.store, "c3"), plan("api:api-3"), expires_at=9e9), 101.0)
    face.store.intake([alert("d4", firing=False)], 100.0)


def check(path: str, method: str, response: Response) -> None:
    """The answer is one that the document knows, and of its shape."""
    answers = DOCUMENT["paths"][path][method]["responses"]
    assert str(response.status) in answers, (path, method, response.status, response.body[:300])
    content = answers[str(response.status)].get("content", {})
    if "application/json" in content:
        schema = content["application/json"]["schema"]
        whole = {**schema, "components": DOCUMENT["components"]}
        jsonschema.validate(response.json(), whole, jsonschema.Draft202012Validator)


def ask(face: Face, method: str, path: str, body: bytes = b"", query: str = "") -> Response:
    header = BEARER if path == intake.PATH else BASIC
    return asyncio.run(call(face.app, method.upper(), path, body, [header], query=query))


def test_the_document_is_valid_and_served(face: Face) -> None:
    assert ask(face, "GET", openapi.PATH).json() == json.loads(json.dumps(DOCUMENT))
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["description"], name


def test_every_route_is_in_the_document_and_no_other(face: Face) -> None:
    served = {(intake.PATH, "post")}
    made = api.Api(
        face.store,
        lambda _: True,
        face.metrics,
        ready=str,
        watchdog_at=lambda: None,
        changed=lambda: None,
    )
    for route in made.app().routes:
        assert isinstance(route, Route)
        path = route.path.replace(":int", "").replace(":str", "")
        served |= {(path, m.lower()) for m in route.methods or () if m != "HEAD"}
    told = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert served == told


@pytest.mark.parametrize(
    ("method", "path", "asked", "body", "query", "status"),
    [
        ("get", "/healthz", "/healthz", "", "", 200),
        ("get", "/metrics", "/metrics", "", "", 200),
        ("get", "/api/v1/episodes", "", "", "all=1", 200),
        ("get", "/api/v1/episodes", "", "", "limit=0", 400),
        ("get", "/api/v1/runs", "", "", "", 200),
        ("get", "/api/v1/runs/{id}", "/api/v1/runs/1", "", "", 200),
        ("get", "/api/v1/runs/{id}", "/api/v1/runs/99", "", "", 404),
        ("get", "/api/v1/approvals", "", "", "all=1", 200),
        ("post", "/api/v1/approvals/{id}/{answer}", "1/approve", '{"by": "ann"}', "", 200),
        ("post", "/api/v1/approvals/{id}/{answer}", "2/reject", '{"by": "a", "why": "b"}', "", 200),
        ("post", "/api/v1/approvals/{id}/{answer}", "1/approve", "{}", "", 400),
        ("post", "/api/v1/approvals/{id}/{answer}", "9/approve", '{"by": "ann"}', "", 404),
        ("post", "/api/v1/pause", "", '{"why": "x"}', "", 200),
        ("post", "/api/v1/resume", "", "", "", 200),
        ("post", "/api/v1/pause", "", "[]", "", 400),
        ("post", "/api/v1/alerts", "", payload().decode(), "", 200),
        ("post", "/api/v1/alerts", "", "{", "", 400),
    ],
)
def test_answers_are_as_the_document_says(
    face: Face, method: str, path: str, asked: str, body: str, query: str, status: int
) -> None:
    filled(face)
    if "answer" in path:
        asked = f"/api/v1/approvals/{asked}"
    response = ask(face, method, asked or path, body.encode(), query)
    assert response.status == status, response.body
    check(path, method, response)


# Whatever is asked: an answer of the document, and never a 500

_word = st.text(st.sampled_from(string.printable + "é\u2028\U0001f600\x00"), max_size=12)
_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _word,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_word, inner, max_size=3),
    max_leaves=6,
)
_number = st.integers(-1, 4) | st.integers(2**62, 2**70)


@st.composite
def _asked(draw: st.DrawFn) -> tuple[str, str, str, bytes, str]:
    routes = [(p, m) for p, methods in DOCUMENT["paths"].items() for m in methods]
    path, method = draw(st.sampled_from(routes))
    asked = path.replace("{id}", str(draw(_number)))
    asked = asked.replace("{answer}", draw(st.sampled_from(["approve", "reject", "x"])))
    known: dict[str, Any] = {k: draw(_value) for k in ("by", "why") if draw(st.booleans())}
    body = draw(st.sampled_from([b"", b"{", json.dumps(known).encode()]) | st.binary(max_size=20))
    pairs = [f"{k}={draw(_number)}" for k in ("all", "limit") if draw(st.booleans())]
    return path, method, asked, body, "&".join(pairs)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(asked=_asked())
def test_any_request_has_an_answer_of_the_document(
    face: Face, asked: tuple[str, str, str, bytes, str]
) -> None:
    path, method, real, body, query = asked
    if not face.store.runs():
        filled(face)
    response = ask(face, method, real, body, query)
    assert response.status < 500, response.body
    if not (response.status == 404 and ("-1" in real or "/x" in real)):  # no route of ours
        check(path, method, response)
