"""A storm of deliveries over many episodes on real instances: nothing lost, doubled or overdone."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks._judge import Findings, judge
from benchmarks._output import Result, percentile, report, say
from benchmarks._rig import Rig, Shape, until
from benchmarks._senders import Senders
from benchmarks._world import World

EPISODES, DELIVERIES = 1000, 100_000
REST_S = 180.0  # for the last episodes to close: a list of Alertmanager, and a look each 5 s
PAUSES = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="60 episodes on 20 targets")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    parser.add_argument("--seed", type=int, default=1, help="of what is delivered when [1]")
    options = parser.parse_args()
    episodes = 60 if options.quick else EPISODES
    shape = Shape(services=4, max_runs=12) if options.quick else Shape()
    if options.quick:
        say(f"--quick: {episodes} episodes on {shape.services * shape.instances} targets")
    with tempfile.TemporaryDirectory(prefix="os-") as folder:
        done = storm(Path(folder), shape, episodes, DELIVERIES // EPISODES, options.seed)
    report("storm", results(done), as_json=options.json)
    for text in done.findings.broken:
        say(f"broken: {text}")
    return 0


@dataclass(frozen=True)
class Storm:
    """What a storm came to. pauses_s: how long each pause took to be in force."""

    findings: Findings
    delivered: int
    took_s: float
    peak_mib: float
    pauses_s: list[float]
    wrong: list[str]


def storm(folder: Path, shape: Shape, episodes: int, per_episode: int, seed: int) -> Storm:
    """One engine from the first fault to the last episode's end."""
    rig = Rig(folder, shape)
    world = World(rig, seed, episodes)
    senders = Senders(world, seed, per_episode)
    pauses: list[float] = []
    with rig.instances(), world.served():
        try:
            rig.start_engine()
            rig.wait_ready()
            began = time.monotonic()
            senders.start()
            with progress(lambda: f"{len(world.ended)} of {episodes} episodes over"):
                for nth in range(PAUSES):
                    share = (nth + 1) * episodes // (PAUSES + 1)
                    until(lambda n=share: len(world.ended) >= n, "the storm goes on", 1200)  # type: ignore[misc]
                    pauses.append(pause(rig))
                until(lambda: _over(world), "every episode is over", 1200)
                whole = per_episode * episodes
                until(lambda: senders.delivered >= whole, "every delivery was answered", 600)
            took = time.monotonic() - began
            senders.stop()
            rest(rig, world)
            peak = rig.peak_mib()
        finally:
            senders.stop()
            rig.kill_engine()
        return Storm(
            judge(rig, world, senders),
            senders.delivered,
            took,
            peak,
            pauses,
            senders.answered_wrongly,
        )


def _over(world: World) -> bool:
    world.turn()
    return world.over


def pause(rig: Rig) -> float:
    """Seconds from the question to the answer, after which no action begins; then on again."""
    began = time.monotonic()
    status, _ = rig.ask("POST", "/api/v1/pause", {"why": "storm"})
    took = time.monotonic() - began
    if status != 200:
        raise RuntimeError(f"pause answered {status}")
    time.sleep(0.5)  # so that something would have begun
    rig.ask("POST", "/api/v1/resume", {})
    return took


def rest(rig: Rig, world: World) -> None:
    """Until the engine has closed every episode."""

    def rests() -> bool:
        world.turn()
        with contextlib.suppress(OSError):
            status, said = rig.ask("GET", "/api/v1/episodes?limit=1000")
            runs = rig.ask("GET", "/api/v1/runs?limit=1000")[1]["runs"]
            ended = all(r["finished_at"] for r in runs)
            return status == 200 and not said["episodes"] and ended
        return False

    with contextlib.suppress(RuntimeError):  # what is still open is found by the judge
        until(rests, "the engine comes to rest", REST_S, every=0.5)


@contextlib.contextmanager
def progress(what: Callable[[], str], every_s: float = 10.0) -> Iterator[None]:
    """Say how far it is, on stderr."""
    ended = threading.Event()
    began = time.monotonic()

    def tell() -> None:
        while not ended.wait(every_s):
            say(f"{time.monotonic() - began:5.0f} s: {what()}")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def results(done: Storm) -> list[Result]:
    found, counts = done.findings, done.findings.counts
    note = f"{counts['episodes']} episodes, {counts['runs']} runs, {counts['actions']} restarts"
    return [
        Result("deliveries answered", done.delivered, "", note=f"in {done.took_s:.0f} s"),
        Result("lost", len(found.lost), "alerts", 0, note=note),
        Result("doubled", len(found.doubled), "actions, runs or pages", 0),
        Result("runs that end in an untrue state", len(found.untrue), "runs", 0),
        Result(
            "budget broken",
            len(found.budget),
            "times",
            0,
            note=f"{counts['escalations']} episodes were told to people instead",
        ),
        Result("radius broken", len(found.radius), "times", 0),
        Result("damage to the store or its audit", len(found.damaged), "", 0),
        Result("answers that are wrong", len(done.wrong), "", 0, note="; ".join(done.wrong)),
        Result("actions that began during a pause", len(found.paused), "", 0),
        Result(
            "pause in force, longest",
            None if not done.pauses_s else 1000 * max(done.pauses_s),
            "ms",
            1000,
            limit="one commit behind what is being committed",
            note=f"of {len(done.pauses_s)} in the storm; p50"
            f" {1000 * (percentile(done.pauses_s, 0.5) or 0):.0f} ms",
        ),
        Result("engine's memory, most", done.peak_mib, "MiB", 300),
    ]


if __name__ == "__main__":
    sys.exit(main())
