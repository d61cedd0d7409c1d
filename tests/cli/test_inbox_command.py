"""`opsloop inbox` over the file that the inbox writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from opsloop.cli.main import cli
from opsloop.web.messages import Message, Messages
from tests.support.wait import wait_until

SOURCE = Path(__file__).parents[2] / "src"


def call(state: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["inbox", "--state", str(state), *words])


def message(title: str, **changes: Any) -> Message:
    values: dict[str, Any] = {
        "id": 0,
        "received_at": 1_700_000_000.0,
        "vendor": "slack",
        "path": "/slack/x",
        "accepted": True,
        "reason": "",
        "status": "firing",
        "title": title,
        "body": '{"text": "hello"}',
    }
    return Message(**{**values, **changes})


def inbox(state: Path, *titles: str) -> Messages:
    (state / "stack.json").write_text("{}")
    messages = Messages(state / "data" / "inbox.sqlite")
    for title in titles:
        messages.add(message(title))
    return messages


def test_the_newest_are_listed_oldest_first(tmp_path: Path) -> None:
    inbox(tmp_path, "one", "two", "three").close()
    result = call(tmp_path, "--json", "-n", "2")
    assert result.exit_code == 0
    listed = json.loads(result.output)["messages"]
    assert [(m["id"], m["title"]) for m in listed] == [(2, "two"), (3, "three")]
    assert listed[0]["body"] == {"text": "hello"}
    assert json.loads(call(tmp_path, "--json", "--since", "2").output)["messages"] == listed[1:]


def test_a_refused_message_says_why(tmp_path: Path) -> None:
    messages = inbox(tmp_path)
    messages.add(message("bad", accepted=False, reason="text: must be a string"))
    messages.close()
    assert "refused: text: must be a string" in call(tmp_path).output


def test_an_empty_inbox_is_said(tmp_path: Path) -> None:
    inbox(tmp_path).close()
    assert call(tmp_path).output == "nothing yet: nobody was told anything\n"
    assert json.loads(call(tmp_path, "--json").output) == {"messages": []}


def test_without_a_stack_it_says_what_to_do(tmp_path: Path) -> None:
    result = call(tmp_path)
    assert result.exit_code == 1
    assert "holds no stack; start one with `opsloop up`" in result.output


def test_follow_shows_what_comes_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    messages = inbox(tmp_path, "before")
    out = tmp_path / "out"
    with out.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "opsloop", "inbox", "--follow", "--json"),
                *("--state", str(tmp_path)),
            ],
            stdout=file,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"},
        )
    try:
        wait_until(lambda: "before" in out.read_text(), "the first is shown")
        messages.add(message("after"))
        wait_until(lambda: "after" in out.read_text(), "the next is shown")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [1, 2]
    messages.close()
