"""What every driver of instances must do; a test class for each driver inherits these.

A rig is a service `web` of four slots, of which two should run and do.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest

from opsloop.errors import DriverError
from opsloop.remediation.plan import Action
from opsloop.remediation.ports import Fleet
from tests.drivers.driver_contract import DriverContract, DriverRig
from tests.support.wait import wait_until

LIMIT_S = 30.0


class Rig(DriverRig, Protocol):
    """A real service behind a driver."""

    @property
    def fleet(self) -> Fleet: ...

    def mode(self, slot: int, mode: str) -> None:
        """How the slot behaves from its next start on: see instance.py."""

    def pid(self, slot: int) -> int:
        """The slot's process, 0 when it does not run."""

    def starts(self, slot: int) -> int:
        """How often it was started."""

    def serves(self, slot: int) -> bool: ...

    def address(self, slot: int) -> str: ...

    def target(self, slot: int) -> str: ...

    def scraped(self) -> list[str]:
        """The addresses that Prometheus is told to scrape."""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def restart(
    rig: Rig, slot: int = 0, *, stop_wait_s: float = 0.0, limit_s: float = LIMIT_S
) -> Action:
    return Action(
        kind="restart",
        service="web",
        target=rig.target(slot),
        address=rig.address(slot),
        health="/healthz",
        stop_wait_s=stop_wait_s,
        limit_s=limit_s,
    )


def scale(kind: str, wanted: int, limit_s: float = LIMIT_S) -> Action:
    return Action(
        kind="scale_out" if kind == "out" else "scale_in",
        service="web",
        target="web",
        wanted=wanted,
        limit_s=limit_s,
    )


