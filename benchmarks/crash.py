"""kill -9 of the real engine at random moments of a storm: what it said is true afterwards."""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._disk import Cut, SmallDisk, small_disk
from benchmarks._judge import Findings, judge
from benchmarks._output import Result, percentile, report, say
from benchmarks._rig import ROOT, Rig, Shape
from benchmarks._senders import Senders
from benchmarks._world import World
from benchmarks.storm import progress, rest

KILLS, SEED = 1000, 20261124
EARLY = 0.15  # share of the kills that come while it starts
LONG = 0.05  # share of those after which it lives long enough to have to decide what is due
AFTER_S, LATEST_S = 1.2, 9.0  # the others come so long after it is ready: the mean, the most
GAP_S = 12.0  # an instance is well for so long, or every start finds all of them broken at once
PER_EPISODE = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 kills, no disk")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    parser.add_argument("--kills", type=int, default=None, help=f"how many [{KILLS}]")
    parser.add_argument("--minutes", type=float, default=None, help="no further kill after these")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the moments [{SEED}]")
    options = parser.parse_args()
    kills = options.kills if options.kills is not None else (8 if options.quick else KILLS)
    shape = Shape(services=4) if options.quick else Shape(max_runs=400)
    limit_s = float("inf") if options.minutes is None else 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="oc-") as folder:
        done = crashes(Path(folder), shape, kills, options.seed, limit_s)
    found = results(done, options.seed)
    for text in done.findings.broken:
        say(f"broken: {text}")
    if not options.quick:
        for kind in ("full", "read-only"):
            say(f"a disk that is {kind}")
            try:
                found += on_disk(kind, options.seed)
            except RuntimeError as error:  # what was found before is told all the same
                found.append(Result(f"{kind} disk", None, "", note=f"did not end: {error}"))
    report("crash", found, as_json=options.json)
    return 0


@dataclass
class Crashes:
    """What came of it. ready_s: from each start to ready, of those that lived so long."""

    kills: int = 0
    early: int = 0  # killed before it was ready
    during: int = 0  # actions that a kill cut short
    acknowledged: int = 0
    ready_s: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # starts that failed
    findings: Findings = field(default_factory=Findings)
    wrong: list[str] = field(default_factory=list)


def crashes(
    folder: Path,
    shape: Shape,
    kills: int,
    seed: int,
    limit_s: float = float("inf"),
    source: Path = ROOT / "src",
    per_episode: int = PER_EPISODE,
) -> Crashes:
    """One storm, as long as the kills last, and an engine that comes to rest after the last.

    limit_s: after which no further kill comes, seconds. source: the code of the engine.
    per_episode: deliveries, as Senders has it.
    """
    end = time.monotonic() + limit_s
    rig, rng, done = Rig(folder, shape, source=source), random.Random(seed), Crashes()
    world = World(rig, seed, 10**9, gap_s=GAP_S)
    senders = Senders(world, seed, per_episode)
    with rig.instances(), world.served():
        try:
            senders.start()
            with progress(lambda: f"{done.kills} of {kills} kills, {len(world.ended)} episodes"):
                while done.kills < kills and time.monotonic() < end:
                    _one(rig, rng, done)
            world.episodes = world.begun  # no further fault
            rig.start_engine()
            rig.wait_ready()
            until_over(world)
            senders.stop()
            rest(rig, world)
        finally:
            senders.stop()
            rig.kill_engine()
    done.findings = judge(rig, world, senders)
    done.during = done.findings.counts["cut short"]
    done.acknowledged = sum(len(words) for words in senders.acknowledged.values())
    done.wrong = senders.answered_wrongly
    return done


def until_over(world: World, deadline_s: float = 120.0) -> None:
    end = time.monotonic() + deadline_s
    while not world.over and time.monotonic() < end:
        world.turn()
        time.sleep(0.1)


