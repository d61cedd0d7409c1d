"""What every driver must do, whatever it acts on; a test class for each driver inherits these.

Against the real thing: real processes, real servers, real files.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import Protocol

import pytest

from opsloop.errors import DriverError
from opsloop.remediation.plan import Action
from opsloop.remediation.ports import Driver, StepResult
from tests.support.wait import wait_until

MARGIN_S = 40.0  # beyond an action's limit: ending it takes a while on a busy machine
LONGEST_OUTPUT = 20_000  # characters


class DriverRig(Protocol):
    """A driver with something real behind it. Each action is about a target of its own kind."""

    @property
    def driver(self) -> Driver: ...

    def good(self) -> Action:
        """One that succeeds."""

    def bad(self) -> Action:
        """One that is tried, and fails."""

    def slow(self) -> Action:
        """One that is not done within its limit, which is short."""

    def impossible(self) -> Action:
        """One that cannot be begun."""

    def effects(self) -> int:
        """How often something was done to the world."""

    def quiet(self) -> bool:
        """Whether nothing of any action goes on."""


class DriverContract:
    """Needs the fixture `rig`."""

    def test_success_is_done_once_and_said(self, rig: DriverRig) -> None:
        before = rig.effects()
        result = rig.driver.perform(rig.good(), 1)
        assert (result.ok, result.started) == (True, True), result.output
        assert rig.effects() == before + 1
        assert rig.quiet()

    def test_failure_is_not_success_and_says_why(self, rig: DriverRig) -> None:
        result = rig.driver.perform(rig.bad(), 1)
        assert not result.ok
        assert result.output.strip()

    def test_what_is_not_done_in_time_is_ended_and_no_success(self, rig: DriverRig) -> None:
        """It had begun: whether it took effect is told as a failure, or as not known."""
        action = rig.slow()
        begun = time.monotonic()
        known, started = self.perform(rig, action)
        assert started
        assert known is None or not known.ok
        assert time.monotonic() - begun < action.limit_s + MARGIN_S
        wait_until(rig.quiet, "nothing of it goes on", 120)

    def test_what_cannot_be_begun_changes_nothing(self, rig: DriverRig) -> None:
        before = rig.effects()
        known, started = self.perform(rig, rig.impossible())
        assert not started
        assert known is None or not known.ok
        assert rig.effects() == before

    def perform(self, rig: DriverRig, action: Action) -> tuple[StepResult | None, bool]:
        """(the result, None where it was refused or is not known; whether it had begun)."""
        try:
            result = rig.driver.perform(action, 1)
        except DriverError as error:
            return None, error.started
        return result, result.started

    def test_a_run_that_lost_its_lock_does_nothing(self, rig: DriverRig) -> None:
        rig.driver.perform(rig.good(), 5)
        before = rig.effects()
        with pytest.raises(DriverError, match="token 4 is stale") as caught:
            rig.driver.perform(rig.good(), 4)
        assert not caught.value.started
        assert rig.effects() == before

    def test_output_is_plain_and_bounded(self, rig: DriverRig) -> None:
        for action in (rig.good(), rig.bad()):
            said = ""
            with contextlib.suppress(DriverError):
                said = rig.driver.perform(action, 1).output
            assert len(said) < LONGEST_OUTPUT
            assert all(c.isprintable() or c in "\n\t" for c in said)

    def test_threads_may_share_it(self, rig: DriverRig) -> None:
        """On different targets; on one, the run's lock lets only one through."""
        results: list[StepResult] = []

        def do(action: Action) -> None:
            results.append(rig.driver.perform(action, 1))

        threads = [threading.Thread(target=do, args=(action,)) for action in self.two(rig)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [r.ok for r in results] == [True, True]

    def two(self, rig: DriverRig) -> list[Action]:
        good = rig.good()
        return [good, replace(good, target=f"{good.target}-other")]
