"""The engine's process: what it refuses to start with, kill -9, reload, a clean stop."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from opsloop import names
from opsloop.drivers.loop import EngineLoop
from opsloop.drivers.workers import ThreadWorkers
from opsloop.errors import InputError
from opsloop.store.sqlite import SqliteStore
from tests.drivers.test_wire import ALERT, payload
from tests.support.servers import Server
from tests.support.wait import wait_until
from tests.web.state import State, catalog, rss_mib, send

STOP_S = 30


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[State, Server]]:
    """An engine for tests that leave it running."""
    state = State(tmp_path_factory.mktemp("up") / "state")
    with state.start() as server:
        yield state, server


def alerts(*names_: str) -> bytes:
    return payload(*({**ALERT, "fingerprint": name} for name in names_))


def stored(state: State) -> set[str]:
    with SqliteStore(state.root / names.STORE_FILE) as store:
        assert store.verify_audit().ok
        return {e.fingerprint for e in store.episodes(10**6, closed=True)}


# What it refuses to start with: one sentence, and an exit code that says of which kind


def refusal(state: State) -> tuple[int, str]:
    code, said = state.refused()
    lines = said.splitlines()
    assert len(lines) == 1, said
    return code, lines[0]


def test_without_a_bundle(state: State) -> None:
    state.engine_json.unlink()
    code, said = refusal(state)
    assert code == 1
    assert "engine.json: No such file or directory; run `opsloop up`" in said


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "Invalid JSON"), ("{}", "catalog: Field required")]
)
def test_with_a_broken_bundle(state: State, text: str, reason: str) -> None:
    state.engine_json.write_text(text)
    code, said = refusal(state)
    assert code == 2
    assert reason in said


@pytest.mark.parametrize("name", [names.SECRET_WEBHOOK_TOKEN, names.SECRET_SCRAPE_PASSWORD])
def test_without_a_secret(state: State, name: str) -> None:
    (state.root / names.SECRETS_DIR / name).unlink()
    code, said = refusal(state)
    assert code == 3
    assert f"{name}: cannot be read" in said


def test_with_a_damaged_store(state: State) -> None:
    path = state.root / names.STORE_FILE
    path.parent.mkdir()
    path.write_bytes(b"damaged" * 1000)
    code, said = refusal(state)
    assert code == 3
    assert "is damaged" in said


def test_with_a_taken_port(state: State) -> None:
    with socket.create_server(("127.0.0.1", state.port)):
        code, said = refusal(state)
    assert code == 3
    assert f"port {state.port}: another process holds it" in said


def test_a_second_engine_on_one_state(up: tuple[State, Server]) -> None:
    state, server = up
    code, said = refusal(state)
    assert code == 3
    assert f"another engine runs on it (pid {server.pid})" in said
    assert server.get("/healthz")["ready"] is True


def test_wrong_usage(state: State) -> None:
    assert state.refused("engine")[0] == 2
    assert state.refused("nosuch")[0] == 2
    assert state.refused("inbox", "--state", str(state.root))[0] == 2


def test_an_inbox_on_a_taken_port(state: State) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
        code, said = state.refused("inbox", "--state", str(state.root), "--port", port)
    assert code == 3
    assert "another process holds it" in said


# While it runs, without Prometheus, Alertmanager and supervisord


def test_it_is_small_and_ready_though_everything_else_is_away(up: tuple[State, Server]) -> None:
    _, server = up
    health = server.get("/healthz")
    assert (health["status"], health["ready"], health["paused"]) == ("ok", True, False)
    assert rss_mib(server.pid) < 100


def test_it_writes_what_prometheus_should_scrape(up: tuple[State, Server]) -> None:
    state, _ = up
    assert state.scraped() == [f"127.0.0.1:{8000 + state.base + n}" for n in range(2)]


def test_over_real_connections_every_refusal_has_an_answer(up: tuple[State, Server]) -> None:
    _, server = up
    assert send(server, payload(alerts=[])).status == 200
    assert send(server, b"x").status == 400
    assert send(server, payload(), Authorization="Bearer wrong").status == 401
    # As a sender that announces too much: the answer comes before the body is there.
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(
            b"POST /api/v1/alerts HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Authorization: Bearer a-token\r\nContent-Length: 9000000000\r\n\r\n"
        )
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")
    # Chunked, without a length, and endless: given up at the limit.
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(
            b"POST /api/v1/alerts HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Authorization: Bearer a-token\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(12):
                sock.sendall(piece)
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert server.get("/healthz")["ready"] is True


def test_an_alert_is_decided_at_once_and_fails_closed(up: tuple[State, Server]) -> None:
    _, server = up
    labels = {**ALERT["labels"], "policy": "nosuch", "service": "web"}
    body = payload({**ALERT, "fingerprint": "decided", "labels": labels})
    assert send(server, body).status == 200
    wait_until(lambda: _episode(server, "decided")["reason"], "it is decided")
    assert server.get("/api/v1/runs") == {"runs": []}


def _episode(server: Server, fingerprint: str) -> Any:
    listed = server.get("/api/v1/episodes", all="1", limit="1000")["episodes"]
    return next(e for e in listed if e["fingerprint"] == fingerprint)


def test_pause_over_http_and_by_another_process(up: tuple[State, Server]) -> None:
    state, server = up
    assert server.post("/api/v1/pause", {"why": "x"}) == {"paused": True, "why": "x"}
    assert server.get("/healthz")["paused"] is True
    with SqliteStore(state.root / names.STORE_FILE) as store:
        store.resume("from the command line", time.time())
    assert server.get("/healthz")["paused"] is False


def test_sighup_takes_a_changed_bundle_and_refuses_a_broken_one(state: State) -> None:
    with state.start() as server:
        assert len(state.scraped()) == 2
        taken, first = _config(server)
        assert taken == 1
        state.write(catalog(wanted=3))
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(state.scraped()) == 3, "the changed bundle is in force")
        wait_until(lambda: _config(server)[1] > first, "it says so")
        state.engine_json.write_text("{")
        server.signal(signal.SIGHUP)
        wait_until(
            lambda: "the old engine.json stays in force" in server.tail(), "the broken is refused"
        )
        assert server.get("/healthz")["ready"] is True
        assert len(state.scraped()) == 3
        assert _config(server)[0] == 0


def _config(server: Server) -> tuple[float, float]:
    """(the last reload succeeded, when one last did), as other programs of the stack say it."""
    with urllib3.PoolManager(retries=False, timeout=60.0) as pool:
        text = pool.request("GET", server.url + "/metrics", headers=dict(server.headers)).data
    values = {
        f.name: f.samples[0].value
        for f in text_string_to_metric_families(text.decode())
        if f.samples
    }
    prefix = "opsloop_config_last_reload_success"
    return values[f"{prefix}ful"], values[f"{prefix}_timestamp_seconds"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked(state: State, number: signal.Signals) -> None:
    with state.start() as server:
        assert send(server, alerts("before")).status == 200
        server.process.send_signal(number)
        assert server.process.wait(STOP_S) == 0
    assert stored(state) == {"before"}
    with state.start() as again:  # at once: the lease was given back
        assert again.get("/healthz")["ready"] is True


class Storm:
    """Webhooks from several connections until the engine is gone; `known` were acknowledged."""

    def __init__(self, server: Server, name: str) -> None:
        self.known: set[str] = set()
        self._server = server
        self._name = name
        self._lock = threading.Lock()
        self._lanes = [threading.Thread(target=self._lane, args=(n,)) for n in range(4)]

    def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    def join(self) -> None:
        for lane in self._lanes:
            lane.join(60)

    def _lane(self, lane: int) -> None:
        for n in itertools.count():
            name = f"{self._name}l{lane}n{n}"
            try:
                if send(self._server, alerts(name, f"{name}b")).status != 200:
                    return
            except (urllib3.exceptions.HTTPError, OSError):
                return  # it was killed
            with self._lock:
                self.known.update((name, f"{name}b"))


def test_kill_9_loses_no_acknowledged_webhook_and_the_next_is_ready(state: State) -> None:
    rng = random.Random(3)
    known: set[str] = set()
    for turn in range(4):
        with state.start() as server:
            storm, count = Storm(server, f"t{turn}"), rng.randint(3, 120)
            storm.start()
            wait_until(partial(_reached, storm, count), "some are acknowledged", interval=0)
            server.process.kill()
            server.process.wait(STOP_S)
            storm.join()
        known |= storm.known
    assert known - stored(state) == set()
    assert len(known) > 12


def _reached(storm: Storm, count: int) -> bool:
    return len(storm.known) >= count


def test_a_full_disk_is_503_and_the_engine_lives_on(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        state = State(place / "state")
        with state.start() as server:
            assert send(server, alerts("before")).status == 200
            filler = place / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 4096)
            refused = wait_until(lambda: _refused(server), "the disk refuses")
            assert "the disk is full; make room" in refused
            assert server.process.poll() is None
            filler.unlink()
            wait_until(lambda: send(server, alerts("after")).status == 200, "it goes on")
            wait_until(lambda: server.get("/healthz")["ready"], "the loop goes on too")
        assert {"before", "after"} <= stored(state)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


_number = itertools.count()


def _refused(server: Server) -> str:
    labels = {**ALERT["labels"], "note": "x" * 4000}
    name = f"more{next(_number)}"
    response = send(server, payload({**ALERT, "fingerprint": name, "labels": labels}))
    assert response.status in (200, 503)
    return json.loads(response.data)["error"] if response.status == 503 else ""


# The loop's thread, with a scripted engine


class Scripted:
    """Counts its turns; `next_in` seconds is when it wants the next."""

    def __init__(self) -> None:
        self.turns = 0
        self.active = True
        self.failing = ""
        self.next_in = 3600.0
        self.fails = False
        self.reconciles = 0
        self.on_tick: Callable[[], None] = lambda: None

    def tick(self, now: float) -> float:
        self.turns += 1
        self.on_tick()
        if self.fails:
            raise ZeroDivisionError
        return now + self.next_in

    def reconcile_soon(self) -> None:
        self.reconciles += 1


class Driven:
    """A loop over scripted engines; each reload makes another."""

    def __init__(self) -> None:
        self.made: list[Scripted] = []
        self.broken = False
        self.workers = ThreadWorkers(self._wake)
        self.loop = EngineLoop(self._make, self.workers)  # type: ignore[arg-type]

    def _wake(self) -> None:
        self.loop.wake()

    def _make(self) -> Scripted:
        if self.broken:
            raise InputError("engine.json", "is broken")
        engine = Scripted()
        # As the engine does: it takes the workers' results at each turn.
        engine.on_tick = self._take
        self.made.append(engine)
        return engine

    def _take(self) -> None:
        self.workers.done()


def turned(engine: Scripted, before: int) -> bool:
    return engine.turns > before


@pytest.fixture
def driven() -> Iterator[Driven]:
    made = Driven()
    made.loop.start()
    wait_until(lambda: made.made[0].turns >= 1, "the first turn")
    yield made
    made.loop.stop(10)
    assert made.workers.close(10)


def test_a_wake_is_a_turn(driven: Driven) -> None:
    engine = driven.made[0]
    for _ in range(3):
        before = engine.turns
        driven.loop.wake()
        wait_until(partial(turned, engine, before), "it turned")
    assert driven.loop.not_ready() == ""


def test_a_turn_that_fails_is_not_the_last(driven: Driven) -> None:
    engine = driven.made[0]
    engine.fails = True
    driven.loop.wake()
    before = engine.turns
    wait_until(lambda: engine.turns > before + 1, "it turns on by itself")
    assert driven.loop.not_ready() == ""


def test_what_was_left_out_is_read_at_the_next_turn(driven: Driven) -> None:
    engine = driven.made[0]
    before = engine.turns
    driven.loop.reconcile()
    wait_until(lambda: engine.turns > before, "it turned")
    assert engine.reconciles == 1


def test_a_reload_waits_until_no_action_is_under_way(driven: Driven) -> None:
    gate = threading.Event()
    driven.workers.submit("action", lambda: gate.wait(60))
    driven.loop.reload()
    engine = driven.made[0]
    for _ in range(5):
        before = engine.turns
        driven.loop.wake()
        wait_until(partial(turned, engine, before), "the old one turns on")
    assert len(driven.made) == 1
    gate.set()
    wait_until(lambda: len(driven.made) == 2, "the new one is there")
    wait_until(lambda: driven.made[1].turns > 0, "and turns")


def test_a_reload_that_fails_keeps_the_old_one(driven: Driven) -> None:
    driven.broken = True
    driven.loop.reload()
    engine = driven.made[0]
    wait_until(lambda: not driven.loop._reload, "it was tried")
    before = engine.turns
    driven.loop.wake()
    wait_until(lambda: engine.turns > before, "the old one turns on")


def test_a_stop_waits_for_what_is_under_way(driven: Driven) -> None:
    gate = threading.Event()
    driven.workers.submit("action", lambda: gate.wait(60))
    stopping = threading.Thread(target=driven.loop.stop, args=(60,))
    stopping.start()
    engine = driven.made[0]
    before = engine.turns
    driven.loop.wake()
    wait_until(lambda: engine.turns > before, "it turns on, to take the result")
    assert stopping.is_alive()
    gate.set()
    stopping.join(60)
    assert not stopping.is_alive()
    assert driven.workers.idle()  # the result was taken before the end
    assert driven.loop.not_ready() == "the loop ended"


def test_a_stop_does_not_wait_for_ever(driven: Driven) -> None:
    gate = threading.Event()
    driven.workers.submit("action", lambda: gate.wait(60))
    driven.loop.stop(0.2)
    assert driven.loop.not_ready() == "the loop ended"
    gate.set()


def test_an_engine_without_the_lease_is_not_ready(driven: Driven) -> None:
    driven.made[0].active = False
    assert "another engine is active" in driven.loop.not_ready()


def test_a_loop_that_hangs_is_not_ready(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsloop.drivers.loop.STUCK_S", 0.05)
    gate = threading.Event()

    def hang() -> None:
        gate.wait(60)

    driven.made[0].on_tick = hang
    driven.loop.wake()
    wait_until(lambda: "has not turned" in driven.loop.not_ready(), "it is seen")
    driven.made[0].on_tick = lambda: None
    gate.set()