def _one(rig: Rig, rng: random.Random, done: Crashes) -> None:
    """Start it, and kill it at a random moment."""
    process = rig.start_engine()
    if rng.random() < EARLY:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.random() * (percentile(done.ready_s, 0.5) or 1.0))
        done.early += 1
    else:
        try:
            done.ready_s.append(rig.wait_ready())
        except RuntimeError as error:
            done.refused.append(str(error))
        after_s = LATEST_S if rng.random() < LONG else min(LATEST_S, rng.expovariate(1 / AFTER_S))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
    if process.poll() is not None:
        done.refused.append(f"it ended by itself with {process.returncode}")
    rig.kill_engine()
    done.kills += 1


def results(done: Crashes, seed: int) -> list[Result]:
    found, counts = done.findings, done.findings.counts
    what = f"{counts['episodes']} episodes, {counts['runs']} runs, {counts['actions']} restarts"
    return [
        Result("kill -9", done.kills, "", note=f"seed {seed}; {done.early} while it started"),
        Result(
            "acknowledged and lost",
            len(found.lost),
            "alerts",
            0,
            note=f"of {done.acknowledged} acknowledged; {what}",
        ),
        Result(
            "actions, runs or pages doubled",
            len(found.doubled),
            "",
            0,
            note="each start is on the disk before the instance serves",
        ),
        # A storm that the engine sleeps through, or in which no kill hits anything, proves nothing.
        Result("actions that a kill cut short", done.during, "", done.kills // 20, ">=", note=what),
        Result(
            "runs that were verified all the same",
            counts["verified"],
            "",
            done.kills,
            ">=",
            note=f"{counts['failed']} failed, {counts['cancelled']} cancelled,"
            f" {counts['escalations']} told to people",
        ),
        Result("runs that end in an untrue state", len(found.untrue), "runs", 0),
        Result("budget broken", len(found.budget), "times", 0),
        Result("radius broken", len(found.radius), "times", 0),
        Result("damage to the store or its audit", len(found.damaged), "", 0),
        Result("starts that failed", len(done.refused), "", 0, note="; ".join(done.refused[:3])),
        Result("answers that are wrong", len(done.wrong), "", 0, note="; ".join(done.wrong)),
        Result(
            "start to ready, p50",
            percentile(done.ready_s, 0.5),
            "s",
            note=f"p99 {percentile(done.ready_s, 0.99) or 0:.2f} s, on cores that the storm shares",
            limit="imports",
        ),
    ]


# A disk that takes no more


def on_disk(kind: str, seed: int, kills: int = 6) -> list[Result]:
    """A storm on a disk of its own that takes nothing for a while, again and again, with kills."""
    with (
        tempfile.TemporaryDirectory(prefix="od-") as folder,
        small_disk(Path(folder) / "disk") as disk,
    ):
        if isinstance(disk, str):
            return [Result(f"{kind} disk", None, "", note=f"not run: {disk}")]
        cut = _cut(Path(folder), disk, kind, seed, kills)
    found = cut.findings
    said = sorted(set(cut.reasons))
    return [
        Result(
            f"{kind} disk: rules broken",
            len(found.broken),
            "",
            0,
            note="; ".join(found.broken[:3]) or f"{cut.cuts} times, {cut.kills} kills meanwhile",
        ),
        Result(
            f"{kind} disk: starts or webhooks refused with the reason",
            len(cut.reasons),
            "",
            1,
            ">=",
            note="; ".join(said[:2]),
        ),
        Result(f"{kind} disk: goes on with room again", cut.went_on, "times", cut.cuts, ">="),
    ]


def _cut(folder: Path, disk: SmallDisk, kind: str, seed: int, kills: int) -> Cut:
    rig = Rig(folder, Shape(services=4), state=disk.place / "state")
    world = World(rig, seed, 10**9)
    senders = Senders(world, seed, PER_EPISODE)
    cut, rng = Cut(rig, world, senders, disk), random.Random(seed)
    with rig.instances(), world.served():
        try:
            rig.start_engine()
            rig.wait_ready()
            senders.start()
            for nth in range(kills):
                cut.once(kind, kill=nth % 2 == 0, wait_s=0.5 + rng.random())
            world.episodes = world.begun
            until_over(world)
            senders.stop()
            rest(rig, world)
        finally:
            senders.stop()
            rig.kill_engine()
    cut.findings = judge(rig, world, senders)
    return cut


if __name__ == "__main__":
    sys.exit(main())
