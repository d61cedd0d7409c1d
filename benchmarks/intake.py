"""The engine's intake: webhooks and alerts a second, durable before 200, and how soon answered."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks._client import deliver, post
from benchmarks._output import Result, percentile, report, say
from benchmarks._rig import memory_mib
from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.catalog.model import Catalog
from opsloop.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[1]
AT_ONCE = 64
RATE = 500  # webhooks a second, for the time to an answer
CATALOG = {"apiVersion": "opsloop/v1", "services": {"api": {"team": "shop"}}}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: a fifth of it")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    options = parser.parse_args()
    share = 5 if options.quick else 1
    if options.quick:
        say("--quick: a fifth of the deliveries")
    with tempfile.TemporaryDirectory(prefix="opsloop-intake-") as folder:
        results = measured(Path(folder), share)
    report("intake", results, as_json=options.json)
    return 0


def measured(folder: Path, share: int) -> list[Result]:
    synced = syncs(folder)
    limit = f"CPU of client and engine on the same cores; the disk does {synced:,.0f} fsync/s"
    single = storm(folder / "single", 50_000 // share, 1)
    tens = storm(folder / "tens", 10_000 // share, 10)
    calm = steady(folder / "calm", 20 // share)
    lost = single.lost + tens.lost + calm.lost
    return [
        Result(
            f"webhooks of one alert, {AT_ONCE} at once",
            single.a_second,
            "/s",
            5000,
            ">=",
            limit=limit,
        ),
        Result("alerts, ten a webhook", 10 * tens.a_second, "/s", 30_000, ">=", limit=limit),
        Result(
            f"answered at {RATE}/s, p99",
            None if calm.p99_s is None else 1000 * calm.p99_s,
            "ms",
            10,
            limit="one fsync for what came meanwhile",
        ),
        Result(
            "acknowledged and lost after kill -9", lost, "alerts", 0, note="of all of the above"
        ),
        Result(
            "engine's CPU for an alert, one a webhook",
            single.cpu_us,
            "us",
            note="with its decision; does not depend on who else uses the machine",
        ),
        Result("engine's CPU for an alert, ten a webhook", tens.cpu_us, "us", note="as above"),
        Result("engine, RSS after the storms", single.rss_mib, "MiB", 300),
    ]


def syncs(folder: Path, seconds: float = 1.0) -> float:
    """fsync a second of this disk, of 4 KiB each."""
    path = folder / "sync"
    with path.open("wb") as out:
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            out.write(b"x" * 4096)
            out.flush()
            os.fsync(out.fileno())
            count += 1
    path.unlink()
    return count / seconds


@dataclass(frozen=True)
class Storm:
    """What one run came to. lost: alerts that were answered with 200 and are not in the store."""

    a_second: float
    lost: int
    rss_mib: float
    cpu_us: float  # of the engine, for each alert
    p99_s: float | None = None


def storm(state: Path, webhooks: int, alerts: int) -> Storm:
    """As fast as it goes, from AT_ONCE connections."""
    with engine(state) as (process, port, token):
        requests = [request(port, token, nth, alerts) for nth in range(webhooks)]
        idle_s = _cpu_s(process.pid)
        began = time.monotonic()
        answered, _ = _delivered(port, requests)
        took = time.monotonic() - began
        rss, cpu_us = memory_mib(process.pid), 1e6 * (_cpu_s(process.pid) - idle_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
    lost = answered * alerts - stored(state)
    return Storm(answered / took, lost, rss, cpu_us / max(1, answered * alerts))


def steady(state: Path, seconds: int) -> Storm:
    """RATE webhooks a second; how long each waits for its answer."""
    with engine(state) as (process, port, token):
        requests = [request(port, token, nth, 1) for nth in range(RATE * seconds)]
        idle_s = _cpu_s(process.pid)
        began = time.monotonic()
        answered, waits = _delivered(port, requests, 1 / RATE)
        took = time.monotonic() - began
        rss, cpu_us = memory_mib(process.pid), 1e6 * (_cpu_s(process.pid) - idle_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
    lost, p99_s = answered - stored(state), percentile(waits, 0.99)
    return Storm(answered / took, lost, rss, cpu_us / max(1, answered), p99_s)


def _delivered(
    port: int, requests: list[bytes], every: float | None = None
) -> tuple[int, list[float]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(deliver(port, requests, AT_ONCE, every))


def request(port: int, token: str, nth: int, alerts: int) -> bytes:
    """One webhook as Alertmanager sends it; every alert is a new one."""
    told = [
        {
            "status": "firing",
            "labels": {
                "alertname": "ServiceDown",
                "service": "api",
                "severity": "P0",
                "team": "shop",
                "instance": f"10.0.{nth % 250}.{k}:8000",
            },
            "annotations": {"summary": "it is down", "description": "no answer " * 10},
            "startsAt": "2026-11-24T07:15:30.328Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://127.0.0.1/graph",
            "fingerprint": f"{nth:012x}{k:04x}",
        }
        for k in range(alerts)
    ]
    body: dict[str, Any] = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "engine",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
        "alerts": told,
    }
    return post(port, token, json.dumps(body).encode())


@contextlib.contextmanager
def engine(state: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, str]]:
    """The engine's process, with nothing else of the stack; (process, port, token)."""
    token = secrets.token_urlsafe()
    folder = state / names.SECRETS_DIR
    folder.mkdir(parents=True)
    (folder / names.SECRET_SCRAPE_PASSWORD).write_text(secrets.token_urlsafe())
    (folder / names.SECRET_WEBHOOK_TOKEN).write_text(token)
    base = _free() - 8081
    given = EngineInput(catalog=Catalog.model_validate(CATALOG), facts=[], port_base=base)
    path = state / names.BUILD_DIR / names.ENGINE_JSON
    path.parent.mkdir(parents=True)
    path.write_text(given.model_dump_json(by_alias=True))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPSLOOP_SOCKET": "/nowhere"}
    with (state / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "opsloop.app", "engine", "--state", str(state)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    port = 8081 + base
    try:
        _until_open(process, port)
        yield process, port, token
    finally:
        process.kill()
        process.wait()


def stored(state: Path) -> int:
    with SqliteStore(state / names.STORE_FILE) as store:
        return len(store.episodes(10**9, closed=True))


def _free() -> int:
    """A port above the engine's own, so that its offset is not negative."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port > 20_000:
            return port


def _until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit("the engine did not start")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the engine does not listen")


def _cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
