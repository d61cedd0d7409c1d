"""What a soak makes of what it saw."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import loop, soak
from benchmarks.soak import Fault, Memory, Soak


def life(pid: int, begins: float, start: float, slope: float) -> list[tuple[int, float, float]]:
    """Samples of an hour; slope in MiB an hour."""
    return [(pid, begins + t, start + slope * t / 3600) for t in range(0, 3600, 60)]


@pytest.mark.parametrize("slope", [0.0, 12.0, -3.0])
def test_the_slope_is_that_of_each_life(slope: float) -> None:
    memory = Memory(life(10, 0, 40.0, slope) + life(11, 4000, 20.0, slope))
    assert memory.slope() == pytest.approx(slope)
    assert memory.most == pytest.approx(max(40.0, 40.0 + slope * 3540 / 3600))


def test_a_restart_and_warming_up_are_no_leak() -> None:
    warm = [(10, float(t), 20.0 + t / 10) for t in range(0, 300, 30)]
    assert Memory(warm).slope() is None
    flat = [(10, 300.0 + t, 50.0) for t in range(0, 3000, 30)]
    assert Memory(warm + flat).slope() == pytest.approx(0.0)
    assert Memory().slope() is None


def test_an_alert_that_never_came_is_lost() -> None:
    def episode(alert: str, at: float, instance: str = "") -> Any:
        return SimpleNamespace(alert=alert, first_seen=at, labels={"instance": instance})

    class Store:
        def episodes(self, most: int, *, closed: bool) -> list[Any]:
            assert closed
            return [
                episode("ServiceDown", 105.0, "a:1"),
                episode("HighErrorRate", 330.0),
                episode("ServiceDown", 900.0, "b:1"),
            ]

    found = Soak(SimpleNamespace(store=Store()), random.Random(1))
    lost = Fault("service-hang", 400.0, "ServiceDown", "b:1")
    found.faults = [
        Fault("service-kill", 100.0, "ServiceDown", "a:1"),
        Fault("engine killed", 110.0),
        Fault("error-burst", 300.0, "HighErrorRate"),
        lost,
        Fault("service-kill", 895.0, "ServiceDown", "b:1"),
    ]
    assert found.lost() == [lost]


def test_its_catalog_lets_the_loop_act_as_often_as_faults_come() -> None:
    text = soak._without_limits((loop.SHOP / "opsloop.yaml").read_text())
    assert text.count("max_runs: 1000") == 7
    assert "max_runs: 60" not in text
