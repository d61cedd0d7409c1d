"""Which driver does which kind of action: the one Fleet that the engine is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, ActionKind
from opsloop.remediation.ports import Driver, Fleet, Inventory, StepResult

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
