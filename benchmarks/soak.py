"""The whole native stack for an hour under load, while faults come and Prometheus and the engine die."""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks._output import Result, report, say
from benchmarks.loop import stack

SAMPLE_S = 2.0
PAUSE_S = (5.0, 20.0)  # between calm and the next fault
SETTLE_S = 240.0  # after the last fault, until all is well
WARM_S = 300.0  # of each life of a process: caches fill, which is no leak
SLOPE_MINUTES = 30  # shorter soaks cannot tell a leak from a cache
# The third is what the shop itself counts as errors, so that there is a budget to compare.
SERVICE_FAULTS = ("service-kill", "service-hang", "error-burst")
PARTS = {"prometheus": "prometheus:prometheus", "engine": "engine:engine"}
WATCHED = {
    **PARTS,
    "alertmanager": "alertmanager:alertmanager",
    "console": "console:console",
    "inbox": "inbox:inbox",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One that was injected.

    alert: that tells of it; empty where a part of the stack was killed. address: of the instance;
    empty where all of them were hit.
    """

    kind: str
    at: float  # unix seconds
    alert: str = ""
    address: str = ""


@dataclass(slots=True)
class Memory:
    """Samples of one part: (pid, unix seconds, MiB)."""

    samples: list[tuple[int, float, float]] = field(default_factory=list)

    def slope(self) -> float | None:
        """MiB an hour, least squares over all lives, each from its own mean; None of too few."""
        lives: dict[int, list[tuple[float, float]]] = {}
        for pid, at, size in self.samples:
            lives.setdefault(pid, []).append((at, size))
        above = below = 0.0
        for life in lives.values():
            late = [(at, size) for at, size in life if at - life[0][0] >= WARM_S]
            if len(late) < 10:
                continue
            mean_at = sum(at for at, _ in late) / len(late)
            mean = sum(size for _, size in late) / len(late)
            above += sum((at - mean_at) * (size - mean) for at, size in late)
            below += sum((at - mean_at) ** 2 for at, _ in late)
        return above / below * 3600 if below else None

    @property
    def most(self) -> float | None:
        return max((size for _, _, size in self.samples), default=None)


class Soak:
    """One soak on one running stack."""

    def __init__(self, world: Any, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.faults: list[Fault] = []
        self.memory = {name: Memory() for name in WATCHED}
        self._sampled = 0.0

    def run(self, ends_at: float) -> None:
        """Faults at random until `ends_at`, unix seconds."""
        while time.time() < ends_at:
            if not self._service_fault(self.rng.choice(SERVICE_FAULTS), ends_at):
                break
            # Half of them hit while the loop is at work on the service.
            self.wait(self.rng.uniform(0.0, 20.0))
            self._kill(self.rng.choice(sorted(PARTS)))
            self.wait(self.rng.uniform(*PAUSE_S))

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Look at the memory meanwhile; True as soon as `until` holds."""
        deadline = time.time() + seconds
        while time.time() < deadline:
            if until():
                return True
            if time.time() - self._sampled >= SAMPLE_S:
                self._sampled = time.time()
                self._sample()
            time.sleep(0.2)
        return until()

    def _service_fault(self, name: str, ends_at: float) -> bool:
        """Break an instance when the service is calm; False when the time is over before."""
        from opsloop.drills.calm import unrest
        from opsloop.drills.faults import aim
        from opsloop.drills.inject import Injection
        from opsloop.drills.kinds import DRILLS
        from opsloop.errors import OpsloopError

        aimed = aim(self.world.engine, DRILLS[name])
        injection = Injection(self.world, aimed)
        while time.time() < ends_at:
            with contextlib.suppress(OpsloopError):  # looked again in a moment
                target = injection.choose()
                if unrest(self.world, aimed, target, time.time()) is None:
                    target = injection.now(target)
                    at = time.time()
                    injection.inject(target)
                    address = "" if name == "error-burst" else target.address
                    self.faults.append(Fault(name, at, aimed.drill.alert, address))
                    return True
            self.wait(1.0)
        return False

    def _kill(self, part: str) -> None:
        from opsloop.errors import DriverError

        with contextlib.suppress(DriverError):
            if self.world.supervisor.signal(PARTS[part], "KILL"):
                self.faults.append(Fault(f"{part} killed", time.time()))

    def _sample(self) -> None:
        from opsloop.errors import DriverError
        from opsloop.stack import processes

        with contextlib.suppress(DriverError):
            pids = self.world.pids()
            for name, target in WATCHED.items():
                pid = pids.get(target, 0)
                if pid > 1 and (size := processes.own_memory_mib(pid)) > 0:
                    self.memory[name].samples.append((pid, time.time(), size))

    # What came of it

    def settled(self) -> bool:
        """Whether every wanted instance answers and nothing of the loop is open."""
        from opsloop.errors import OpsloopError

        with contextlib.suppress(OpsloopError):
            wanted = [i for i in self.world.instances("api") if i.wanted]
            well = all(self.world.answers("api", i) for i in wanted)
            return well and not self.world.store.open_runs()
        return False

    def lost(self) -> list[Fault]:
        """Faults of the service that no episode tells of."""
        episodes = self.world.store.episodes(5000, closed=True)
        return [
            fault
            for fault in self.faults
            if fault.alert
            and not any(
                e.alert == fault.alert
                and fault.address in ("", e.labels.get("instance"))
                and fault.at - 1 <= e.first_seen <= fault.at + SETTLE_S
                for e in episodes
            )
        ]

    def broken(self) -> int:
        """Wanted instances that do not answer."""
        wanted = [i for i in self.world.instances("api") if i.wanted]
        return sum(not self.world.answers("api", i) for i in wanted)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 s of faults, and no budget")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    parser.add_argument("--minutes", type=float, default=60, help="of faults [60]")
    parser.add_argument("--seed", type=int, default=1, help="of the faults [1]")
    options = parser.parse_args()
    minutes = 1 / 3 if options.quick else options.minutes
    with stack("5s", _without_limits) as (state, _):
        results = soaked(state, minutes, options.seed, budget=not options.quick)
    if options.quick:
        say("--quick: 20 s instead of an hour; memory's slope and the budget are left out")
    report("soak", results, as_json=options.json)
    return 0


def _without_limits(catalog: str) -> str:
    """More faults come in an hour than the demo's policies would answer."""
    return re.sub(r"max_runs: \d+", "max_runs: 1000", catalog)


def soaked(state: Any, minutes: float, seed: int, *, budget: bool) -> list[Result]:
    """Everything that is measured on the running stack in `state`."""
    from opsloop.drills.budget import BudgetWatch
    from opsloop.drills.faults import aim
    from opsloop.drills.kinds import DRILLS
    from opsloop.drills.watch import World
    from opsloop.stack.state import StateFolder

    world = World(StateFolder(state))
    try:
        soak = Soak(world, random.Random(seed))
        with contextlib.ExitStack() as open_:
            watch = None
            if budget:
                aimed = aim(world.engine, DRILLS["service-kill"])
                watch = open_.enter_context(BudgetWatch(world, aimed, lambda _: None))
            soak.run(time.time() + minutes * 60)
            began = time.time()
            soak.wait(SETTLE_S, soak.settled)
            say(f"settled after {time.time() - began:.0f} s")
            results = judged(soak, minutes)
            if watch is not None:
                results.append(_budget(soak, watch))
        return results
    finally:
        world.close()


def judged(soak: Soak, minutes: float) -> list[Result]:
    """Lost alerts, stuck runs, what stayed broken, and memory."""
    counts = Counter(fault.kind for fault in soak.faults)
    say(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    runs = soak.world.store.runs(5000)
    ended = Counter(run.state.value for run in runs)
    stuck = soak.world.store.open_runs()
    results = [
        Result("faults injected", len(soak.faults), "", note=_words(counts)),
        Result("lost alerts", len(soak.lost()), "", 0, note=f"of {_services(soak)} faults"),
        Result("stuck runs", len(stuck), "", 0, note=_words(ended)),
        Result("instances that stayed broken", soak.broken(), "", 0),
    ]
    long_enough = minutes >= SLOPE_MINUTES
    for name, memory in soak.memory.items():
        if not memory.samples:  # a part that this stack does not have
            continue
        goal = 10.0 if long_enough and name != "prometheus" else None
        limit = "series and samples it holds" if name == "prometheus" else ""
        note = "" if long_enough else f"under {SLOPE_MINUTES} minutes: no leak can be told"
        slope = memory.slope()
        results.append(
            Result(f"{name}, slope of memory", slope, "MiB/h", goal, "<=", "", limit, note)
        )
        results.append(Result(f"{name}, most memory", memory.most, "MiB"))
    return results


def _budget(soak: Soak, watch: Any) -> Result:
    """How far budget and the shop's own counts are apart, beyond what the killed may hide."""
    from opsloop.compile.slo_names import TILE

    cost = watch.settled()
    kills = sum(fault.kind == "prometheus killed" for fault in soak.faults)
    bound = cost.bound + kills * watch.most_errors(int(TILE) / 1000)
    apart = abs(cost.budget_errors - cost.shop_errors)
    return Result(
        "budget, errors beyond the bound",
        max(0.0, apart - bound),
        "",
        0,
        limit="one scrape of events a killed API, one tile a killed Prometheus",
        note=f"budget {cost.budget_errors:g}, shop {cost.shop_errors}, bound {bound}",
    )


def _services(soak: Soak) -> int:
    return sum(bool(fault.alert) for fault in soak.faults)


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
