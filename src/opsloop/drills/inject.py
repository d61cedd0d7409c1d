"""Breaks one instance, all of them or the load, and mends by hand what the loop did not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from opsloop.drills import faults
from opsloop.drills.declared import Declared
from opsloop.drills.faults import Aim
from opsloop.drills.watch import PROBE_LIMIT_S, World
from opsloop.drivers.probe import probe
from opsloop.errors import DriverError, SourceError, StackError
from opsloop.remediation.ports import Instance

RESTORE_S = 20.0
SILENT_S = 3.0
POLL_S = 0.3

Look = Callable[[], bool]


class Injection:
    """The fault of one drill. `broken`: target -> pid of what was killed by the drill itself."""

    def __init__(self, world: World, aim: Aim) -> None:
        self.world = world
        self.aim = aim
        self.broken: dict[str, int] = {}
        self._declared: Declared | None = None

    def choose(self) -> Instance:
        """The instance that is broken, or stands for the service: the one that had no trouble

        for longest, so that drills one after the other need not wait for each other's end.
        Raises StackError.
        """
        found = [i for i in self.world.instances(self.aim.service) if i.wanted and i.running]
        if not found:
            raise self._refused(f"{self.aim.service} has no instance that runs")
        return min(found, key=self._last_trouble)

    def now(self, target: Instance) -> Instance:
        """The same instance, read again. Raises StackError when it is gone."""
        for instance in self.world.instances(self.aim.service):
            if instance.target == target.target and instance.running:
                return instance
        raise self._refused(f"{target.target} does not run any more")

    def _last_trouble(self, instance: Instance) -> float:
        last = self.world.episode(self.aim, instance.address, 0.0)
        return 0.0 if last is None else last.first_seen

    def inject(self, target: Instance) -> Look:
        """Break it; returns the look that is true when users are served again.

        Raises StackError or SourceError when the fault could not be switched on.
        """
        fault = self.aim.drill.fault
        if fault == "errors":
            return self._errors()
        if fault == "overload":
            return self._overload()
        if fault == "fill":
            self._switch(target.address, faults.order(self.aim.drill))
            return lambda: faults.active(target.address, self._path(), self.world.token) == []
        if fault in ("certificate", "backup"):
            self._declared = Declared(self.world, self.aim)
            return self._declared.break_it()
        if fault == "kill-dependency":
            if not self.world.supervisor.signal(target.target, "KILL"):
                raise self._refused(f"{target.target} does not run")
        else:
            self._switch(target.address, faults.order(self.aim.drill))
        if fault == "hang":
            self._until_silent(target)
        else:
            self.broken = {target.target: target.pid}
        return lambda: self.world.answers(self.aim.service, target)

    def _until_silent(self, target: Instance) -> None:
        """The switch is answered before the hang begins: what answers yet is no recovery."""
        deadline = time.monotonic() + SILENT_S
        while self.world.answers(self.aim.service, target):
            if time.monotonic() > deadline:
                raise self._refused(f"{target.target} still answers after the fault")

    def _errors(self) -> Look:
        serving = [i for i in self.world.instances(self.aim.service) if i.wanted and i.running]
        for instance in serving:
            self._switch(instance.address, faults.order(self.aim.drill))
        return lambda: all(
            faults.active(i.address, self._path(), self.world.token) == [] for i in serving
        )

    def _overload(self) -> Look:
        """Well again: an instance answers that did not run before."""
        idle = [i for i in self.world.instances(self.aim.service) if not i.running]
        if not idle:
            raise self._refused(f"all instances of {self.aim.service} run already")
        for address in self._addresses():
            self._switch(address, faults.order(self.aim.drill))
        return lambda: any(probe(i.address, i.health, PROBE_LIMIT_S).ok for i in idle)

    def clear(self) -> None:
        """Switch off what can be switched off; what does not answer has no fault any more."""
        if self.aim.drill.fault in ("errors", "overload", "fill"):
            for address in self._addresses():
                with contextlib.suppress(SourceError):
                    self._switch(address, {"kind": "clear"})

    def restore(self, note: Callable[[str], None]) -> None:
        """End the fault by hand: after a control drill, a failure or Ctrl-C."""
        self.clear()
        if self._declared is not None:
            note(f"restoring {self.aim.subject.name}")
            self._declared.mend()
        deadline = time.monotonic() + RESTORE_S
        for instance in self.world.instances(self.aim.service):
            if not instance.wanted or self.world.answers(self.aim.service, instance):
                continue
            note(f"restoring {instance.target}")
            with contextlib.suppress(DriverError):
                self.world.supervisor.signal(instance.target, "KILL")
            while not self.world.answers(self.aim.service, instance):
                if time.monotonic() > deadline:
                    raise StackError(
                        instance.target, "does not come back by hand", "see `opsloop logs`"
                    )
                with contextlib.suppress(DriverError):
                    self.world.supervisor.start(instance.target)
                time.sleep(POLL_S)

    def _addresses(self) -> list[str]:
        """Where a switch may be on."""
        if self.aim.switch is None:
            return []
        if self.aim.switch == self.aim.process:
            return [i.address for i in self.world.instances(self.aim.service) if i.running]
        return self.world.addresses(self.aim.switch)

    def _path(self) -> str:
        return self.world.catalog.processes[self.aim.switch or ""].fault_path or ""

    def _switch(self, address: str, body: dict[str, Any]) -> None:
        faults.post(address, self._path(), self.world.token, body)

    def _refused(self, reason: str) -> StackError:
        return StackError(f"drill {self.aim.drill.name}", reason, "see `opsloop status`")
