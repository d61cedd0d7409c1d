"""The closed loop on a stack of its own: start, memory, and drills again and again."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks._output import Result, percentile, report, say

ROOT = Path(__file__).parents[1]
SHOP = ROOT / "examples" / "shop"
QUICK_S = 34.0  # no further drill begins later than this in --quick
FIRST_CATALOG = """\
apiVersion: opsloop/v1
services:
  checkout:
    team: payments
    runbook: https://wiki.example.org/checkout
    targets: {static: ["10.0.0.5:8000", "10.0.0.6:8000"]}
    metrics: http
    alerts: {error_ratio: 2%, latency_p95: 300ms}
hosts:
  web-1: {targets: {static: ["10.0.0.5:9100"]}}
probes:
  front: {type: http, target: "https://shop.example.org/", service: checkout}
notifications:
  slack: {channel: "#payments"}
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: one drill or two")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    parser.add_argument("--runs", type=int, default=20, help="drills of each kind [20]")
    parser.add_argument("--scrape", default="5s", help="scrape interval of the shop [5s]")
    parser.add_argument("--seed", type=int, default=1, help="of the faults' phases [1]")
    options = parser.parse_args()
    began = time.monotonic()
    results = command_line(3 if options.quick else 7)
    with stack(options.scrape) as (state, up_s):
        results.append(
            Result(
                "make run, warm",
                up_s,
                "s",
                25,
                limit="first scrapes, and the Watchdog through Alertmanager",
                note="opsloop up on an empty state folder; everything is installed",
            )
        )
        results += memory(state)
        more: Callable[[], bool] = lambda: True  # noqa: E731
        if options.quick:
            more = lambda: time.monotonic() - began < QUICK_S  # noqa: E731
        rng = random.Random(options.seed)
        kills = drills(state, "service-kill", options.runs, options.scrape, rng, more)
        hangs = drills(state, "service-hang", options.runs, options.scrape, rng, more)
    results += judged(kills, hangs, options.scrape, quick=options.quick)
    if options.quick:
        say(f"--quick: {len(kills)} kills and {len(hangs)} hangs instead of {options.runs} each")
    report("loop", results, as_json=options.json)
    return 0


def opsloop(*words: str) -> list[str]:
    return [sys.executable, "-m", "opsloop", *words]


