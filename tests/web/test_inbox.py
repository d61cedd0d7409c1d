"""The inbox over real HTTP: what it answers, keeps and shows."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from opsloop.errors import StateUnusable
from opsloop.web.messages import KEPT, Message, Messages, read, read_newest
from tests.support.net import free_port
from tests.support.servers import Server, running
from tests.web.test_vendors import PAGERDUTY, SLACK, WEBHOOK

SERVE = """
import sys
from pathlib import Path
import uvicorn
from opsloop.web.inbox import create
uvicorn.run(create(Path(sys.argv[1]), (lambda h: h == b"Bearer t") if sys.argv[3] == "yes" else None),
            host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


def start(folder: Path, *, misbehave: bool = False) -> Any:
    port = free_port()
    word = "yes" if misbehave else "no"
    command = [sys.executable, "-c", SERVE, str(folder / "inbox.sqlite"), str(port), word]
    source = str(Path(__file__).parents[2] / "src")
    environment = {"PYTHONPATH": source}
    return running(
        "inbox", command, port=port, folder=folder, ready="/healthz", environment=environment
    )


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start(tmp_path_factory.mktemp("inbox")) as server:
        yield server


def post(server: Server, path: str, body: object) -> urllib3.BaseHTTPResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib3.PoolManager(retries=False, timeout=60.0) as pool:
        return pool.request("POST", server.url + path, body=data)


def newest(server: Server) -> dict[str, Any]:
    found: list[dict[str, Any]] = server.get("/api/v1/messages")["messages"]
    return found[-1]


def page(server: Server) -> str:
    with urllib3.PoolManager(retries=False, timeout=60.0) as pool:
        return pool.request("GET", server.url + "/").data.decode()


def test_slack_is_answered_as_slack_does(inbox: Server) -> None:
    answer = post(inbox, "/slack/services/demo", SLACK)
    assert (answer.status, answer.data) == (200, b"ok")
    kept = newest(inbox)
    assert kept["vendor"] == "slack"
    assert kept["accepted"] is True
    assert kept["status"] == "firing"
    assert kept["title"] == "[P0] ServiceDown api"
    assert kept["body"] == SLACK


def test_pagerduty_is_answered_as_pagerduty_does(inbox: Server) -> None:
    answer = post(inbox, "/pagerduty/v2/enqueue", PAGERDUTY)
    assert answer.status == 202
    assert json.loads(answer.data) == {
        "status": "success",
        "message": "Event processed",
        "dedup_key": PAGERDUTY["dedup_key"],
    }
    post(inbox, "/pagerduty/v2/enqueue", {**PAGERDUTY, "event_action": "resolve"})
    assert newest(inbox)["status"] == "resolved"


def test_an_event_without_a_key_gets_one(inbox: Server) -> None:
    body = {k: v for k, v in PAGERDUTY.items() if k != "dedup_key"}
    assert json.loads(post(inbox, "/pagerduty/v2/enqueue", body).data)["dedup_key"]


def test_a_resolved_slack_message_is_no_page(inbox: Server) -> None:
    post(inbox, "/slack/x", {"attachments": [{"title": "Resolved: ServiceDown api"}]})
    assert newest(inbox)["status"] == "resolved"


def test_a_webhook_is_kept(inbox: Server) -> None:
    assert post(inbox, "/webhook/oncall", WEBHOOK).status == 200
    assert newest(inbox)["title"] == "ServiceDown"


def test_a_bad_payload_is_refused_with_the_reason_and_kept(inbox: Server) -> None:
    answer = post(inbox, "/pagerduty/v2/enqueue", {**PAGERDUTY, "routing_key": "short"})
    assert answer.status == 400
    said = json.loads(answer.data)
    assert said["status"] == "invalid event"
    assert said["errors"] == ["routing_key: its length is incorrect (should be 32 characters)"]
    kept = newest(inbox)
    assert kept["accepted"] is False
    assert kept["reason"] == said["errors"][0]
    assert kept["reason"] in page(inbox)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b"", 400),
        (b'{"text": NaN}', 400),
        (b'{"text": "\\ud800"}', 400),
        (b'{"text": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b'{"text": "' + b"x" * (600 * 1024) + b'"}', 413),
    ],
)
def test_what_is_no_json_is_refused_and_the_inbox_lives(
    inbox: Server, body: bytes, status: int
) -> None:
    answer = post(inbox, "/slack/x", body)
    assert answer.status == status
    assert answer.data.startswith(b"invalid_payload: body: ")
    assert newest(inbox)["accepted"] is False
    assert "<h1>Inbox</h1>" in page(inbox)


