"""A scripted Prometheus and Alertmanager over HTTP: faults of real instances, and their alerts."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs

from benchmarks._rig import Rig, Target
from opsloop import names

SETTLE_S: Final = 1.3  # between a start and the next fault: starts are known in whole seconds
BY_HAND_S: Final = 12.0  # a fault that the loop leaves alone for so long is mended by a person


@dataclass(frozen=True)
class Fault:
    """One fault, and so one episode. Unix seconds. silent: no webhook tells of it, only the list."""

    number: int
    target: Target
    began_at: float
    silent: bool
    labels: dict[str, str] = field(repr=False, default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return f"{self.number:016x}"

    def alert(self, status: str, ended_at: float | None = None) -> dict[str, Any]:
        """As Alertmanager tells it."""
        return {
            "status": status,
            "labels": self.labels,
            "annotations": {"summary": f"{self.target.name} is down"},
            "startsAt": moment(self.began_at),
            "endsAt": "0001-01-01T00:00:00Z" if ended_at is None else moment(ended_at),
            "generatorURL": "http://127.0.0.1/graph",
            "fingerprint": self.fingerprint,
        }


class World:
    """The truth. A fault ends when its instance is started, or by hand.

    gap_s: how long an instance is well on average once it has settled, seconds; 0: not at all.
    """

    def __init__(
        self, rig: Rig, seed: int, episodes: int, silent_share: float = 0.03, gap_s: float = 0.0
    ) -> None:
        self.rig = rig
        self.episodes = episodes
        self.firing: dict[str, Fault] = {}  # by target
        self.ended: list[tuple[Fault, float]] = []
        self.by_hand: set[int] = set()
        self.posted: dict[str, set[str]] = {}  # the engine's own alerts: name -> fingerprints
        self.begun = 0
        self._silent_share = silent_share
        self._gap_s = gap_s
        self._rng = random.Random(seed)
        self._ready_at: dict[str, float] = {}
        self._seen = 0  # bytes of the ledger
        self._lock = threading.Lock()

    def turn(self) -> None:
        """End what was cured, begin new faults where an instance has settled."""
        now = time.time()
        with self._lock:
            self._take_starts()
            for fault in list(self.firing.values()):
                if now - fault.began_at > BY_HAND_S:
                    self.by_hand.add(fault.number)
                    self._end(fault, now)
            for target in self.rig.targets:
                if self.begun >= self.episodes:
                    break
                if target.name not in self.firing and now >= self._ready_at.get(target.name, 0.0):
                    self._begin(target, now)

    def _take_starts(self) -> None:
        if not self.rig.ledger.exists():
            return
        with self.rig.ledger.open("rb") as file:
            file.seek(self._seen)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._seen += len(whole)
        for line in whole.decode().splitlines():
            target, _, at = line.split()
            self._rest(target, float(at))
            fault = self.firing.get(target)
            if fault is not None and float(at) > fault.began_at:
                self._end(fault, float(at))

    def _begin(self, target: Target, now: float) -> None:
        labels = {
            "alertname": names.SERVICE_DOWN,
            "service": target.service,
            "instance": target.address,
            "policy": self.rig.policy_of(target.service),
            "severity": "P0",
            "team": "storm",
        }
        silent = self._rng.random() < self._silent_share
        at = int(now * 1000) / 1000
        self.firing[target.name] = Fault(self.begun + 1, target, at, silent, labels)
        self.begun += 1

    def _end(self, fault: Fault, at: float) -> None:
        del self.firing[fault.target.name]
        self.ended.append((fault, at))
        self._rest(fault.target.name, at)

    def _rest(self, target: str, at: float) -> None:
        """Its alert takes a moment to resolve, and the next fault is another one."""
        well_s = self._rng.expovariate(1 / self._gap_s) if self._gap_s else 0.0
        self._ready_at[target] = max(self._ready_at.get(target, 0.0), at + SETTLE_S + well_s)

    def facts(self) -> tuple[list[Fault], list[tuple[Fault, float]]]:
        """(firing, ended with the time of it), to tell of."""
        with self._lock:
            return list(self.firing.values()), list(self.ended)

    @property
    def over(self) -> bool:
        return self.begun >= self.episodes and not self.firing

    # What Prometheus and Alertmanager say

    def answer(self, expr: str) -> list[dict[str, Any]]:
        self.turn()
        now = time.time()
        if expr == "down":
            firing, _ = self.facts()
            return [_sample(f.target, now, 0) for f in firing]
        value = now if expr == "fresh" else 1
        return [_sample(t, now, value) for t in self.rig.targets]

    def listed(self) -> list[dict[str, Any]]:
        self.turn()
        firing, _ = self.facts()
        status = {"state": "active", "silencedBy": [], "inhibitedBy": []}
        return [{**f.alert("firing"), "status": status} for f in firing]

    def post(self, alerts: list[dict[str, Any]]) -> None:
        for alert in alerts:
            labels = alert["labels"]
            key = json.dumps(labels, sort_keys=True)
            self.posted.setdefault(labels["alertname"], set()).add(key)

    @contextmanager
    def served(self) -> Iterator[None]:
        """On the ports where the engine looks for Prometheus and Alertmanager."""
        servers = []
        try:
            for port in (self.rig.ports.prometheus, self.rig.ports.alertmanager):
                server = _Server(("127.0.0.1", port), _Handler)
                server.world = self
                servers.append(server)
                threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            yield
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    world: World

    def handle_error(self, request: object, client_address: object) -> None:
        """An engine that is killed leaves its connections: anything else is a bug here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._say(self.server.world.listed())

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # who asked was killed meanwhile
            self.close_connection = True
            return
        if self.path.startswith("/api/v2/alerts"):
            self.server.world.post(json.loads(body))
            self._say({})
            return
        expr = parse_qs(body.decode())["query"][0]
        result = self.server.world.answer(expr)
        self._say({"status": "success", "data": {"resultType": "vector", "result": result}})

    def _say(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing: what is asked is no news."""


def _sample(target: Target, now: float, value: float) -> dict[str, Any]:
    labels = {"service": target.service, "instance": target.address}
    return {"metric": labels, "value": [now, repr(float(value))]}


def moment(seconds: float) -> str:
    """Unix seconds as Alertmanager writes a time."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
