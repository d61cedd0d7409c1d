"""Runs one drill: waits for calm, injects the fault, watches the loop, judges, cleans up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from opsloop.drills.calm import related, wait_for_calm
from opsloop.drills.faults import Aim
from opsloop.drills.inject import Injection
from opsloop.drills.timeline import (
    Page,
    Stage,
    Timeline,
    Verdict,
    judge,
    judge_control,
    unexplained_changes,
)
from opsloop.drills.watch import Prober, World, sort_messages
from opsloop.errors import SourceError, StackError, StateUnusable
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.ports import Instance

POLL_S = 0.1
SLOW_POLL_S = 0.5  # of what has no time in the timeline: pids, messages
SETTLE_S = 30.0  # after the verdict, until no page can come any more
CONTROL_MARGIN_S = 60.0
PAUSED_BY = "control drill"


class Show(Protocol):
    """Who watches: a terminal, or lines."""

    def note(self, text: str) -> None:
        """What the drill waits for; may be told again and again."""

    def mark(self, stage: Stage, seconds: float, note: str) -> None:
        """A stage was reached, seconds after the fault."""

    def tick(self, seconds: float) -> None:
        """Time passes, seconds after the fault."""


@dataclass(frozen=True, slots=True)
class Result:
    timeline: Timeline
    verdict: Verdict
    control: bool


@contextlib.contextmanager
def only_one(world: World, name: str) -> Iterator[None]:
    """One drill at a time on a stack. Raises StackError that names the other one."""
    path = world.state.run / "drill.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(str(path), f"cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
            raise StackError(
                "drill", f"another one runs: {other or 'unknown'}", "wait until it has ended"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{name} (pid {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


class Session:
    """One drill on one stack."""

    def __init__(
        self,
        world: World,
        aim: Aim,
        show: Show,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.world = world
        self.aim = aim
        self.show = show
        self._clock = clock
        self._sleep = sleep
        self._services = related(world, aim)
        self._injection = Injection(world, aim)
        self._last_message = 0
        self._told_before = 0
        self._messages: list[dict[str, Any]] = []
        self._before: dict[str, int] = {}
        self._looked_at = 0.0

    def refuse_hopeless(self, *, control: bool) -> None:
        """Raise StackError where the loop could not heal this fault, or a person paused it."""
        paused, why = self.world.store.paused()
        name = f"drill {self.aim.drill.name}"
        if paused:
            raise StackError(name, f"the loop is paused ({why})", "run `opsloop resume` first")
        if self.aim.facts is None or not (self.aim.acts or control):
            raise StackError(
                name,
                f"no policy with mode auto acts on {self.aim.drill.alert} of {self.aim.service}",
                "see `remediation` in the catalog",
            )

    # The drill

    def run(
        self, *, control: bool = False, timeout_s: float | None = None, delay_s: float = 0.0
    ) -> Result:
        """The whole drill; whatever happens, faults are ended and the loop is resumed.

        delay_s: seconds between calm and fault. Calm is seen at a scrape, so without it a fault
        always comes at the same point between two scrapes.
        """
        self.refuse_hopeless(control=control)
        target = self._injection.choose()
        wait_for_calm(self.world, self.aim, target, self.show.note, self._clock, self._sleep)
        self._sleep(delay_s)
        limit = timeout_s or self._limit(control)
        self._last_message = self.world.last_message()
        self._told_before = self.world.told_elsewhere()
        with contextlib.ExitStack() as stack:
            if control:
                self.world.store.pause(PAUSED_BY, self._clock())
                stack.callback(self._resume)
            restore = stack.enter_context(contextlib.ExitStack())
            restore.callback(self._injection.restore, self._note)
            result = self._watched(self._injection.now(target), control, limit)
            if not control and result.verdict.passed:
                restore.pop_all()
                self._injection.clear()
        return result

    def _limit(self, control: bool) -> float:
        facts = self.aim.facts
        if not control or facts is None:
            return self.aim.drill.timeout_s
        return facts.grace_s + facts.window_s + CONTROL_MARGIN_S

    def _watched(self, target: Instance, control: bool, limit_s: float) -> Result:
        self._before = self.world.pids()
        start = self._clock()
        look = self._injection.inject(target)
        timeline = Timeline(
            self.aim.drill.name, self.aim.service, target.target, self.aim.drill.alert, start
        )
        self.show.mark(Stage.FAULT, 0.0, f"{self.aim.drill.title} ({target.target})")
        prober = Prober(look)
        prober.start()
        try:
            timed_out = not self._until_done(timeline, target, prober, control, limit_s)
        finally:
            prober.end()
        self._sleep_if(not control and timeline.verified_run is not None, timeline, target, prober)
        self._changes(timeline)
        if control:
            verdict = judge_control(timeline, broken_to_the_end=prober.well_at is None)
        else:
            verdict = judge(timeline, timed_out=timed_out)
        return Result(timeline, verdict, control)

    def _until_done(
        self, timeline: Timeline, target: Instance, prober: Prober, control: bool, limit_s: float
    ) -> bool:
        """Collect facts until the drill is decided; False when the time was not enough."""
        deadline = timeline.fault_at + limit_s
        while self._clock() < deadline:
            with contextlib.suppress(SourceError):  # a look that failed is made again
                self._collect(timeline, target, prober)
            self.show.tick(self._clock() - timeline.fault_at)
            if control and (timeline.pages or prober.well_at is not None):
                return True
            if not control and self._decided(timeline, target):
                return True
            self._sleep(POLL_S)
        return False

    def _decided(self, timeline: Timeline, target: Instance) -> bool:
        if timeline.unexplained or timeline.pages:
            return True
        if timeline.verified_run is not None:
            return Stage.ANSWERING in timeline.at
        episode = self.world.episode(self.aim, target.address, timeline.fault_at)
        return episode is not None and episode.state is EpisodeState.ESCALATED

    def _sleep_if(self, healed: bool, timeline: Timeline, target: Instance, prober: Prober) -> None:
        """A page can come as long as Alertmanager has the alert: stay until it has not."""
        deadline = self._clock() + SETTLE_S
        while healed and not timeline.pages and self._clock() < deadline:
            with contextlib.suppress(SourceError):
                self._looked_at = 0.0
                self._collect(timeline, target, prober)
                if not self.world.is_listed(self.aim, target.address):
                    return
            self.show.tick(self._clock() - timeline.fault_at)
            self._sleep(POLL_S)

    # Facts

    def _collect(self, timeline: Timeline, target: Instance, prober: Prober) -> None:
        world, aim, address = self.world, self.aim, target.address
        if prober.well_at is not None:
            self._mark(timeline, Stage.ANSWERING, prober.well_at)
        if Stage.SEEN not in timeline.at and world.sees(aim, address):
            self._mark(timeline, Stage.SEEN, self._clock())
        if Stage.FIRED not in timeline.at:
            fired = world.fired_at(aim, address)
            if fired is not None:
                self._mark(timeline, Stage.SEEN, fired)
                self._mark(timeline, Stage.FIRED, fired, aim.drill.alert)
        self._collect_runs(timeline, address)
        if self._clock() - self._looked_at >= SLOW_POLL_S:
            self._looked_at = self._clock()
            self._changes(timeline)
            self._collect_pages(timeline)

    def _collect_runs(self, timeline: Timeline, address: str) -> None:
        episode = self.world.episode(self.aim, address, timeline.fault_at)
        if episode is None:
            return
        self._mark(timeline, Stage.RECEIVED, episode.first_seen, f"episode {episode.id}")
        runs = self.world.runs_since(timeline.fault_at)
        timeline.runs = [run for number, run in runs if number == episode.id]
        for run in timeline.runs:
            if run.acting_at is not None:
                steps = ", ".join(sorted(run.targets))
                self._mark(timeline, Stage.ACTION, run.acting_at, f"run {run.id} on {steps}")
        verified = timeline.verified_run
        if verified is not None and verified.finished_at is not None:
            self._mark(timeline, Stage.VERIFIED, verified.finished_at, f"run {verified.id}")

    def _collect_pages(self, timeline: Timeline) -> None:
        new = self.world.messages(self._last_message)
        if new:
            self._last_message = new[-1]["id"]
            self._messages += new
        found = sort_messages(self._messages, self._services)
        timeline.pages, timeline.other_messages = found.pages, found.others
        elsewhere = self.world.told_elsewhere() - self._told_before
        if elsewhere > 0 and not timeline.pages:
            timeline.pages = [elsewhere_page(self._clock(), elsewhere)]
        if timeline.pages:
            first = timeline.pages[0]
            self._mark(timeline, Stage.PAGED, first.at, f"{first.vendor}: {first.title}")

    def _changes(self, timeline: Timeline) -> None:
        """Pids first, runs after: a run begins durably before its effect."""
        after = self.world.pids()
        runs = [run for _, run in self.world.runs_since(timeline.fault_at)]
        services = self.world.catalog.services
        grown = frozenset(
            process
            for run in runs
            if run.service in run.targets and (process := services[run.service].process)
        )
        timeline.unexplained = unexplained_changes(
            self._before, after, runs, self._injection.broken, grown
        )

    def _mark(self, timeline: Timeline, stage: Stage, at: float, note: str = "") -> None:
        if timeline.mark(stage, at, note):
            self.show.mark(stage, timeline.seconds(stage) or 0.0, note)

    def _note(self, text: str) -> None:
        """Tell it, if anybody listens still: a closed terminal must not stop the cleaning up."""
        with contextlib.suppress(OSError):
            self.show.note(text)

    def _resume(self) -> None:
        paused, why = self.world.store.paused()
        if paused and why == PAUSED_BY:
            self.world.store.resume("control drill ended", self._clock())


def elsewhere_page(at: float, count: int) -> Page:
    """Notifications that a real vendor took: only their number is known."""
    return Page(at, "alertmanager", f"{count} notifications to people")
