"""An error burst on the whole stack costs the error budget as many errors as the shop counted."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from opsloop.drills import faults
from opsloop.drills.budget import BudgetWatch, Cost
from opsloop.drills.faults import Aim, aim
from opsloop.drills.kinds import DRILLS
from opsloop.drills.watch import World
from opsloop.stack.state import StateFolder
from tests.drills.whole import Stack, whole_stack
from tests.support.wait import wait_until

pytestmark = pytest.mark.full
BURST = {"kind": "errors", "share": 0.5}
SOME = 30  # errors of a burst, at least
LONG_S = 75.0  # on each side of a kill: longer than the minute that may be lost


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack() as stack:
        yield stack


@pytest.fixture
def world(stack: Stack) -> Iterator[World]:
    world = World(StateFolder(stack.state))
    yield world
    world.close()


@pytest.fixture
def aimed(world: World) -> Aim:
    return aim(world.engine, DRILLS["error-burst"])


def quiet(_: str) -> None:
    """Nobody looks at what a watch waits for."""


def switch(world: World, aimed: Aim, order: dict[str, object]) -> None:
    path = world.catalog.processes[aimed.process].fault_path or ""
    for instance in world.instances(aimed.service):
        if instance.running:
            faults.post(instance.address, path, world.token, order)


def burst(
    world: World,
    aimed: Aim,
    watch: BudgetWatch,
    seconds: float = 0.0,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Half of all requests fail, until there were some errors and so many seconds are over; twice,
    around what happens meanwhile."""

    def more(so_far: int) -> None:
        end = time.time() + seconds
        wait_until(
            lambda: watch.errors >= so_far + SOME and time.time() >= end,
            f"{SOME} errors more than {so_far}, and {seconds:.0f} s",
            600,
        )

    switch(world, aimed, BURST)
    try:
        more(0)
        if meanwhile is not None:
            meanwhile()
            more(watch.errors)
    finally:
        switch(world, aimed, {"kind": "clear"})


def test_every_objective_has_a_budget_within_minutes(stack: Stack) -> None:
    def measured() -> bool:
        done = stack.opsloop("slo", "--json")
        assert done.code == 0, done.err
        found = {f"{s['service']}/{s['slo']}": s["state"] for s in json.loads(done.out)["slos"]}
        assert set(found) == {"api/availability", "api/latency", "api/front"}
        return "new" not in found.values()

    wait_until(measured, "all budgets are measured", 420, 2)
    table = stack.opsloop("slo")
    assert "99.5% / 30d" in table.out
    assert "3 objectives" in table.out


def test_without_a_restart_every_error_is_counted_once(
    stack: Stack, world: World, aimed: Aim
) -> None:
    assert stack.opsloop("pause", "--why", "a test").code == 0
    try:
        with BudgetWatch(world, aimed, quiet) as watch:
            burst(world, aimed, watch)
            cost = watch.settled()
    finally:
        assert stack.opsloop("resume").code == 0
    said(cost)
    assert cost.slo == "api/availability"
    assert cost.bound == 0, "nothing was restarted, so nothing may be lost"
    assert cost.budget_errors == cost.shop_errors >= SOME


def test_what_the_loop_restarts_is_within_a_scrape_interval(stack: Stack) -> None:
    done = stack.opsloop("drill", "error-burst", "--budget", "--json", seconds=900)
    assert done.code == 0, f"{done.err}\n{stack.logs()}"
    result = done.last
    cost = Cost(
        result["budget_slo"], result["budget_errors"], result["shop_errors"], result["bound"]
    )
    said(cost)
    assert cost.sentence in done.err
    assert cost.bound > 0, "instances were restarted"
    assert cost.fits


def test_a_killed_prometheus_loses_a_tile_at_most(stack: Stack, world: World, aimed: Aim) -> None:
    assert stack.opsloop("pause", "--why", "a test").code == 0
    try:
        with BudgetWatch(world, aimed, quiet) as watch:
            pid = world.pids()["prometheus:prometheus"]
            killed_at = 0.0

            def kill() -> None:
                nonlocal killed_at
                killed_at = time.time()
                os.kill(pid, signal.SIGKILL)

            burst(world, aimed, watch, LONG_S, kill)
            wait_until(world.prometheus.ready, "Prometheus is back", 120)
            back_at = time.time()
            cost = watch.settled()
    finally:
        assert stack.opsloop("resume").code == 0
    # One tile: the minute that was not evaluated, and as long as it was away.
    bound = watch.most_errors(60.0 + back_at - killed_at)
    print(f"a killed Prometheus: {cost.sentence}; with a tile: bound {bound}")
    assert cost.bound == 0, "no instance was restarted"
    assert bound < cost.shop_errors, "the bound leaves something to be shown"
    assert 0 <= cost.shop_errors - cost.budget_errors <= bound


def said(cost: Cost) -> None:
    print(cost.sentence)
