"""Which driver does which kind of action: the one Fleet that the engine is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opsloop.drivers.ansible import PlaybookDriver
from opsloop.drivers.clean import CleanDriver
from opsloop.drivers.conditions import ConditionDriver
from opsloop.drivers.script import ScriptDriver
from opsloop.drivers.webhook import WebhookDriver
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, ActionKind
from opsloop.remediation.ports import Driver, Fleet, Inventory, Metrics, StepResult

OF_INSTANCES: Final[tuple[ActionKind, ...]] = ("restart", "start", "scale_out", "scale_in")


class Dispatcher:
    """Instances are the fleet's (supervisord's, Docker's, ...); each other kind has its driver."""

    def __init__(self, fleet: Fleet, drivers: Mapping[ActionKind, Driver]) -> None:
        self._fleet = fleet
        self._drivers: dict[ActionKind, Driver] = {
            **dict.fromkeys(OF_INSTANCES, fleet),
            **drivers,
        }

    def inventory(self, service: str) -> Inventory:
        """Read the instances now. Raises DriverError."""
        return self._fleet.inventory(service)

    def perform(self, action: Action, token: int) -> StepResult:
        """Hand it to the driver of its kind. Raises DriverError, also when there is none."""
        driver = self._drivers.get(action.kind)
        if driver is None:
            raise DriverError(
                action.target, f"no driver does {action.kind!r} here", "see docs/guides"
            )
        return driver.perform(action, token)


def all_drivers(fleet: Fleet, words: Words, metrics: Metrics) -> Fleet:
    """Every kind of action with its driver, over the fleet of this runtime's instances."""
    script, looks = ScriptDriver(words), ConditionDriver(words, metrics)
    return Dispatcher(
        fleet,
        {
            "script": script,
            "renew": script,
            "backup": script,
            "playbook": PlaybookDriver(words),
            "webhook": WebhookDriver(words),
            "clean": CleanDriver(words),
            "check": looks,
            "wait": looks,
        },
    )