class FleetContract(DriverContract):
    """Needs the fixture `rig`, which is a DriverRig too."""

    def two(self, rig: DriverRig) -> list[Action]:
        good = rig.good()
        first, _, number = good.target.rpartition("-")
        host, _, port = good.address.rpartition(":")
        target, address = f"{first}-{int(number) + 1}", f"{host}:{int(port) + 1}"
        return [good, replace(good, target=target, address=address)]

    # Inventory

    def test_the_inventory_is_read_now(self, rig: Rig) -> None:
        found = rig.fleet.inventory("web")
        assert found.service == "web"
        assert [i.target for i in found.instances] == [rig.target(n) for n in range(4)]
        assert [i.address for i in found.instances] == [rig.address(n) for n in range(4)]
        assert [i.wanted for i in found.instances] == [True, True, False, False]
        assert [i.running for i in found.instances] == [True, True, False, False]
        assert (found.limit, found.floor) == (3, 1)
        assert found.instances[0].pid == rig.pid(0)
        assert found.instances[0].health == "/healthz"
        os.kill(rig.pid(0), signal.SIGKILL)
        wait_until(
            lambda: not rig.fleet.inventory("web").instances[0].running, "the dead one is seen"
        )

    def test_an_unknown_service_has_no_inventory(self, rig: Rig) -> None:
        with pytest.raises(DriverError, match="nosuch") as caught:
            rig.fleet.inventory("nosuch")
        assert not caught.value.started

    # Restart

    def test_a_dead_instance_serves_again(self, rig: Rig) -> None:
        os.kill(rig.pid(0), signal.SIGKILL)
        wait_until(lambda: rig.pid(0) == 0, "it is down")
        other = rig.pid(1)
        result = rig.fleet.perform(restart(rig), 1)
        assert result.ok, result.output
        assert result.started
        assert rig.serves(0)
        assert rig.starts(0) == 2
        assert rig.pid(1) == other

    def test_a_running_instance_is_replaced(self, rig: Rig) -> None:
        before = rig.pid(0)
        result = rig.fleet.perform(restart(rig, stop_wait_s=5.0), 1)
        assert result.ok, result.output
        assert rig.pid(0) not in (0, before)
        assert not alive(before)
        assert f"SIGTERM ended pid {before}" in result.output

    def test_a_hanging_instance_is_replaced_without_a_wait(self, rig: Rig) -> None:
        """Stopped by SIGSTOP it heeds no SIGTERM; supervisord's own stop would take 10 s."""
        before = rig.pid(0)
        os.kill(before, signal.SIGSTOP)
        result = rig.fleet.perform(restart(rig), 1)
        assert result.ok, result.output
        assert not alive(before)
        assert rig.serves(0)

    def test_one_that_ignores_sigterm_is_killed_after_its_time(self, rig: Rig) -> None:
        rig.mode(0, "stubborn")
        rig.fleet.perform(restart(rig), 1)
        before = rig.pid(0)
        rig.mode(0, "")
        result = rig.fleet.perform(restart(rig, stop_wait_s=0.3), 2)
        assert result.ok, result.output
        assert not alive(before)
        assert "did not heed SIGTERM in 0.3 s, SIGKILL ended it" in result.output

    def test_one_that_ends_at_once_has_failed(self, rig: Rig) -> None:
        rig.mode(0, "crash")
        result = rig.fleet.perform(restart(rig), 1)
        assert not result.ok
        assert result.started
        assert "did not stay up" in result.output

    @pytest.mark.parametrize(
        ("mode", "reason"), [("deaf", "timed out"), ("ill", "answered HTTP 500")]
    )
    def test_one_that_does_not_serve_in_time_has_failed(
        self, rig: Rig, mode: str, reason: str
    ) -> None:
        rig.mode(0, mode)
        result = rig.fleet.perform(restart(rig, limit_s=2.0), 1)
        assert not result.ok
        assert result.started
        assert f"does not serve within 2 s: {reason}" in result.output

    def test_an_orphan_that_answers_on_its_port_is_not_it(self, rig: Rig) -> None:
        """A process that nobody manages holds the port; the new one cannot bind it."""
        rig.mode(0, "crash")
        pid = rig.pid(0)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: rig.pid(0) == 0, "it is down")
        orphan = self.orphan(rig)
        try:
            result = rig.fleet.perform(restart(rig, limit_s=5.0), 1)
        finally:
            orphan()
        assert not result.ok
        assert "did not stay up" in result.output

    def orphan(self, rig: Rig) -> Callable[[], None]:
        """Let a process that the driver does not know serve slot 0's address; returns its end."""
        raise NotImplementedError

    def test_start_leaves_a_running_instance_alone(self, rig: Rig) -> None:
        before = rig.pid(0)
        action = Action("start", "web", rig.target(0), rig.address(0), "/healthz")
        assert rig.fleet.perform(action, 1).ok
        assert rig.pid(0) == before

    def test_a_foreign_target_is_refused(self, rig: Rig) -> None:
        action = Action("restart", "web", "engine:engine", rig.address(0))
        with pytest.raises(DriverError) as caught:
            rig.fleet.perform(action, 1)
        assert not caught.value.started

    # Scale

    def test_scale_out_starts_what_is_missing_and_has_it_scraped(self, rig: Rig) -> None:
        before = [rig.pid(0), rig.pid(1)]
        result = rig.fleet.perform(scale("out", 3), 1)
        assert result.ok, result.output
        assert rig.serves(2)
        assert [rig.pid(0), rig.pid(1)] == before
        assert rig.pid(3) == 0
        assert rig.scraped() == [rig.address(n) for n in range(3)]

    def test_scale_out_that_is_there_already_does_nothing(self, rig: Rig) -> None:
        assert rig.fleet.perform(scale("out", 3), 1).started
        again = rig.fleet.perform(scale("out", 3), 2)
        assert (again.ok, again.started) == (True, False)

    def test_scale_out_that_fails_is_undone(self, rig: Rig) -> None:
        rig.mode(2, "ill")
        result = rig.fleet.perform(scale("out", 3, limit_s=2.0), 1)
        assert not result.ok
        assert "stopped again" in result.output
        assert rig.pid(2) == 0
        assert rig.address(2) not in rig.scraped()

    def test_scale_in_stops_the_last_and_has_it_forgotten(self, rig: Rig) -> None:
        rig.fleet.perform(scale("out", 3), 1)
        last = rig.pid(2)
        result = rig.fleet.perform(scale("in", 2), 2)
        assert result.ok, result.output
        assert not alive(last)
        assert rig.serves(0)
        assert rig.serves(1)
        assert rig.scraped() == [rig.address(0), rig.address(1)]

    @pytest.mark.parametrize("wanted", [0, 4, -1])
    def test_scale_beyond_the_bounds_is_refused(self, rig: Rig, wanted: int) -> None:
        for kind in ("out", "in"):
            with pytest.raises(DriverError, match="not within 1 to 3") as caught:
                rig.fleet.perform(scale(kind, wanted), 1)
            assert not caught.value.started
        assert rig.pid(0)
        assert rig.pid(1)