def test_what_came_from_outside_is_escaped(inbox: Server) -> None:
    post(inbox, "/slack/x", {"text": "<script>alert(1)</script>"})
    post(inbox, "/slack/<img src=x>", {"attachments": [{"title": '"><b>bold'}]})
    text = page(inbox)
    assert "<script>" not in text
    assert "<b>bold" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_only_newer_messages_are_listed(inbox: Server) -> None:
    for number in range(3):
        post(inbox, "/slack/x", {"text": f"message {number}"})
    last = newest(inbox)["id"]
    ids = [m["id"] for m in inbox.get("/api/v1/messages", since=str(last - 2))["messages"]]
    assert ids == [last - 1, last]
    first = inbox.get("/api/v1/messages", since="0", limit="1")["messages"]
    assert [m["id"] for m in first] == [1]


def test_a_bad_query_is_refused(inbox: Server) -> None:
    with urllib3.PoolManager(retries=False, timeout=60.0) as pool:
        assert pool.request("GET", inbox.url + "/api/v1/messages?since=x").status == 400


def test_there_is_no_misbehaviour_unless_it_is_asked_for(inbox: Server) -> None:
    assert post(inbox, "/misbehave", {"vendor": "slack", "how": 500}).status == 404


def misbehave(server: Server, body: object, token: str = "t") -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"}
    with urllib3.PoolManager(retries=False, timeout=60.0) as pool:
        return pool.request("POST", server.url + "/misbehave", body=data, headers=headers).status


def test_a_vendor_misbehaves_only_for_who_has_the_token_and_as_it_can(tmp_path: Path) -> None:
    with start(tmp_path, misbehave=True) as server:
        body = {"vendor": "slack", "how": 500, "times": 9}
        assert misbehave(server, body, token="x") == 401
        assert post(server, "/misbehave", body).status == 401
        for broken in (
            b"", b"[1]", b'"a"', {"vendor": "slack"}, {**body, "vendor": "mail"},
            {**body, "how": 99}, {**body, "how": "never"}, {**body, "times": -1},
            {**body, "times": "many"}, {**body, "vendor": ["slack"]},
        ):  # fmt: skip
            assert misbehave(server, broken) == 400, broken
        assert post(server, "/slack/x", {"text": "hello"}).status == 200


def test_a_vendor_misbehaves_as_often_as_told(tmp_path: Path) -> None:
    with start(tmp_path, misbehave=True) as server:
        assert misbehave(server, {"vendor": "slack", "how": 503, "times": 2}) == 200
        statuses = [post(server, "/slack/x", {"text": "hello"}).status for _ in range(3)]
        assert statuses == [503, 503, 200]
        assert post(server, "/pagerduty/v2/enqueue", PAGERDUTY).status == 202
        assert len(server.get("/api/v1/messages")["messages"]) == 2


def test_messages_survive_a_kill(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        assert post(server, "/slack/x", {"text": "kept"}).status == 200
        server.process.kill()
        server.process.wait()
    assert [m.title for m in read(tmp_path / "inbox.sqlite", 0, 10)] == ["kept"]


def message(title: str) -> Message:
    return Message(0, 1.0, "slack", "/slack/x", True, "", "firing", title, "{}")


def test_the_file_can_be_read_while_the_inbox_writes(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    assert read(path, 0, 10) == []
    messages = Messages(path)
    for number in range(5):
        messages.add(message(f"m{number}"))
    assert [m.title for m in read(path, 1, 2)] == ["m1", "m2"]
    assert [m.title for m in read_newest(path, 1, 2)] == ["m3", "m4"]
    assert [m.title for m in messages.newest(2)] == ["m4", "m3"]
    messages.close()


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    messages = Messages(path)
    messages.add(message("old"))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'messages'", (KEPT + 199,))
    messages.add(message("new"))
    assert [m.title for m in messages.since(0, 10)] == ["new"]
    messages.close()


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    path.write_text("this is no database, and long enough to be seen as none" * 10)
    with pytest.raises(StateUnusable, match="cannot be opened"):
        Messages(path)
    with pytest.raises(StateUnusable, match="cannot be read"):
        read(path, 0, 1)
