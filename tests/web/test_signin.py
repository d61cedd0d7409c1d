"""Signing in: who gets in with which role, what is refused, and what a session's end does."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from starlette.testclient import TestClient

from opsloop.compile.places import CATALOG_LINK
from opsloop.errors import InputError
from opsloop.web import sessions
from opsloop.web.console import way_of
from opsloop.web.sessions import Sessions, Tries
from opsloop.web.signin import local_path
from tests.web import console_stage
from tests.web.console_stage import HOST, PAGE, PASSWORD, Stage, stage

ROLES = {"viewer": ["*"], "operator": ["anna"], "admin": ["root"]}
PEOPLE = {"anna": "correct horse", "ben": "battery", "root": "staple"}


@contextmanager
def basic(folder: Path, **more: Any) -> Iterator[Stage]:
    users = folder / ".opsloop" / CATALOG_LINK / "users"
    users.parent.mkdir(parents=True)
    lines = [
        f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}"
        for name, word in PEOPLE.items()
    ]
    users.write_text("# people\n" + "\n".join(lines) + "\n")
    section = {"sign_in": "basic", "users_file": "users", "roles": ROLES, **more}
    with stage(folder, {"console": section}) as found:
        yield found


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Stage]:
    with basic(tmp_path) as found:
        yield found


def browser(at: Stage) -> TestClient:
    return TestClient(at.app, base_url=f"http://{HOST}", raise_server_exceptions=False)


def token(text: str) -> str:
    for start in ('name="csrf" value="', 'data-csrf="'):
        if start in text:
            return text.partition(start)[2].partition('"')[0]
    return ""


def enter(at: Stage, name: str, password: str | None = None, way: str = "/") -> Any:
    page = at.client.get("/sign-in", params={"next": way}, headers=PAGE)
    data = {
        "csrf": token(page.text),
        "next": way,
        "name": name,
        "password": PEOPLE[name] if password is None else password,
    }
    return at.client.post("/sign-in", data=data, headers=PAGE)


def test_nobody_sees_anything_before(at: Stage) -> None:
    for path in ("/", "/runs/1", "/services/api?x=1"):
        answer = at.client.get(path, headers=PAGE, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=%2F")
    for path in ("/events", "/api/glance", "/api/panels/opsloop-overview/1", "/api/marks"):
        answer = at.client.get(path)
        assert answer.status_code == 401
        assert "error" in answer.json()
    assert at.client.get("/healthz").status_code == 200


def test_people_get_in_and_go_on_to_their_page(at: Stage) -> None:
    answer = enter(at, "anna", way="/runs?x=1")
    assert answer.status_code == 200
    assert answer.url.path == "/runs"
    assert "Sign out anna" in answer.text
    kept = at.store.notes("console", 0, 9e9)
    assert [(n["body"]["by"], n["body"]["did"]) for n in kept] == [("anna", "signed in")]


def test_the_cookie_is_not_for_scripts_nor_for_other_sites(at: Stage) -> None:
    enter(at, "anna")
    before = at.client.cookies.get("opsloop_session_8080")
    page = at.client.get("/sign-in", headers=PAGE)
    assert page.url.path == "/"  # who is in needs no form
    response = browser(at).get("/sign-in", headers=PAGE)
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert before is not None
    assert len(before) > 40


def test_the_cookie_is_secure_where_the_address_is(tmp_path: Path) -> None:
    users = {"sign_in": "basic"}
    outside = {"console": users, "stack": {"console_url": "https://ops.example.org"}}
    with stage(tmp_path, outside) as at:
        page = at.client.get("/sign-in", headers={**PAGE, "host": "ops.example.org"})
        assert "Secure" in page.headers["set-cookie"]


def test_a_session_from_before_the_sign_in_is_of_no_use(at: Stage) -> None:
    at.client.get("/sign-in", headers=PAGE)
    old = at.client.cookies.get("opsloop_session_8080")
    enter(at, "anna")
    assert at.client.cookies.get("opsloop_session_8080") != old
    other = browser(at)
    other.cookies.set("opsloop_session_8080", str(old))
    assert other.get("/", headers=PAGE, follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    ("name", "password"),
    [("anna", "wrong"), ("nobody", "x"), ("", ""), ("anna", "x" * 5000), ("anna\x00", "\x00")],
)
def test_a_wrong_password_is_told_as_any_other(at: Stage, name: str, password: str) -> None:
    answer = enter(at, name, password)
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert at.client.get("/", headers=PAGE, follow_redirects=False).status_code == 303


def test_nobody_guesses_for_long(at: Stage) -> None:
    for _ in range(sessions.MOST_TRIES):
        assert enter(at, "ben", "wrong").status_code == 401
    answer = enter(at, "ben")
    assert answer.status_code == 429
    assert "Too many tries" in answer.text


def test_tries_are_forgotten_in_time() -> None:
    now = [0.0]
    tries = Tries(lambda: now[0])
    for _ in range(sessions.MOST_TRIES):
        tries.failed("a", "b")
    assert tries.wait_s("a") == sessions.TRIES_S
    now[0] = sessions.TRIES_S - 1
    assert tries.wait_s("x", "b") == 1.0
    now[0] += 1
    assert tries.wait_s("a") == 0.0
    tries.failed("a")
    tries.succeeded("a")
    assert tries.wait_s("a") == 0.0


def test_a_viewer_looks_and_changes_nothing(at: Stage) -> None:
    number = console_stage.asks(at)
    enter(at, "ben")
    text = at.page("/runs")
    assert "Only an operator may answer." in text
    for path in (f"/approvals/{number}/approve", "/pause", "/silences", "/annotations"):
        answer = at.client.post(path, data={"csrf": token(text)}, headers=PAGE)
        assert answer.status_code == 403, path
        assert "needs the role operator" in answer.text
    assert at.page("/query", 403)
    assert at.page("/audit", 403)
    assert at.store.approvals()[0].approved_by == ""


def test_an_operator_answers_under_their_own_name(at: Stage) -> None:
    number = console_stage.asks(at)
    enter(at, "anna")
    assert "anna approved" in at.send(f"/approvals/{number}/approve", why="go")
    assert at.store.all_approvals()[0].approved_by == "anna"
    assert at.page("/audit", 403)
    at.client.cookies.clear()
    enter(at, "root")
    assert "anna" in at.page("/audit")


def test_a_session_that_ends_in_the_middle_of_an_approval_does_nothing(at: Stage) -> None:
    number = console_stage.asks(at)
    enter(at, "anna")
    csrf = token(at.page("/runs"))
    at.client.cookies.clear()  # as an expired one
    headers = {**PAGE, "referer": f"http://{HOST}/runs"}
    answer = at.client.post(f"/approvals/{number}/approve", data={"csrf": csrf}, headers=headers)
    assert answer.status_code == 401
    assert "Nothing was done." in answer.text
    assert "/sign-in?next=/runs" in answer.text
    assert at.store.approvals()[0].approved_by == ""


def test_a_session_has_an_end() -> None:
    now = [0.0]
    kept = Sessions(60.0, lambda: now[0])
    session = kept.begin()
    assert kept.find(session.id) is session
    now[0] = 60.0
    assert kept.find(session.id) is None
    assert kept.find(None) is kept.find("nonsense") is None


def test_another_sessions_token_is_of_no_use(at: Stage) -> None:
    enter(at, "root")
    foreign = token(at.page("/runs"))
    at.client.cookies.clear()
    enter(at, "anna")
    answer = at.client.post("/pause", data={"csrf": foreign}, headers=PAGE)
    assert answer.status_code == 403
    assert at.store.paused()[0] is False


def test_signing_out_ends_the_session(at: Stage) -> None:
    enter(at, "anna")
    cookie = at.client.cookies.get("opsloop_session_8080")
    at.client.post("/sign-out", data={"csrf": token(at.page("/runs"))}, headers=PAGE)
    other = browser(at)
    other.cookies.set("opsloop_session_8080", str(cookie))
    assert other.get("/", headers=PAGE, follow_redirects=False).status_code == 303


def test_programs_use_the_stacks_password(at: Stage) -> None:
    assert at.client.get("/api/glance", auth=("opsloop", PASSWORD)).status_code == 200
    assert at.client.get("/api/glance", auth=("opsloop", "wrong")).status_code == 401
    for header in ("Basic !!!", "Basic", "Bearer x", "Basic " + base64.b64encode(b"\xff").decode()):
        assert at.client.get("/api/glance", headers={"authorization": header}).status_code == 401


def test_beyond_loopback_the_stacks_user_signs_in(tmp_path: Path) -> None:
    with stage(tmp_path, {"stack": {"bind": "0.0.0.0"}}, bind="0.0.0.0") as at:
        assert at.client.get("/", headers=PAGE, follow_redirects=False).status_code == 303
        assert "Sign out opsloop" in enter(at, "opsloop", PASSWORD).text


def test_no_sign_in_beyond_loopback_is_refused(tmp_path: Path) -> None:
    changed = {"console": {"sign_in": "none"}, "stack": {"bind": "0.0.0.0"}}
    with (
        pytest.raises(InputError, match="none is for loopback"),
        stage(tmp_path, changed, "0.0.0.0"),
    ):
        pass


def test_unset_is_none_on_loopback_alone() -> None:
    from opsloop.catalog.console import Console

    binds = {
        "127.0.0.1": "none",
        "::1": "none",
        "localhost": "none",
        "10.0.0.5": "basic",
        "::": "basic",
    }
    assert {bind: way_of(Console(), bind) for bind in binds} == binds


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("/runs?x=1", "/runs?x=1"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\b", "/"),
        ("https://evil.example", "/"),
        ("/\tevil", "/"),
        ("/sign-in?next=/", "/"),
    ],
)
def test_one_goes_on_to_pages_of_ours_only(text: str, way: str) -> None:
    assert local_path(text) == way
