"""The store's audit as it is read and added to: decisions, and what people did and noted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from opsloop.store import audit
from opsloop.store.audit import ChainReport
from opsloop.store.readers import Readers
from opsloop.store.writer import Writer

Note = Literal["annotation", "acknowledge", "console"]
"""A deploy or the like for charts; an alert that a person has seen; what was done in the console."""


class Journal:
    """Part of a store: it brings the connections."""

    writer: Writer
    _readers: Readers

    def verify_audit(self) -> ChainReport:
        """Whether every row of the audit is as it was written, and none is missing."""
        with self._readers.reading() as c:
            c.execute("BEGIN")
            try:
                return audit.verify(c)
            finally:
                c.execute("ROLLBACK")

    def audit_of(
        self, *, run_id: int | None = None, episode_id: int | None = None
    ) -> list[dict[str, Any]]:
        """Audit rows of a run or an episode, oldest first: at, kind, body and the ids."""
        if run_id is not None:
            found = self._readers.rows("audit_of_run", run_id=run_id)
        else:
            found = self._readers.rows("audit_of_episode", episode_id=episode_id)
        return [{**dict(r), "body": json.loads(r["body"])} for r in found]

    def note(self, kind: Note, body: Mapping[str, Any], now: float) -> None:
        """Write down what a person did or said."""
        self.writer.call(lambda c: audit.append(c, now, kind, body))

    def notes(
        self, kind: Note, since: float, until: float, limit: int = 500
    ) -> list[dict[str, Any]]:
        """What was noted in that time (unix seconds), newest first: id, at and body."""
        found = self._readers.rows("notes", kind=kind, since=since, until=until, limit=limit)
        return [{"id": r["id"], "at": r["at"], "body": json.loads(r["body"])} for r in found]

    def last_change(self) -> int:
        """The number of the newest audit row: it rises with each decision and deed."""
        row = self._readers.row("control")
        return 0 if row is None else int(row["audit_id"])
