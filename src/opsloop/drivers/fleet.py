"""The Fleet port over supervisord: a service's instances, restarted and scaled until they serve."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from opsloop.catalog.model import Catalog, Process
from opsloop.drivers.fence import Fence
from opsloop.drivers.listener import listens
from opsloop.drivers.probe import Look, PostgresLogin, probe
from opsloop.drivers.supervisor import ProcessInfo, Supervisor
from opsloop.drivers.targets import write_targets
from opsloop.errors import DriverError, OpsloopError
from opsloop.remediation.plan import Action
from opsloop.remediation.ports import Instance, Inventory, StepResult
from opsloop.settings import Ports

PROBE_EVERY_S: Final = 0.05
PROBE_LIMIT_S: Final = 1.0  # of one look: what hangs is asked again
KILL_WAIT_S: Final = 15.0  # until a killed process is gone; supervisord's own stop takes 10
_GONE: Final = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


class ProcessFleet:
    """Instances are the slots of a service's process: `api:api-0` on the process's port + 0.

    wanted(service): how many there should be, None where nobody changed the catalog's number.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        catalog: Catalog,
        ports: Ports,
        state: Path,
        wanted: Callable[[str], int | None],
    ) -> None:
        self.catalog = catalog
        self.ports = ports
        self._supervisor = supervisor
        self._state = state
        self._wanted = wanted
        self._fence = Fence()

    def inventory(self, service: str) -> Inventory:
        """Read the instances now. Raises DriverError when the service has no process."""
        name, process = self._process(service)
        declared = self.catalog.services[service].instances
        wanted = self.wanted(service)
        infos = {p.target: p for p in self._supervisor.processes()}
        found = []
        for slot in range(process.slots):
            info = infos.get(target_of(name, slot))
            if info is None:
                continue  # supervisord does not know it yet: the catalog has grown
            found.append(
                Instance(
                    target=info.target,
                    address=self._address(process, slot),
                    running=info.running,
                    wanted=slot < wanted,
                    health=process.health or "",
                    pid=info.pid,
                    started_at=info.started_at,
                )
            )
        if not found:
            raise DriverError(
                service, f"supervisord knows no program of the group {name}", "run `opsloop reload`"
            )
        return Inventory(
            service=service,
            instances=tuple(found),
            limit=self.catalog.max_instances(service) or 0,
            floor=declared.min,
        )

    def wanted(self, service: str) -> int:
        """How many instances there should be now, within what the catalog allows."""
        declared = self.catalog.services[service].instances
        count = self._wanted(service)
        most = self.catalog.max_instances(service) or 0
        return max(declared.min, min(declared.wanted if count is None else count, most))

    def perform(self, action: Action, token: int) -> StepResult:
        """Do one action within its limit; ok when what it started serves.

        Raises DriverError with `started` when it is not known whether it took effect.
        """
        self._fence.check(action.target, token)
        deadline = time.monotonic() + action.limit_s
        if action.kind in ("restart", "start"):
            return self._renew(action, deadline)
        return self._scale(action, deadline)

    # One instance

    def _renew(self, action: Action, deadline: float) -> StepResult:
        name, process = self._process(action.service)
        if not any(action.target == target_of(name, s) for s in range(process.slots)):
            raise DriverError(action.target, f"is no instance of the service {action.service}")
        old = self._supervisor.process(action.target)
        told: list[str] = []
        if old.pid > 1 and action.kind == "start":
            told.append(f"runs already as pid {old.pid}")
        elif old.pid > 1 or old.state in ("STOPPING", "BACKOFF"):
            told.append(self._end(old, process.stop_signal, action.stop_wait_s, deadline))
        else:
            told.append(f"was {old.state}")
        try:
            self._supervisor.start(action.target)
        except DriverError as error:
            # Whatever came of the request, the old process was ended: say so.
            raise DriverError(
                action.target, f"{'; '.join(told)}; {error.reason}", error.next_step, started=True
            ) from error
        return self._await(action, told, deadline)

    def _end(self, old: ProcessInfo, signal: str, wait_s: float, deadline: float) -> str:
        """End a process by signals: supervisord's own stop takes 10 s for one that hangs."""
        target, begun = old.target, time.monotonic()
        if wait_s > 0 and signal != "KILL" and self._supervisor.signal(target, signal):
            if self._until_gone(old, min(begun + wait_s, deadline)):
                return f"SIG{signal} ended pid {old.pid} in {time.monotonic() - begun:.1f} s"
            self._signal_again(target, "KILL")
            self._must_be_gone(old)
            return f"pid {old.pid} did not heed SIG{signal} in {wait_s:g} s, SIGKILL ended it"
        self._supervisor.signal(target, "KILL")
        self._must_be_gone(old)
        return f"SIGKILL ended pid {old.pid}"

    def _signal_again(self, target: str, signal: str) -> None:
        try:
            self._supervisor.signal(target, signal)
        except DriverError as error:
            raise DriverError(target, error.reason, error.next_step, started=True) from error

    def _must_be_gone(self, old: ProcessInfo) -> None:
        if not self._until_gone(old, time.monotonic() + KILL_WAIT_S):
            raise DriverError(
                old.target, f"pid {old.pid} lives on after SIGKILL", "see its log", started=True
            )

    def _until_gone(self, old: ProcessInfo, deadline: float) -> bool:
        """Until it is down, or another process of it runs (supervisord restarts some itself)."""
        while True:
            now = self._look_at(old.target)
            if now.state in _GONE or (now.pid > 1 and now.pid != old.pid):
                return True
            if now.state == "BACKOFF" and now.pid <= 1:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)

    def _look_at(self, target: str) -> ProcessInfo:
        """As supervisord says, in the middle of an action: a failure leaves it half done."""
        try:
            return self._supervisor.process(target)
        except DriverError as error:
            raise DriverError(target, error.reason, error.next_step, started=True) from error

    def _await(self, action: Action, told: list[str], deadline: float) -> StepResult:
        """Until it serves, gives up, or the time is over."""
        begun = time.monotonic()
        postgres = self._postgres(action.service)
        look = Look(False, "was not asked")
        while True:
            info = self._look_at(action.target)
            if info.state in ("FATAL", "EXITED", "STOPPED", "UNKNOWN"):
                told.append(f"did not stay up: {info.state} {info.description}".rstrip())
                return StepResult(ok=False, started=True, output="; ".join(told))
            if info.running:
                limit = min(PROBE_LIMIT_S, max(0.01, deadline - time.monotonic()))
                look = self._probe(action, info.pid, limit, postgres)
                if look.ok and self._look_at(action.target).pid == info.pid:
                    told.append(f"pid {info.pid} serves after {time.monotonic() - begun:.1f} s")
                    return StepResult(ok=True, started=True, output="; ".join(told))
            if time.monotonic() > deadline:
                told.append(f"does not serve within {action.limit_s:g} s: {look.reason}")
                return StepResult(ok=False, started=True, output="; ".join(told))
            time.sleep(PROBE_EVERY_S)

    def _probe(
        self, action: Action, pid: int, limit_s: float, postgres: PostgresLogin | None
    ) -> Look:
        if not action.address:
            return Look(True)  # a process without a port: that it runs is all there is to see
        look = probe(action.address, action.health, limit_s, postgres)
        if look.ok and listens(pid, int(action.address.rpartition(":")[2])) is False:
            return Look(False, "another process answers on its port")
        return look

    # The number of instances

    def _scale(self, action: Action, deadline: float) -> StepResult:
        service = action.service
        name, process = self._process(service)
        most = self.catalog.max_instances(service) or 0
        floor = self.catalog.services[service].instances.min
        if not floor <= action.wanted <= most:
            raise DriverError(
                service, f"{action.wanted} instances are not within {floor} to {most}"
            )
        infos = {p.target: p for p in self._supervisor.processes()}
        slots = [(s, infos.get(target_of(name, s))) for s in range(process.slots)]
        if action.kind == "scale_in":
            # First out of the scrape: an instance that ends on purpose is not down.
            self._write_targets(service, action.wanted, started=False)
            surplus = [i for s, i in slots if i is not None and s >= action.wanted and i.pid > 1]
            return self._stop(surplus, deadline)
        absent = [(s, i) for s, i in slots if s < action.wanted and (i is None or not i.running)]
        result = self._start(action, process, absent, deadline)
        if result.ok:
            self._write_targets(service, action.wanted, started=True)
        return result

    def _start(
        self,
        action: Action,
        process: Process,
        absent: list[tuple[int, ProcessInfo | None]],
        deadline: float,
    ) -> StepResult:
        """Start slots one by one; when one does not come up, end again those that were begun."""
        told: list[str] = []
        begun: list[ProcessInfo] = []
        for slot, info in absent:
            if info is None:
                self._undo(begun, told)
                raise DriverError(
                    action.service,
                    f"supervisord knows no slot {slot}",
                    "run `opsloop reload`",
                    started=bool(begun),
                )
            step = Action(
                kind="start",
                service=action.service,
                target=info.target,
                address=self._address(process, slot),
                health=process.health or "",
                limit_s=action.limit_s,
            )
            begun.append(info)
            try:
                self._supervisor.start(info.target)
                result = self._await(step, [info.target], deadline)
            except DriverError as error:
                self._undo(begun, told)
                raise DriverError(
                    info.target,
                    "; ".join([error.reason, *told]),
                    error.next_step,
                    started=len(begun) > 1 or error.started,
                ) from error
            told.append(result.output)
            if not result.ok:
                self._undo(begun, told)
                return StepResult(ok=False, started=True, output="\n".join(told))
        output = "\n".join(told) or f"{action.wanted} instances run already"
        return StepResult(ok=True, started=bool(told), output=output)

    def _undo(self, begun: list[ProcessInfo], told: list[str]) -> None:
        for info in begun:
            try:
                self._supervisor.stop(info.target)
                told.append(f"{info.target}: stopped again")
            except DriverError as error:
                told.append(f"{info.target}: could not be stopped again: {error.reason}")

    def _stop(self, surplus: list[ProcessInfo], deadline: float) -> StepResult:
        told: list[str] = []
        for info in surplus:
            # By supervisord's stop, not by a signal: it must not be restarted.
            left = max(1.0, deadline - time.monotonic())
            try:
                self._supervisor.stop(info.target, wait_s=left)
            except DriverError as error:
                raise DriverError(
                    info.target, error.reason, error.next_step, started=True
                ) from error
            told.append(f"{info.target}: pid {info.pid} stopped")
        output = "\n".join(told) or "nothing ran beyond what is wanted"
        return StepResult(ok=True, started=bool(told), output=output)

    def _write_targets(self, service: str, wanted: int, *, started: bool) -> None:
        try:
            write_targets(self._state, self.catalog, self.ports, service, wanted)
        except OpsloopError as error:
            raise DriverError(
                error.thing, error.reason, error.next_step, started=started
            ) from error

    def write_all_targets(self) -> None:
        """Every process-backed service's file_sd file, as wanted now. Raises StateUnusable."""
        for service, declared in self.catalog.services.items():
            if declared.process is not None:
                write_targets(self._state, self.catalog, self.ports, service, self.wanted(service))

    # What the catalog says

    def _process(self, service: str) -> tuple[str, Process]:
        declared = self.catalog.services.get(service)
        if declared is None:
            raise DriverError(service, "is no service of the catalog", "see `opsloop check`")
        if declared.process is None:
            raise DriverError(
                service, "has no process that the stack runs", "give it `process:` in the catalog"
            )
        return declared.process, self.catalog.processes[declared.process]

    def _address(self, process: Process, slot: int) -> str:
        return f"127.0.0.1:{self.ports.process(process.port, slot)}" if process.port else ""

    def _postgres(self, service: str) -> PostgresLogin | None:
        declared = self.catalog.services[service].postgres
        return None if declared is None else PostgresLogin(declared.user, declared.database)


def target_of(process: str, slot: int) -> str:
    """supervisord's name of a slot."""
    return f"{process}:{process}-{slot}"