def command_line(times: int) -> list[Result]:
    """Start and check times: the median of several runs, the interpreter included."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "opsloop.yaml"
        catalog.write_text(FIRST_CATALOG)
        check = _median(opsloop("check", "--catalog", str(catalog)), times)
    program = Path(sys.executable).with_name("opsloop")
    start = _median([str(program), "--help"] if program.exists() else opsloop("--help"), times)
    return [
        Result("opsloop check, 15 lines", check, "s", 0.4, limit="imports (pydantic, yaml)"),
        Result("opsloop --help", start, "s", 0.25, limit="the interpreter's start"),
    ]


def _median(command: list[str], times: int) -> float | None:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return percentile(seconds, 0.5)


@contextlib.contextmanager
def stack(
    scrape: str, change: Callable[[str], str] = lambda text: text
) -> Iterator[tuple[Path, float]]:
    """The shop on free ports with a state folder of its own; yields it and how long `up` took.

    change: of the text of its catalog.
    """
    folder = Path(tempfile.mkdtemp(prefix="ob-"))
    shop = folder / "shop"
    shutil.copytree(SHOP, shop, ignore=shutil.ignore_patterns("__pycache__"))
    catalog = shop / "opsloop.yaml"
    text = catalog.read_text().replace("scrape_interval: 5s", f"scrape_interval: {scrape}")
    if scrape == "2s":
        text = text.replace("scrape_timeout: 2s", "scrape_timeout: 1s")
    catalog.write_text(change(text))
    state = folder / "state"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPSLOOP_")}
    try:
        words = ("--catalog", str(catalog), "--state", str(state), "--port-base", str(_base()))
        began = time.monotonic()
        done = subprocess.run(
            opsloop("up", *words),
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        up_s = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"the stack did not start: {done.stderr.strip()}")
        say(f"the stack is up after {up_s:.1f} s")
        yield state, up_s
    finally:
        subprocess.run(
            opsloop("down", "--state", str(state)),
            check=False,
            capture_output=True,
            env=environment,
        )
        _remove_database(state)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_database(state: Path) -> None:
    """As root the cluster may lie where its own user can reach it."""
    record = state / "data" / "database.path"
    if record.exists():
        cluster = Path(record.read_text().strip())
        if state not in cluster.parents and cluster.parent.name.startswith("opsloop-database-"):
            shutil.rmtree(cluster.parent, ignore_errors=True)


def _base() -> int:
    """A port offset at which the whole stack finds its ports free."""
    from opsloop.settings import Ports
    from opsloop.stack.ports import is_free

    for base in range(11000, 20000, 37):
        ports = Ports(base)
        own = (
            *(ports.prometheus, ports.alertmanager, ports.engine, ports.inbox),
            *(ports.node_exporter, ports.blackbox_exporter, ports.postgres_exporter),
            *(ports.process(8000, slot) for slot in range(5)),
            ports.process(5433),
        )
        if all(is_free(port) for port in own):
            return base
    raise SystemExit("no free port offset between 11000 and 20000")


def memory(state: Path) -> list[Result]:
    """PSS: each shared page is counted once over the processes that share it."""
    from opsloop.stack import processes, supervisord
    from opsloop.stack.state import StateFolder

    folder = StateFolder(state)
    whole = processes.memory_mib(supervisord.find(folder))
    engine = supervisord.client(folder).process("engine:engine").pid
    return [
        Result("whole stack, PSS", whole, "MiB", 700, limit="Prometheus and six Python processes"),
        Result("engine, PSS", processes.memory_mib(engine), "MiB", 100),
    ]


def drills(
    state: Path, name: str, runs: int, scrape: str, rng: random.Random, more: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Up to `runs` drills, each at a random phase between two scrapes."""
    from opsloop.catalog.units import Duration
    from opsloop.drills.drill import Session, only_one
    from opsloop.drills.faults import aim
    from opsloop.drills.kinds import DRILLS
    from opsloop.drills.timeline import as_json
    from opsloop.drills.watch import World
    from opsloop.stack.state import StateFolder

    found: list[dict[str, Any]] = []
    world = World(StateFolder(state))
    try:
        with only_one(world, name):
            while len(found) < runs and more():
                session = Session(world, aim(world.engine, DRILLS[name]), Silent())
                delay = rng.uniform(0, Duration.parse(scrape).seconds)
                result = session.run(delay_s=delay)
                found.append(as_json(result.timeline, result.verdict, control=False))
                say(
                    f"{name} {len(found)}: {result.verdict.reason};"
                    f" answering {found[-1]['answering_s']} s, verified {found[-1]['verified_s']} s"
                )
    finally:
        world.close()
    return found


class Silent:
    """Nobody watches."""

    def note(self, text: str) -> None: ...

    def mark(self, stage: Any, seconds: float, note: str) -> None: ...

    def tick(self, seconds: float) -> None: ...


def judged(
    kills: list[dict[str, Any]], hangs: list[dict[str, Any]], scrape: str, *, quick: bool
) -> list[Result]:
    every = kills + hangs
    fast = scrape == "2s"
    wait = f"phase to the next scrape (0 to {scrape}), evaluation (1 s), start of the process"
    note = f"{len(kills)} runs, scrape {scrape}" + (", quick" if quick else "")
    hang_note = f"{len(hangs)} runs, scrape {scrape}" + (", quick" if quick else "")
    cron = "a check each minute: 30 s"
    return [
        Result(
            "service-kill, answering p50",
            _of(kills, "answering_s", 0.5),
            "s",
            3.5 if fast else 6,
            peer=cron,
            limit=wait,
            note=note,
        ),
        Result(
            "service-kill, answering p95",
            _of(kills, "answering_s", 0.95),
            "s",
            None if fast else 8.5,
            limit=wait,
            note=note,
        ),
        Result(
            "service-kill, verified p95",
            _of(kills, "verified_s", 0.95),
            "s",
            25,
            limit="samples newer than the action, and the hold of 6 s",
            note=note,
        ),
        Result(
            "service-hang, answering p95",
            _of(hangs, "answering_s", 0.95),
            "s",
            None if fast else 10,
            peer="systemd Restart=always: never",
            limit=f"as a kill, and the scrape's timeout ({'1s' if fast else '2s'})",
            note=hang_note,
        ),
        Result(
            "drills healed",
            100.0 * sum(r["healed"] for r in every) / len(every) if every else None,
            "%",
            100,
            op=">=",
        ),
        Result("pages", float(sum(r["pages"] for r in every)) if every else None, "", 0),
    ]


def _of(found: list[dict[str, Any]], field: str, share: float) -> float | None:
    return percentile([r[field] for r in found if r[field] is not None], share)


if __name__ == "__main__":
    raise SystemExit(main())
