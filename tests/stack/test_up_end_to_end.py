"""A whole native stack with the shop, through the command line, on ports of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from opsloop.settings import Ports
from opsloop.stack import processes, supervisord
from opsloop.stack.ready import Http
from opsloop.stack.secrets import scrape_password
from opsloop.stack.state import StateFolder
from tests.support.net import is_free
from tests.support.servers import require
from tests.support.stack import free_port_base
from tests.support.wait import wait_until

SHOP = Path(__file__).parents[2] / "examples" / "shop"
LIMIT_S = 240


class Stack:
    """The command line on one state folder and one copy of the shop."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder(folder / "state")
        self.base = free_port_base()
        self.ports = Ports(self.base)
        self.catalog = folder / "shop" / "opsloop.yaml"
        shutil.copytree(SHOP, self.catalog.parent, ignore=shutil.ignore_patterns("__pycache__"))
        self.edit(r"(scrape|evaluation)_interval: 5s", r"\1_interval: 1s")
        self.edit("scrape_timeout: 2s", "scrape_timeout: 1s")
        # The loop would restart what these tests break.
        self.edit("mode: auto", "mode: dry-run")

    def edit(self, pattern: str, text: str) -> None:
        changed, count = re.subn(pattern, text, self.catalog.read_text())
        assert count, f"{pattern} is not in the shop's catalog"
        self.catalog.write_text(changed)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "opsloop", *words, "--state", str(self.state.root)]

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*words), capture_output=True, text=True, timeout=LIMIT_S, env=environment()
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def popen(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def up(self, *more: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(*self.up_words(), *more, code=code)

    def up_words(self) -> tuple[str, ...]:
        where = ("--catalog", str(self.catalog), "--port-base", str(self.base))
        return ("up", *where, "--deadline", "120")

    def pids(self) -> dict[str, int]:
        """Program -> pid of what runs."""
        return {p["name"]: p["pid"] for p in self.json("status")["parts"] if p["pid"]}

    def everyone(self) -> set[int]:
        return processes.family({supervisord.find(self.state), *supervisord.orphans(self.state)})

    def get(self, path: str) -> Any:
        http = Http(scrape_password(self.state.secrets))
        try:
            return http.json(f"http://127.0.0.1:{self.ports.prometheus}{path}", protected=True)
        finally:
            http.close()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def a_stack() -> Iterator[Stack]:
    for program in ("prometheus", "prometheus-alertmanager", "postgres"):
        require(program)
    # Not below pytest's own folder: the database's user may not enter that one.
    with tempfile.TemporaryDirectory(prefix="ol-e2e-") as name:
        Path(name).chmod(0o755)
        stack = Stack(Path(name))
        try:
            yield stack
        finally:
            if stack.state.run.is_dir():
                left = stack.everyone()
                subprocess.run(stack.argv("down"), env=environment(), timeout=LIMIT_S, check=False)
                processes.end(left, signal.SIGKILL, 10)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with a_stack() as stack:
        yield stack


def assert_gone(stack: Stack, pids: Sequence[int] | set[int]) -> None:
    assert not [p for p in pids if processes.alive(p)]
    assert not supervisord.orphans(stack.state)
    assert supervisord.find(stack.state) == 0
    assert is_free(stack.ports.prometheus)


def test_up_end_to_end(stack: Stack) -> None:
    first_start(stack)
    again(stack)
    a_changed_threshold(stack)
    a_changed_process(stack)
    more_instances(stack)
    refusals(stack)
    what_died_is_started(stack)
    down_after_kill_9(stack)


def first_start(stack: Stack) -> None:
    """Two at once: the second waits for the first, and finds nothing left to do."""
    with stack.popen(*stack.up_words()) as first:
        try:
            wait_until(lambda: supervisord.find(stack.state), "the first is at work")
            second = stack.up()
            stdout, stderr = first.communicate(timeout=LIMIT_S)
        finally:
            first.kill()
    assert first.returncode == 0, stderr
    assert f"(pid {first.pid}) is changing this stack; waiting for it" in second.stderr
    assert "already up, and nothing changed" in second.stdout
    done = subprocess.CompletedProcess[str]([], 0, stdout, stderr)
    assert "the stack is up" in done.stdout
    assert f"http://127.0.0.1:{stack.ports.prometheus}" in done.stdout
    assert "the inbox stands in for Slack" in done.stdout
    assert "prometheus healthy" in done.stderr
    for secret in stack.state.secrets.iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert secret.read_text() not in done.stdout + done.stderr
        for built in stack.state.build.rglob("*.*"):
            assert secret.read_text() not in built.read_text()

    report = stack.json("status")
    assert report["healthy"]
    assert report["targets_up"] == report["targets"] >= 9
    assert report["watchdog_seen"]
    assert 50 < report["memory_mib"] < 700
    daemon = supervisord.find(stack.state)
    for part in report["parts"]:
        if part["wanted"]:
            assert part["health"] == "healthy"
            assert processes.parent_of(part["pid"]) == daemon
        else:
            assert (part["health"], part["pid"]) == ("off", 0)
    assert stack.run("logs", "prometheus", "-n", "3").stdout.count("\n") == 3
    assert "load-0: " not in stack.run("logs", "api").stdout
    assert stack.run("status").stdout.splitlines()[0].startswith("PART")
    assert not report["paused"]
    stack.run("pause", "--why", "moving house")
    assert "the loop is paused: moving house" in stack.run("status").stdout
    paused = stack.json("status")
    assert (paused["paused"], paused["paused_why"]) == (True, "moving house")
    stack.run("resume")


def again(stack: Stack) -> None:
    before = stack.pids()
    assert "already up, and nothing changed" in stack.up().stdout
    assert stack.pids() == before


def a_changed_threshold(stack: Stack) -> None:
    before = stack.pids()
    stack.edit("error_ratio: 5%", "error_ratio: 4%")
    done = stack.json("reload")
    assert set(done["reloaded"]) >= {"prometheus", "engine"}
    assert (done["restarted"], done["added"], done["removed"]) == ([], [], [])
    assert stack.pids() == before
    rules = [r for g in stack.get("/api/v1/rules")["data"]["groups"] for r in g["rules"]]
    assert any(r["name"] == "HighErrorRate" and "> 0.04" in r["query"] for r in rules)


def a_changed_process(stack: Stack) -> None:
    before = stack.pids()
    stack.edit(r"SHOP_DATABASE_PORT:", 'SHOP_EXTRA: "1", SHOP_DATABASE_PORT:')
    done = stack.json("reload")
    assert done["restarted"] == ["api"]
    after = stack.pids()
    assert {name for name in after if after[name] != before[name]} == {"api-0", "api-1"}


def more_instances(stack: Stack) -> None:
    before = stack.pids()
    stack.edit("wanted: 2", "wanted: 3")
    stack.json("reload")
    after = stack.pids()
    assert set(after) - set(before) == {"api-2"}
    assert json.loads((stack.state.targets / "api.json").read_text()) == [
        {"targets": [f"127.0.0.1:{stack.ports.process(8000, n)}" for n in range(3)]}
    ]


def refusals(stack: Stack) -> None:
    """Another offset, a broken catalog, a second stack on the same ports: nothing changes."""
    before = stack.pids()
    other = ("up", "--catalog", str(stack.catalog), "--port-base", str(stack.base + 1))
    assert f"runs with --port-base {stack.base}" in stack.run(*other, code=1).stderr
    good = stack.catalog.read_text()
    stack.edit("tier: 1", "tier: 99")
    assert "opsloop.yaml:" in stack.run("reload", code=2).stderr
    stack.catalog.write_text(good)
    second = StateFolder(stack.state.root.parent / "second")
    words = (*stack.up_words(), "--state", str(second.root))
    done = subprocess.run(
        [sys.executable, "-m", "opsloop", *words],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=LIMIT_S,
    )
    assert done.returncode == 3
    assert f"port {stack.ports.prometheus} (prometheus) is held by prometheus (pid" in done.stderr
    assert f"of the stack in {stack.state.root}" in done.stderr
    assert "--port-base" in done.stderr
    assert supervisord.find(second) == 0
    assert stack.pids() == before


def what_died_is_started(stack: Stack) -> None:
    before = stack.pids()
    os.kill(before["api-1"], signal.SIGKILL)
    wait_until(lambda: not processes.alive(before["api-1"]), "it is dead")
    assert stack.json("status", code=1)["healthy"] is False
    assert "started api-1" in stack.up().stdout
    after = stack.pids()
    assert {name for name in after if after[name] != before[name]} == {"api-1"}


def down_after_kill_9(stack: Stack) -> None:
    everyone = stack.everyone()
    assert len(everyone) > 12
    os.kill(supervisord.find(stack.state), signal.SIGKILL)
    assert "the stack is stopped" in stack.run("down").stdout
    assert_gone(stack, everyone)
    assert "was not running" in stack.run("down").stdout
    assert stack.json("status", code=1)["running"] is False
    assert "is not running" in stack.run("reload", code=1).stderr


def test_an_interrupted_start_leaves_nothing(stack: Stack) -> None:
    with stack.popen(*stack.up_words()) as process:
        try:
            wait_until(lambda: len(stack.everyone()) > 5, "some parts run", 60)
            everyone = stack.everyone()
            process.send_signal(signal.SIGINT)
            _, output = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 130, output
    assert "stopping what was started" in output
    assert_gone(stack, everyone)


def test_a_part_that_fails_stops_what_was_started(stack: Stack) -> None:
    stack.edit(r"api\.py, --port", "nowhere.py, --port")
    done = stack.up(code=1)
    assert re.search("api-[01] is not healthy: (fatal|exited)", done.stderr)
    assert "nowhere.py" in done.stderr  # its own last words
    assert "read `opsloop logs api-" in done.stderr
    assert_gone(stack, set())
