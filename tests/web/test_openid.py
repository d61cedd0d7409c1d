"""Sign-in over a real OpenID provider: who comes back, with which role, and what is refused."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from opsloop.compile.places import CATALOG_LINK
from tests.support.net import free_port
from tests.support.servers import running
from tests.web.console_stage import HOST, PAGE, Stage, stage

BACK = f"http://{HOST}/sign-in/openid/back"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with running(
        "provider",
        [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)],
        port=port,
        folder=tmp_path_factory.mktemp("provider"),
        ready="/.well-known/openid-configuration",
    ) as server:
        yield server.url


def person(issuer: str, name: str, **claims: Any) -> None:
    answer = httpx.put(f"{issuer}/users/{name}", json={"email": f"{name}@example.org", **claims})
    assert answer.status_code < 300, answer.text


@pytest.fixture
def at(tmp_path: Path, issuer: str) -> Iterator[Stage]:
    secret = tmp_path / ".opsloop" / CATALOG_LINK / "client"
    secret.parent.mkdir(parents=True)
    secret.write_text("a-client-secret\n")
    section = {
        "sign_in": "openid",
        "openid": {
            "issuer": issuer,
            "client_id": "opsloop",
            "client_secret_file": "client",
            "scopes": ["openid", "email", "profile", "groups"],
        },
        "roles": {"operator": ["on-call"], "viewer": ["ben@example.org"]},
    }
    changed = {"console": section, "stack": {"console_url": f"http://{HOST}"}}
    with stage(tmp_path, changed) as found:
        yield found


def to_provider(at: Stage, way: str = "/runs") -> str:
    """Where the browser is sent."""
    page = at.client.get("/sign-in", params={"next": way}, headers=PAGE)
    csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    data = {"csrf": csrf, "next": way}
    answer = at.client.post("/sign-in/openid", data=data, headers=PAGE)
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text.partition('<p><a href="')[2].partition('"')[0])


def back(at: Stage, url: str, name: str) -> str:
    """What the provider sends the browser back with."""
    answer = httpx.post(url, data={"sub": name})
    location = answer.headers["location"]
    assert location.startswith(BACK), location
    return str(location)


def come(at: Stage, location: str) -> Any:
    return at.client.get(location.removeprefix(f"http://{HOST}"), headers=PAGE)


def test_people_get_the_role_of_their_group(at: Stage, issuer: str) -> None:
    person(issuer, "anna", groups=["staff", "on-call"])
    url = to_provider(at)
    assert re.search(r"code_challenge_method=S256", url)
    answer = come(at, back(at, url, "anna"))
    assert answer.status_code == 200
    assert answer.url.path == "/runs"
    assert "anna@example.org, operator" in answer.text
    kept = at.store.notes("console", 0, 9e9)
    assert kept[0]["body"] == {"by": "anna@example.org", "did": "signed in", "about": "testclient"}
    assert "paused" in at.send("/pause").lower()  # an operator may


def test_people_may_have_a_role_by_their_name(at: Stage, issuer: str) -> None:
    person(issuer, "ben")
    assert come(at, back(at, to_provider(at), "ben")).status_code == 200
    at.send("/pause", 403)


def test_who_has_no_role_sees_nothing(at: Stage, issuer: str) -> None:
    person(issuer, "eve", groups=["guests"])
    answer = come(at, back(at, to_provider(at), "eve"))
    assert answer.status_code == 403
    assert "has no role here" in answer.text
    assert at.client.get("/", headers=PAGE, follow_redirects=False).status_code == 303


def test_an_address_that_is_not_verified_is_no_name(at: Stage, issuer: str) -> None:
    person(issuer, "mallory", email="ben@example.org", email_verified=False)
    answer = come(at, back(at, to_provider(at), "mallory"))
    assert answer.status_code == 403
    assert "not verified" in answer.text


def test_what_comes_back_must_be_of_this_browser(at: Stage, issuer: str) -> None:
    person(issuer, "anna", groups=["on-call"])
    location = back(at, to_provider(at), "anna")
    forged = re.sub(r"state=[^&]+", "state=forged", location)
    assert "not of this browser" in come(at, forged).text
    # and what was used up once is over
    answer = come(at, location)
    assert answer.status_code == 400
    assert "took too long" in answer.text


def test_a_code_is_good_once_and_not_when_made_up(at: Stage, issuer: str) -> None:
    person(issuer, "anna", groups=["on-call"])
    location = back(at, to_provider(at), "anna")
    answer = come(at, re.sub(r"code=[^&]+", "code=made-up", location))
    assert answer.status_code == 403
    assert "gave no token" in answer.text


def test_a_provider_that_says_no_is_quoted(at: Stage) -> None:
    url = to_provider(at)
    state = re.search(r"state=([^&]+)", url)
    assert state is not None
    query = f"state={state[1]}&error=access_denied&error_description=<b>no</b>"
    answer = come(at, f"{BACK}?{query}")
    assert answer.status_code == 403
    assert "&lt;b&gt;no&lt;/b&gt;" in answer.text


def test_a_provider_that_is_away_is_named(tmp_path: Path) -> None:
    secret = tmp_path / ".opsloop" / CATALOG_LINK / "client"
    secret.parent.mkdir(parents=True)
    secret.write_text("x")
    openid = {
        "issuer": "http://127.0.0.1:1",
        "client_id": "opsloop",
        "client_secret_file": "client",
    }
    section = {"sign_in": "openid", "openid": openid, "roles": {"viewer": ["*"]}}
    changed = {"console": section, "stack": {"console_url": f"http://{HOST}"}}
    with stage(tmp_path, changed) as at:
        page = at.client.get("/sign-in", headers=PAGE)
        csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        answer = at.client.post("/sign-in/openid", data={"csrf": csrf}, headers=PAGE)
        assert answer.status_code == 502
        assert "does not answer" in answer.text
