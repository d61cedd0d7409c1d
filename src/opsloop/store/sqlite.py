"""The Store port on SQLite: each method is one transaction, durable when it returns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from opsloop import names
from opsloop.errors import NotRunning, Paused, StoreError, StoreUnusable
from opsloop.remediation.approval import Approval, Ending
from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.plan import Run, RunState
from opsloop.remediation.ports import ActionRecord, Escalation, PastRun, StepResult, Written
from opsloop.store import audit, changes, prune, rows
from opsloop.store.connection import prepare
from opsloop.store.journal import Journal
from opsloop.store.readers import Readers
from opsloop.store.statements import queries
from opsloop.store.writer import Writer

T = TypeVar("T")


class SqliteStore(Journal):
    """The engine's state in one file. Threads and processes may share it.

    Writes go through one thread (group commit), reads have connections of their own. Every
    failure is a StoreError; a file that cannot be used is a StoreUnusable.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open, and make it when `create`; else StoreUnusable when there is none."""
        self.path = path
        if not create and not path.is_file():
            raise StoreUnusable(
                str(path), "there is no such file", "start the stack with `opsloop up`"
            )
        self._readers = Readers(path, prepare(path))
        self._rows, self._row = self._readers.rows, self._readers.row
        self.writer = Writer(path)
        self._stopping = ""
        self._holder: str | None = None  # who we hold the lease as, once we have held it

    def close(self) -> None:
        self.writer.close()
        self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Alerts and episodes

    def intake(self, alerts: Sequence[Alert], now: float) -> list[int]:
        return self.writer.call(lambda c: changes.intake(c, alerts, now))

    def intake_soon(
        self,
        alerts: Sequence[Alert],
        now: float,
        done: Callable[[list[int] | None, Exception | None], None],
    ) -> None:
        """As `intake`, but returns at once; `done(ids, error)` is called after the commit, on
        the writer's thread. Raises StoreError after close."""
        self.writer.submit(lambda c: changes.intake(c, alerts, now), done)

    def due(self, now: float, limit: int) -> list[Episode]:
        return self._episodes("due", now=now, limit=limit)

    def next_due(self) -> float | None:
        row = self._row("next_due")
        return None if row is None else float(row[0])

    def episode(self, episode_id: int) -> Episode:
        row = self._row("episode", id=episode_id)
        if row is None:
            raise StoreError(f"episode {episode_id}", "there is none", "`opsloop episodes` lists")
        return rows.episode(row)

    def firing(self) -> list[Episode]:
        return self._episodes("firing")

    def episodes_of(self, services: Sequence[str], ended_since: float) -> list[Episode]:
        names = json.dumps(list(services))
        return self._episodes("episodes_of", services=names, since=ended_since)

    def last_episode(self, policy: str, service: str) -> Episode | None:
        row = self._row("last_episode", policy=policy, service=service)
        return None if row is None else rows.episode(row)

    def episodes(self, limit: int = 100, *, closed: bool = False) -> list[Episode]:
        """For people: the newest first, those that are closed only when asked."""
        return self._episodes("all_episodes" if closed else "open_episodes", limit=limit)

    def end_episodes(self, ids: Sequence[int], now: float) -> None:
        if not ids:
            return
        text = json.dumps(list(ids))
        self.writer.call(lambda c: changes.execute(c, "end_episodes", ids=text, now=now))

    def decide_again(self, now: float) -> None:
        self.writer.call(lambda c: changes.execute(c, "decide_again", now=now))

    def set_episode(
        self,
        episode_id: int,
        state: EpisodeState,
        reason: str,
        due_at: float | None,
        now: float,
        *,
        firing: bool | None = None,
    ) -> None:
        self.writer.call(
            lambda c: changes.set_episode(c, episode_id, state, reason, due_at, now, firing)
        )

    # The kill switch and the lease

    def paused(self) -> tuple[bool, str]:
        row = self._row("control")
        return (False, "") if row is None else (bool(row["paused"]), row["paused_why"])

    def pause(self, why: str, now: float) -> None:
        """No action begins from now on, in any process, until `resume`; survives restarts."""
        self._set_paused(True, why, now)

    def resume(self, why: str, now: float) -> None:
        self._set_paused(False, why, now)

    def _set_paused(self, paused: bool, why: str, now: float) -> None:
        def work(c: sqlite3.Connection) -> None:
            changes.execute(
                c,
                "set_paused",
                paused=int(paused),
                why=why if paused else "",
                at=now if paused else None,
            )
            audit.append(c, now, "pause" if paused else "resume", {"why": why})

        self.writer.call(work)

    def stop_actions(self, why: str) -> None:
        """As a pause, but of this process only and not for longer than it lives."""
        self._stopping = why

    def _refuse_when_stopping(self) -> None:
        if self._stopping:
            raise Paused("the loop", self._stopping)

    def lease(self, holder: str, now: float, ttl: float) -> bool:
        held = self.writer.call(
            lambda c: changes.execute(c, "lease", holder=holder, now=now, until=now + ttl)
        )
        if held:
            self._holder = holder
        return held > 0

    def drop_lease(self) -> None:
        """For who knows that the holder is gone (its lock on the file is free)."""
        self.writer.call(lambda c: changes.execute(c, "drop_lease"))

    # Decisions and runs

    def history(self, since: float, episode_id: int | None = None) -> list[PastRun]:
        found = self._rows("history", since=since, episode_id=episode_id)
        return [rows.past_run(r) for r in found]

    def record(self, written: Written, now: float) -> Run | None:
        if written.kind == "act":
            self._refuse_when_stopping()
        return self.writer.call(lambda c: changes.record(c, written, now, self._holder))

    def record_all(self, written: Sequence[Written], now: float) -> None:
        """Decisions that do not act, in one transaction: all of them or none."""

        def work(c: sqlite3.Connection) -> None:
            for one in written:
                changes.record(c, one, now)

        self.writer.call(work)

    def approval_of(self, episode_id: int) -> Approval | None:
        row = self._row("approval_of_episode", episode_id=episode_id)
        return None if row is None else rows.approval(row)

    def approvals(self) -> list[Approval]:
        return [rows.approval(r) for r in self._rows("open_approvals")]

    def all_approvals(self, limit: int = 100) -> list[Approval]:
        """For people: the newest first, ended ones too."""
        return [rows.approval(r) for r in self._rows("all_approvals", limit=limit)]

    def answer_approval(
        self, approval_id: int, by: str, why: str, now: float, *, agreed: bool
    ) -> Approval:
        """A person approves or rejects. StoreError when there is none; Conflict when it has
        ended, expired, or was approved before."""
        return self.writer.call(
            lambda c: changes.answer(c, approval_id, by, why, now, agreed=agreed)
        )

    def end_approval(self, approval_id: int, ending: Ending, now: float) -> None:
        self.writer.call(lambda c: changes.end_approval(c, approval_id, ending, now))

    def run(self, run_id: int) -> Run:
        row = self._row("run", id=run_id)
        if row is None:
            raise StoreError(f"run {run_id}", "there is none", "`opsloop runs` lists them")
        return rows.run(row)

    def open_runs(self) -> list[Run]:
        return [rows.run(r) for r in self._rows("open_runs")]

    def runs(self, limit: int = 100) -> list[Run]:
        """For people: the newest first."""
        return [rows.run(r) for r in self._rows("all_runs", limit=limit)]

    def runs_of(self, episode_id: int) -> list[Run]:
        return [rows.run(r) for r in self._rows("runs_of_episode", episode_id=episode_id)]

    def actions(self, run_id: int) -> list[ActionRecord]:
        return [rows.action(r) for r in self._rows("actions", run_id=run_id)]

    def begin_action(self, run: Run, index: int, now: float) -> None:
        self._refuse_when_stopping()
        self.writer.call(lambda c: changes.begin_action(c, run, index, now, self._holder))

    def end_action(self, run: Run, index: int, result: StepResult, now: float) -> None:
        self.writer.call(lambda c: changes.end_action(c, run, index, result, now))

    def move_run(
        self,
        run: Run,
        state: RunState,
        reason: str,
        now: float,
        *,
        good_since: float | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> Run:
        return self.writer.call(
            lambda c: changes.move_run(c, run, state, reason, now, good_since, detail or {})
        )

    # People

    def escalate(
        self,
        episode: Episode,
        run_id: int | None,
        reason: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        now: float,
    ) -> bool:
        return self.writer.call(
            lambda c: changes.escalate(c, episode.id, run_id, reason, labels, annotations, now)
        )

    def escalations(self) -> list[Escalation]:
        return [rows.escalation(r) for r in self._rows("escalations")]

    def escalation_of(self, episode_id: int) -> Escalation | None:
        """What people were told about an episode, ended or not."""
        row = self._row("escalation_of_episode", episode_id=episode_id)
        return None if row is None else rows.escalation(row)

    def end_escalation(self, escalation_id: int, now: float) -> None:
        def work(c: sqlite3.Connection) -> None:
            row = c.execute(queries()["end_escalation"], {"id": escalation_id, "now": now})
            for (episode_id,) in row.fetchall():
                audit.append(c, now, "escalation-end", {}, episode_id=episode_id)

        self.writer.call(work)

    # Scale

    def wanted(self, service: str) -> int | None:
        row = self._row("wanted", service=service)
        return None if row is None else int(row[0])

    def set_wanted(self, service: str, wanted: int, now: float) -> None:
        def work(c: sqlite3.Connection) -> None:
            changes.execute(c, "set_wanted", service=service, wanted=wanted, now=now)
            audit.append(c, now, "wanted", {"service": service, "wanted": wanted})

        self.writer.call(work)

    # Age

    def prune(self, before: float, limit: int, now: float) -> int:
        found = self.writer.call(lambda c: prune.step(c, before, limit, now))
        return found.episodes + found.audit_rows

    # Metrics; the audit is in Journal

    def counts(self) -> dict[str, int]:
        """Episodes that are not closed, by state."""
        return {row[0]: row[1] for row in self._rows("counts")}

    def run_counts(self) -> dict[tuple[str, str, str], tuple[int, float]]:
        """(service, policy, state) -> (how many runs, when the last of them ended or began)."""
        return {(r[0], r[1], r[2]): (r[3], r[4]) for r in self._rows("run_counts")}

    def _episodes(self, name: str, **values: object) -> list[Episode]:
        return [rows.episode(r) for r in self._rows(name, **values)]


def open_existing(state: Path) -> SqliteStore:
    """The store of the stack in `state`, for commands. NotRunning when no stack was ever up."""
    path = state / names.STORE_FILE
    if not path.is_file():
        raise NotRunning(str(state), "no stack was ever up here", "start one with `opsloop up`")
    return SqliteStore(path, create=False)
