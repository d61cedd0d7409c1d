"""The engine's own times: receipt to action, ready with much stored, and forgetting beside alerts."""

from __future__ import annotations

import argparse
import http.client
import json
import re
import sqlite3
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks._output import Result, percentile, report, say
from benchmarks._rig import Rig, Shape, until
from benchmarks._world import Fault, World
from benchmarks.intake import syncs
from benchmarks.storm import pause
from opsloop import names
from opsloop.remediation.episode import Alert
from opsloop.store.sqlite import SqliteStore

STORED, OPEN = 100_000, 500
OLD = 4000  # episodes that are forgotten, with a run each
_BEGINS = re.compile(r"^(\S+Z) INFO opsloop\.engine (?:re)?start (\S+) begins", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 faults and a tenth stored")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    options = parser.parse_args()
    faults, share = (8, 10) if options.quick else (60, 1)
    if options.quick:
        say(f"--quick: {faults} faults, {STORED // share:,} episodes stored")
    with tempfile.TemporaryDirectory(prefix="oe-") as folder:
        synced = syncs(Path(folder))
        found = acting(Path(folder), faults, synced)
    with tempfile.TemporaryDirectory(prefix="oe-") as folder:
        found += ready(Path(folder), STORED // share)
    with tempfile.TemporaryDirectory(prefix="oe-") as folder:
        found += forgetting(Path(folder), OLD // share)
    report("engine", found, as_json=options.json)
    return 0


def acting(folder: Path, faults: int, synced: float) -> list[Result]:
    """One fault after the other on an idle engine: from the webhook's first byte to the line that
    is logged when the action's begin is durable."""
    rig = Rig(folder, Shape(services=2, max_runs=1000))
    world = World(rig, 1, 0, silent_share=0.0)
    waits: list[float] = []
    pauses: list[float] = []
    with rig.instances(), world.served():
        try:
            rig.start_engine()
            rig.wait_ready()
            for number in range(1, faults + 1):
                _settled(rig, world)
                world.episodes = number
                until(lambda n=number: _begun(world, n), "a fault begins")  # type: ignore[misc]
                (fault,) = world.facts()[0]
                sent = time.time()
                _tell(rig, fault)
                waits.append(_acted(rig, len(waits)) - sent)
            _settled(rig, world)
            pauses = [pause(rig) for _ in range(5)]
        finally:
            rig.kill_engine()
    limit = (
        "three questions to Prometheus and Alertmanager, one to supervisord, three commits;"
        f" the disk does {synced:,.0f} fsync/s"
    )
    return [
        Result("receipt to action, p50", _ms(percentile(waits, 0.5)), "ms", 10, limit=limit),
        Result("receipt to action, p99", _ms(percentile(waits, 0.99)), "ms", 50, limit=limit),
        Result("pause in force, idle, longest", _ms(max(pauses)), "ms", 1000, limit="one commit"),
    ]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _settled(rig: Rig, world: World) -> None:
    """Nothing fires, no run is open, and every instance may break again."""

    def calm() -> bool:
        world.turn()
        runs = rig.ask("GET", "/api/v1/runs?limit=20")[1]["runs"]
        return not world.firing and all(r["finished_at"] for r in runs)

    until(calm, "the engine is idle")
    time.sleep(1.5)  # starts are known in whole seconds, and evidence must be younger


def _begun(world: World, number: int) -> bool:
    world.turn()
    return world.begun >= number


def _tell(rig: Rig, fault: Fault) -> None:
    body = json.dumps({"version": "4", "alerts": [fault.alert("firing")]})
    connection = http.client.HTTPConnection("127.0.0.1", rig.ports.engine, timeout=20)
    connection.request("POST", "/api/v1/alerts", body, {"Authorization": f"Bearer {rig.token}"})
    if connection.getresponse().status != 200:
        raise RuntimeError("a webhook was refused")
    connection.close()


def _acted(rig: Rig, before: int) -> float:
    """When the next action began, unix seconds, in whole milliseconds."""
    until(lambda: len(_begins(rig)) > before, "it acts", 30, every=0.02)
    return _begins(rig)[before]


def _begins(rig: Rig) -> list[float]:
    found = _BEGINS.findall(rig.log.read_text())
    return [datetime.fromisoformat(at).astimezone(UTC).timestamp() for at, _ in found]


def ready(folder: Path, stored: int) -> list[Result]:
    """From the process's start to its first answer that it is ready."""
    rig = Rig(folder, Shape(services=2))
    world = World(rig, 1, 0)
    path = rig.state / names.STORE_FILE
    SqliteStore(path).close()
    _fill(path, stored, time.time())
    took: list[float] = []
    with world.served():
        for _ in range(3):
            try:
                rig.start_engine()
                took.append(rig.wait_ready())
            finally:
                rig.kill_engine()
    size = path.stat().st_size / 2**20
    return [
        Result(
            f"ready with {stored:,} episodes",
            percentile(took, 0.5),
            "s",
            2,
            limit="imports",
            note=f"median of 3; {OPEN} of them open; {size:.0f} MiB",
        )
    ]


def _fill(path: Path, stored: int, now: float) -> None:
    """Closed episodes of the last 80 days, and some that are open."""
    labels = json.dumps({"alertname": "Other", "service": "s0", "severity": "P2"})
    rows = [
        (f"{n:016x}", n, labels, n < OPEN, "watched" if n < OPEN else "closed", now - n * 60)
        for n in range(stored)
    ]
    with sqlite3.connect(path) as c:
        c.executemany(
            "INSERT INTO episodes (fingerprint, starts_ms, labels, annotations, firing, state,"
            " first_seen, last_seen, ended_at, service, rank)"
            " VALUES (?1, ?2, ?3, '{}', ?4, ?5, ?6, ?6, CASE WHEN ?4 THEN NULL ELSE ?6 END,"
            " 's0', 'P2')",
            rows,
        )
    c.close()


def forgetting(folder: Path, old: int) -> list[Result]:
    """How long an alert waits for its commit while old episodes are forgotten beside it."""
    with SqliteStore(folder / "engine.sqlite") as store:
        alerts = [Alert(f"{n:016x}", 1.0 + n, True, {"alertname": "x" * 200}) for n in range(old)]
        store.intake(alerts, 10.0)
        for episode in store.firing():
            store.escalate(episode, None, "x", {}, {"text": "y" * 500}, 11.0)
        store.end_episodes([e.id for e in store.firing()], 12.0)
        with sqlite3.connect(store.path) as c:
            c.execute("UPDATE episodes SET state = 'closed'")
        c.close()
        waits: list[float] = []
        over = threading.Event()

        def take() -> None:
            number = 0
            while not over.is_set():
                began = time.perf_counter()
                store.intake([Alert(f"new{number}", 1.0, True, {"alertname": "New"})], 1e9)
                waits.append(time.perf_counter() - began)
                number += 1
                time.sleep(0.002)

        thread = threading.Thread(target=take)
        thread.start()
        steps: list[float] = []
        try:
            while True:
                began = time.perf_counter()
                if not store.prune(1e8, 200, 1e9):
                    break
                steps.append(time.perf_counter() - began)
                time.sleep(0.02)
        finally:
            over.set()
            thread.join()
    return [
        Result(
            "an alert waits beside forgetting, longest",
            _ms(max(waits)),
            "ms",
            50,
            limit="one step of 200 episodes and 200 audit rows",
            note=f"of {len(waits)}; {old} episodes in {len(steps)} steps, the longest"
            f" {1000 * max(steps):.0f} ms",
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
