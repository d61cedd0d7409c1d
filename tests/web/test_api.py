"""The engine's JSON API, /healthz and /metrics: who may, what they get, and every refusal."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from opsloop import __version__
from opsloop.errors import StateUnusable
from opsloop.remediation.plan import RunState
from opsloop.remediation.ports import StepResult
from opsloop.web import auth
from opsloop.web.signals import Signal
from tests.store.samples import started, taken, wish
from tests.web.asgi import Response, call
from tests.web.engine import BASIC, BEARER, PASSWORD, Face

GUARDED = [
    ("GET", "/metrics"),
    ("GET", "/api/v1/episodes"),
    ("GET", "/api/v1/runs"),
    ("GET", "/api/v1/runs/1"),
    ("GET", "/api/v1/approvals"),
    ("POST", "/api/v1/approvals/1/approve"),
    ("POST", "/api/v1/pause"),
    ("POST", "/api/v1/resume"),
]


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    made = Face(tmp_path)
    yield made
    made.store.close()


def ask(
    face: Face,
    method: str,
    path: str,
    body: bytes = b"",
    *headers: tuple[str, str],
    query: str = "",
    host: str = "127.0.0.1:8081",
) -> Response:
    return asyncio.run(call(face.app, method, path, body, headers, query=query, host=host))


def get(face: Face, path: str, query: str = "") -> Any:
    response = ask(face, "GET", path, b"", BASIC, query=query)
    assert response.status == 200, response.body
    return response.json()


def pair(text: str) -> tuple[str, str]:
    return ("authorization", "Basic " + base64.b64encode(text.encode()).decode())


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "header",
    [
        ("x", "y"),
        ("authorization", ""),
        ("authorization", "Basic"),
        ("authorization", "Basic !!!"),
        ("authorization", "Basic \xff"),
        pair(f"opsloop:{PASSWORD}x"),
        pair(f"admin:{PASSWORD}"),
        pair(PASSWORD),
        BEARER,  # the intake's token opens nothing else
    ],
)
def test_without_the_password_it_is_401(
    face: Face, method: str, path: str, header: tuple[str, str]
) -> None:
    response = ask(face, method, path, b"", header)
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Basic")
    assert face.store.paused() == (False, "")


def test_the_password_does_not_open_the_intake(face: Face) -> None:
    assert ask(face, "POST", "/api/v1/alerts", b"{}", BASIC).status == 401


@pytest.mark.parametrize(("method", "path"), [*GUARDED, ("GET", "/healthz")])
def test_a_host_name_that_is_not_ours_is_refused(face: Face, method: str, path: str) -> None:
    assert ask(face, method, path, b"", BASIC, host="evil.example").status == 421


def test_no_answer_allows_another_origin(face: Face) -> None:
    for method, path in GUARDED:
        response = ask(face, method, path, b"", BASIC, ("origin", "http://evil.example"))
        assert not [h for h in response.headers if h.startswith("access-control")]
    assert ask(face, "OPTIONS", "/api/v1/pause", b"", BASIC).status == 405


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/nosuch", 404),
        ("GET", "/api/v1/runs/x", 404),
        ("GET", "/api/v1/runs/-1", 404),
        ("GET", "/api/v1/runs/7", 404),
        ("GET", "/api/v1/runs/" + "9" * 30, 404),
        ("POST", "/api/v1/runs", 405),
        ("GET", "/api/v1/pause", 405),
        ("GET", "/api/v1/alerts", 404),
        ("DELETE", "/api/v1/alerts", 404),
    ],
)
def test_what_is_not_there_says_so_in_json(face: Face, method: str, path: str, status: int) -> None:
    response = ask(face, method, path, b"", BASIC)
    assert response.status == status
    assert response.json()["error"]


def test_health(face: Face) -> None:
    response = ask(face, "GET", "/healthz")
    assert response.status == 200
    assert response.json() == {
        "status": "ok",
        "ready": True,
        "paused": False,
        "watchdog_age_s": None,
        "version": __version__,
    }
    face.store.pause("why", 1.0)
    face.intake.watchdog_at = 1.0
    body = ask(face, "GET", "/healthz").json()
    assert body["paused"] is True
    assert body["watchdog_age_s"] > 1e9


def test_health_of_a_loop_that_does_not_turn(face: Face) -> None:
    face.not_ready = "the loop has not turned for 61 s"
    response = ask(face, "GET", "/healthz")
    assert response.status == 503
    assert response.json()["ready"] is False
    assert response.json()["reason"] == "the loop has not turned for 61 s"


def test_health_of_a_store_that_cannot_be_read(face: Face) -> None:
    face.store.close()
    face.store.path.write_bytes(b"damaged" * 1000)
    response = ask(face, "GET", "/healthz")
    assert response.status == 503
    assert "is damaged" in response.json()["reason"]
    assert response.json()["paused"] is None
    assert ask(face, "GET", "/api/v1/runs", b"", BASIC).status == 503


def test_episodes(face: Face) -> None:
    first, second = taken(face.store, "a1"), taken(face.store, "b2")
    body = get(face, "/api/v1/episodes")
    assert [e["id"] for e in body["episodes"]] == [second.id, first.id]
    assert body["episodes"][0]["alert"] == "ServiceDown"
    assert len(get(face, "/api/v1/episodes", "limit=1")["episodes"]) == 1
    face.store.set_episode(first.id, type(first.state)("closed"), "", None, 101.0)
    assert len(get(face, "/api/v1/episodes")["episodes"]) == 1
    assert len(get(face, "/api/v1/episodes", "all=1")["episodes"]) == 2
    assert len(get(face, "/api/v1/episodes", "all=0")["episodes"]) == 1


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "", "9" * 40, "%D9%A3"])
def test_a_limit_that_is_none_is_400(face: Face, limit: str) -> None:
    response = ask(face, "GET", "/api/v1/runs", b"", BASIC, query=f"limit={limit}")
    assert response.status == 400
    assert "limit" in response.json()["error"]


def test_runs_and_one_run(face: Face) -> None:
    run = started(face.store)
    face.store.begin_action(run, 0, 102.0)
    face.store.end_action(run, 0, StepResult(ok=True, started=True, output="serves"), 103.0)
    face.store.move_run(run, RunState.VERIFYING, "acted", 104.0)
    (listed,) = get(face, "/api/v1/runs")["runs"]
    assert (listed["id"], listed["state"]) == (run.id, "verifying")
    shown = get(face, f"/api/v1/runs/{run.id}")
    assert shown["actions"][0]["output"] == "serves"
    assert shown["about"]["alert"] == "ServiceDown"
    assert [t["kind"] for t in shown["timeline"]] == ["decision", "action", "action-end", "run"]
    assert shown["guards"][0] == {"guard": "mode", "answer": "pass", "reason": "auto"}


def test_pause_and_resume(face: Face) -> None:
    body = json.dumps({"why": "a\n  long\tday"}).encode()
    response = ask(face, "POST", "/api/v1/pause", body, BASIC)
    assert (response.status, response.json()) == (200, {"paused": True, "why": "a long day"})
    assert face.store.paused() == (True, "a long day")
    assert face.woken == 1
    response = ask(face, "POST", "/api/v1/resume", b"", BASIC)
    assert response.json() == {"paused": False, "why": ""}
    assert face.store.paused() == (False, "")
    assert ask(face, "POST", "/api/v1/pause", b"", BASIC).json() == {"paused": True, "why": ""}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x", 400),
        (b"[]", 400),
        (b'{"why": 1}', 400),
        (b'{"wyh": "a typing mistake"}', 400),
        (b"\xff\xfe", 400),
        (b'{"a":' * 30_000, 413),
        (b'{"a":' * 10_000, 400),
        (b'{"why": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_a_bad_body_pauses_nothing(face: Face, body: bytes, status: int) -> None:
    response = ask(face, "POST", "/api/v1/pause", body, BASIC)
    assert response.status == status
    assert response.json()["error"]
    assert face.store.paused() == (False, "")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8081", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:9999", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_a_page_of_another_origin_changes_nothing(face: Face, origin: str, status: int) -> None:
    """The browser sends the password that it knows, whichever page asks."""
    response = ask(face, "POST", "/api/v1/pause", b"", BASIC, ("origin", origin))
    assert response.status == status
    assert face.store.paused()[0] is (status == 200)


def test_a_store_that_refuses_is_503(face: Face) -> None:
    face.store.close()
    response = ask(face, "POST", "/api/v1/pause", b"", BASIC)
    assert response.status == 503
    assert "closed" in response.json()["error"]


def families(face: Face) -> dict[str, Any]:
    response = ask(face, "GET", "/metrics", b"", BASIC)
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {f.name: f for f in text_string_to_metric_families(response.body.decode())}


def test_metrics(face: Face) -> None:
    asyncio.run(face.post(b"x"))
    asyncio.run(face.post(b'{"version": "4", "alerts": []}'))
    face.metrics.count("decisions", kind="act", guard="none")
    face.metrics.count("decisions", kind="act", guard="none")
    face.metrics.count("reconcile_errors")
    face.metrics.observe("intake_to_action_seconds", 0.012)
    face.metrics.observe("run_seconds", 3.0, outcome="verified")
    gauge = Signal("opsloop_x", "gauge", "X.", ("name",))
    face.metrics.read_at_scrape(lambda: {"opsloop_x": {("a",): 2.0}}, [gauge])
    found = families(face)
    requests = {s.labels["outcome"]: s.value for s in found["opsloop_intake_requests"].samples}
    assert requests == {"accepted": 1.0, "not_json": 1.0}
    assert found["opsloop_decisions"].samples[0].value == 2.0
    assert found["opsloop_reconcile_errors"].samples[0].value == 1.0
    buckets = {
        s.labels["le"]: s.value
        for s in found["opsloop_intake_to_action_seconds"].samples
        if s.name.endswith("_bucket")
    }
    assert buckets["0.01"] == 0.0
    assert buckets["0.025"] == buckets["+Inf"] == 1.0
    assert found["opsloop_x"].samples[0].labels == {"name": "a"}
    assert found["opsloop_intake_seconds"].samples[-1].name.endswith(("_sum", "_count", "_bucket"))
    assert "process_resident_memory_bytes" in found


def test_every_metric_has_our_prefix_or_is_of_the_process(face: Face) -> None:
    for name in families(face):
        assert name.startswith(("opsloop_", "process_", "python_")), name


# Secrets and hosts


def test_a_secret_that_is_missing_or_empty_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match=r"cannot be read.*opsloop up"):
        auth.Secret(tmp_path / "none")
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(StateUnusable, match="is empty"):
        auth.Secret(tmp_path / "empty")


@pytest.mark.parametrize(
    ("bind", "host", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8081", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "10.0.0.1:8081", True),
        ("engine", "ENGINE:8081", True),
        ("::1", "[::1]:8081", True),
        ("0.0.0.0", "any.example", True),
        ("::", "any.example", True),
    ],
)
def test_hosts(bind: str, host: str, allowed: bool) -> None:
    assert auth.host_allowed(host.encode(), auth.hosts_for(bind)) is allowed


def test_no_host_header_is_not_ours() -> None:
    assert not auth.host_allowed(None, auth.hosts_for("127.0.0.1"))


# Approvals


@pytest.fixture
def waiting(face: Face) -> Face:
    now = time.time()
    face.store.record(wish(taken(face.store), expires_at=now + 600), now)
    return face


def answer(face: Face, path: str, body: object) -> Response:
    return ask(face, "POST", f"/api/v1/approvals/{path}", json.dumps(body).encode(), BASIC)


def test_what_waits_is_approved_once(waiting: Face) -> None:
    (found,) = get(waiting, "/api/v1/approvals")["approvals"]
    assert (found["state"], found["plan"]) == ("waits", "restart api:api-0")
    done = answer(waiting, "1/approve", {"by": "ann", "why": "seen"})
    assert (done.status, done.json()["state"]) == (200, "approved")
    again = answer(waiting, "1/approve", {"by": "bob"})
    assert (again.status, again.json()) == (
        409,
        {"error": "approval 1: was approved by ann before"},
    )
    assert answer(waiting, "1/reject", {"by": "bob", "why": "no"}).json()["state"] == "rejected"
    assert get(waiting, "/api/v1/approvals") == {"approvals": []}
    assert len(get(waiting, "/api/v1/approvals", "all=1")["approvals"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("1/approve", {}, 400),
        ("1/approve", {"by": ""}, 400),
        ("1/approve", {"by": "ann", "plan": "x"}, 400),
        ("1/approve", ["ann"], 400),
        ("1/perhaps", {"by": "ann"}, 404),
        ("9/approve", {"by": "ann"}, 404),
        (f"{2**70}/approve", {"by": "ann"}, 404),
    ],
)
def test_answers_that_are_none(waiting: Face, path: str, body: object, status: int) -> None:
    response = answer(waiting, path, body)
    assert response.status == status
    assert response.json()["error"]
    assert get(waiting, "/api/v1/approvals")["approvals"][0]["state"] == "waits"
