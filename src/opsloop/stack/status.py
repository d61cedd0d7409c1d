"""What runs of a stack now, read from its own bundle: parts, memory, targets, alerts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsloop import names
from opsloop.compile.options import Options
from opsloop.errors import DriverError, StackError, StateUnusable
from opsloop.settings import Ports
from opsloop.stack import prepare, processes, supervisord
from opsloop.stack.flow import Flow
from opsloop.stack.native import flow_reader, not_running
from opsloop.stack.parts import Part, parts, wanted_slots
from opsloop.stack.ready import Checker, PartStatus
from opsloop.stack.state import StackInfo, StateFolder


@dataclass(frozen=True, slots=True)
class PartReport:
    """A part with its memory (MiB, of it and all below it) and uptime (seconds)."""

    status: PartStatus
    memory_mib: float
    uptime_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """A running stack. `healthy`: every wanted part is, and data flows."""

    info: StackInfo
    parts: tuple[PartReport, ...]
    flow: Flow
    supervisord_pid: int
    supervisord_mib: float

    @property
    def healthy(self) -> bool:
        return self.flow.flows and all(p.status.settled for p in self.parts)

    @property
    def memory_mib(self) -> float:
        return self.supervisord_mib + sum(p.memory_mib for p in self.parts)

    def as_json(self, state: StateFolder) -> dict[str, Any]:
        """The stable form of `opsloop status --json`."""
        return {
            "running": True,
            "healthy": self.healthy,
            "state": str(state.root),
            "catalog": self.info.catalog,
            "port_base": self.info.port_base,
            "started_at": self.info.started_at,
            "supervisord_pid": self.supervisord_pid,
            "memory_mib": round(self.memory_mib, 1),
            "targets_up": self.flow.targets_up,
            "targets": self.flow.targets,
            "targets_down": [*self.flow.own_down, *self.flow.others_down],
            "alerts_firing": self.flow.firing,
            "watchdog_seen": self.flow.watchdog,
            "waits_for": list(self.flow.waits),
            "parts": [_part_json(p) for p in self.parts],
        }


def _part_json(report: PartReport) -> dict[str, Any]:
    status = report.status
    return {
        "name": status.part.name,
        "target": status.part.target,
        "health": status.health,
        "state": status.state,
        "wanted": status.part.wanted,
        "pid": status.pid,
        "uptime_s": round(report.uptime_s, 1),
        "memory_mib": round(report.memory_mib, 1),
        "address": status.part.address,
        "detail": status.detail,
    }


def present_parts(state: StateFolder, info: StackInfo) -> list[Part]:
    """The parts of the bundle that lies in STATE/build. Raises StateUnusable without one."""
    compiled = prepare.compiled(state)
    try:
        conf = (state.build / names.SUPERVISORD_CONF).read_text()
    except OSError:
        compiled, conf = None, ""
    if compiled is None:
        raise StateUnusable(
            str(state.build), "holds no bundle that can be read", "run `opsloop up` again"
        )
    counts = prepare.wanted_now(state, compiled.catalog)
    options = Options(ports=Ports(info.port_base))
    return parts(compiled.catalog, options, conf, wanted_slots(compiled.catalog, counts))


def report(state: StateFolder) -> Report:
    """Read everything once. Raises NotRunning, and StateUnusable for a broken folder."""
    info = state.read()
    pid = supervisord.find(state) if info is not None else 0
    if info is None or not pid:
        raise not_running(state)
    driver = supervisord.client(state, 3.0)
    with Checker(state, present_parts(state, info), driver) as checker:
        try:
            statuses = checker.read()
        except DriverError as error:
            raise StackError(
                f"the stack in {state.root}",
                f"its supervisord (pid {pid}) does not answer: {error.reason}",
                "`opsloop down` ends it, then `opsloop up`",
            ) from error
        flow = flow_reader(state, checker, info).read()
    memory = _memory(statuses)
    now = time.time()
    return Report(
        info=info,
        parts=tuple(
            PartReport(s, memory.get(s.pid, 0.0), max(0.0, now - s.started_at) if s.pid else 0.0)
            for s in statuses
        ),
        flow=flow,
        supervisord_pid=pid,
        supervisord_mib=processes.own_memory_mib(pid),
    )


def _memory(statuses: list[PartStatus]) -> Mapping[int, float]:
    return {s.pid: processes.memory_mib(s.pid) for s in statuses if s.pid > 1}
