"""The engine on a scripted world and the real store: what heals, what waits, what pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop import names
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState
from tests.remediation.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_killed_instance_is_restarted_verified_and_nobody_is_told(world: World) -> None:
    world.settle()
    alert = world.kill("api:api-1")
    world.settle()
    assert [a.target for a in world.performed] == ["api:api-1"]
    assert len(world.live_posts(names.REMEDIATION_RUNNING)) == 1
    world.run_for(3)
    world.resolve(alert)
    world.run_for(20)
    (run,) = world.runs(alert)
    assert run.state is RunState.VERIFIED
    assert run.detail["before"]["condition"] is True
    assert run.detail["after"]["condition"] is False
    assert world.episode(alert).state is EpisodeState.CLOSED
    assert world.posts(names.REMEDIATION_FAILED) == []
    assert world.live_posts(names.REMEDIATION_RUNNING) == []
