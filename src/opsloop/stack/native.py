"""The native stack of one state folder: up, reload and down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from opsloop.drivers.supervisor import RUNNING_STATES, Supervisor, Updated
from opsloop.errors import NotRunning, StackError
from opsloop.settings import ENV_STATE, Settings
from opsloop.stack import binaries, build_folder, ports, prepare, processes, supervisord
from opsloop.stack.build_folder import Changes
from opsloop.stack.flow import Flow, FlowReader, wait_flowing
from opsloop.stack.interrupt import stopped_on_failure
from opsloop.stack.parts import Part, parts, programs, wanted_slots
from opsloop.stack.prepare import Prepared
from opsloop.stack.processes import Holder
from opsloop.stack.ready import Checker, PartStatus, wait_healthy
from opsloop.stack.reread import read_again
from opsloop.stack.secrets import Vendors, make_secrets
from opsloop.stack.state import StackInfo, StateFolder

OBSERVER = "prometheus"
DEADLINE_S = 60.0


class Progress(Protocol):
    """Who shows what happens. Called from the thread that called."""

    def say(self, text: str) -> None:
        """One line about the work itself."""

    def parts(self, statuses: Sequence[PartStatus]) -> None:
        """Every part, as it is now."""

    def flow(self, flow: Flow) -> None:
        """How far data flows."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done to get there. `started`: parts of a running stack that did not run."""

    fresh: bool
    changes: Changes = field(default_factory=Changes)
    updated: Updated = field(default_factory=Updated)
    reread: tuple[str, ...] = ()
    started: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        return not (self.fresh or self.changes or self.updated or self.started)


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that is up."""

    state: StateFolder
    info: StackInfo
    statuses: tuple[PartStatus, ...]
    flow: Flow
    vendors: Vendors
    applied: Applied
    warnings: tuple[str, ...]
    seconds: float


def up(
    settings: Settings,
    environ: Mapping[str, str],
    progress: Progress,
    *,
    deadline_s: float = DEADLINE_S,
    must_run: bool = False,
) -> Running:
    """Start the stack, or apply the catalog to the running one; returns when data flows.

    deadline_s: for getting healthy. must_run: a stack that is not up is NotRunning (`reload`).
    When a first start fails or is interrupted, everything that it started is stopped; a
    running stack is never stopped.
    """
    began = time.monotonic()
    state = StateFolder(settings.state)
    info = state.read()  # a path that is no state folder is told before anything else
    if must_run and (info is None or not supervisord.find(state)):
        raise not_running(state)
    settings = prepare.with_catalog(settings, state)
    prepared = prepare.prepare(settings, environ, state, progress.say)
    state.prepare()
    with state.lock(progress.say):
        pid = supervisord.find(state)
        if must_run and not pid:
            raise not_running(state)
        change = _Change(state, settings, environ, prepared, progress, began, deadline_s)
        if pid:
            _refuse_moved(state, settings, prepared, pid)
            return change.apply()
        with stopped_on_failure(state, progress.say):
            return change.start()


def down(state: StateFolder, say: Callable[[str], None], *, purge: bool = False) -> bool:
    """Stop everything of this stack; False when nothing ran. `purge`: remove its data too."""
    if not state.run.is_dir():
        if not supervisord.find(state):
            return False
        state.prepare()  # the folder was removed under the running stack
    with state.lock(say):
        ran = supervisord.stop(state, say)
        if state.exists():
            state.mark_stopped()
    if purge:
        state.purge()
    return ran


def not_running(state: StateFolder) -> NotRunning:
    return NotRunning(f"the stack in {state.root}", "is not running", "start it with `opsloop up`")


@dataclass(slots=True)
class _Change:
    """One start of a stack, or one change to a running one."""

    state: StateFolder
    settings: Settings
    environ: Mapping[str, str]
    prepared: Prepared
    progress: Progress
    began: float  # of time.monotonic()
    deadline_s: float

    def start(self) -> Running:
        state, prepared = self.state, self.prepared
        supervisord.sweep(state, self.progress.say)
        self._refuse_taken_ports(lambda _: False)
        info = StackInfo(
            port_base=self.settings.ports.base,
            catalog=str(self.settings.catalog),
            socket=str(state.socket_path()),
            started_at=time.time(),
        )
        vendors, wanted, changes = self._write(info)
        env = supervisord.environment(
            state, prepared.directory, binaries.environment(prepared.programs), self.environ
        )
        self.progress.say("starting supervisord")
        supervisord.start(state, env)
        return self._settle(info, wanted, vendors, Applied(fresh=True, changes=changes))

    def apply(self) -> Running:
        """Bring a running stack to the catalog; only what changed is touched."""
        state = self.state
        driver = supervisord.client(state)
        self._refuse_taken_ports(supervisord.Membership(state).covers)
        info = state.read() or StackInfo(self.settings.ports.base, "", str(driver.socket))
        info = replace(
            info, catalog=str(self.settings.catalog), started_at=info.started_at or time.time()
        )
        vendors, wanted, changes = self._write(info)
        updated = Updated()
        if changes.conf:
            self.progress.say("applying changed programs")
            updated = driver.update()
        touched = {*updated.added, *updated.changed, *updated.removed}
        readers = [name for name in changes.readers if name not in touched]
        if readers:
            self.progress.say(f"reading again: {', '.join(readers)}")
            read_again(self.state, self._parts(wanted), driver, readers, self.deadline_s)
        applied = Applied(False, changes, updated, tuple(readers))
        return self._settle(info, wanted, vendors, applied)

    def _refuse_taken_ports(self, is_ours: Callable[[int], bool]) -> None:
        prepared = self.prepared
        ports.refuse_taken(
            ports.uses(prepared.catalog, prepared.options, programs(prepared.conf)),
            prepared.catalog.stack.bind,
            is_ours=is_ours,
            named=_named,
        )

    def _write(self, info: StackInfo) -> tuple[Vendors, dict[str, int], Changes]:
        """Everything that the programs read, before any of them is told."""
        state, prepared = self.state, self.prepared
        base = self.settings.ports
        vendors = make_secrets(
            state.secrets, prepared.catalog, self.environ, base, prepared.directory
        )
        wanted = prepare.wanted(state, prepared.catalog, prepared.before)
        prepare.link_catalog(state, prepared.directory)
        changes = build_folder.write(state.build, prepared.bundle)
        prepare.write_all_targets(state, prepared.catalog, base, wanted)
        state.write(info)
        return vendors, wanted, changes

    def _parts(self, wanted: Mapping[str, int]) -> list[Part]:
        prepared = self.prepared
        slots = wanted_slots(prepared.catalog, wanted)
        return parts(prepared.catalog, prepared.options, prepared.conf, slots)

    def _settle(
        self, info: StackInfo, wanted: Mapping[str, int], vendors: Vendors, applied: Applied
    ) -> Running:
        """Start what should run, Prometheus last, then wait until all is healthy and data flows.

        Prometheus looks when the others serve: what is still starting is no fault to heal.
        """
        found = self._parts(wanted)
        driver = supervisord.client(self.state)
        deadline = time.monotonic() + self.deadline_s
        others = [p for p in found if p.name != OBSERVER]
        revived = reconcile(driver, others)
        if applied.fresh:
            with Checker(self.state, others, driver) as checker:
                wait_healthy(checker, deadline, self.progress.parts)
        revived += reconcile(driver, [p for p in found if p.name == OBSERVER])
        restarted = {*applied.updated.added, *applied.updated.changed}
        if not applied.fresh:
            names_ = tuple(p.name for p in revived if p.target.partition(":")[0] not in restarted)
            applied = replace(applied, started=names_)
        with Checker(self.state, found, driver) as checker:
            statuses = wait_healthy(checker, deadline, self.progress.parts)
            reader = flow_reader(self.state, checker, info)
            flow = wait_flowing(reader, deadline, self.progress.flow, self.state)
        return Running(
            state=self.state,
            info=info,
            statuses=tuple(statuses),
            flow=flow,
            vendors=vendors,
            applied=applied,
            warnings=self.prepared.warnings,
            seconds=time.monotonic() - self.began,
        )


def reconcile(driver: Supervisor, found: Sequence[Part]) -> list[Part]:
    """Start what should run and does not, stop slots that should not run; returns the started."""
    infos = {p.target: p for p in driver.processes()}
    started = []
    for part in found:
        info = infos.get(part.target)
        if info is None:
            continue
        runs = info.state in RUNNING_STATES
        if part.wanted and not runs:
            driver.start(part.target)
            started.append(part)
        elif not part.wanted and runs:
            driver.stop(part.target, wait=False)
    return started


def flow_reader(state: StateFolder, checker: Checker, info: StackInfo) -> FlowReader:
    """Reads the flow of a stack with these parts."""
    addresses = {p.name: p.address for p in checker.parts}
    return FlowReader(
        state,
        checker.http,
        prometheus=addresses.get("prometheus", ""),
        engine=addresses.get("engine"),
        own=[a for a in addresses.values() if a],
        since=info.started_at,
    )


def _refuse_moved(state: StateFolder, settings: Settings, prepared: Prepared, pid: int) -> None:
    """A running supervisord keeps its environment: what stands there needs a new one."""
    if not supervisord.client(state).alive():
        raise StackError(
            f"the stack in {state.root}",
            f"its supervisord (pid {pid}) runs and does not answer",
            "`opsloop down` ends it, then `opsloop up`",
        )
    info = state.read()
    base = settings.ports.base
    if info is not None and info.port_base != base:
        raise StackError(
            f"the stack in {state.root}",
            f"runs with --port-base {info.port_base}, not {base}",
            "give that one, or `opsloop down` first",
        )
    env = processes.environment(pid)
    running_dir = env.get(supervisord.ENV_CATALOG_DIR, "")
    if running_dir != str(prepared.directory):
        raise StackError(
            f"the stack in {state.root}",
            f"runs a catalog of {running_dir}, not of {prepared.directory}",
            "`opsloop down` first, or choose another --state and --port-base",
        )
    named = binaries.environment(prepared.programs)
    used = {p.variable for p in binaries.in_conf(prepared.conf)}
    moved = sorted(v for v in used if env.get(v) != named.get(v))
    if moved:
        raise StackError(
            f"the stack in {state.root}",
            f"was started with another {', '.join(moved)}",
            "`opsloop down` first, then `opsloop up`",
        )


def _named(holder: Holder) -> str:
    other = processes.environment(holder.pid).get(ENV_STATE) if holder.pid else None
    return f"{holder}, of the stack in {other}" if other else str(holder)
