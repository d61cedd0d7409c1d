"""Forgetting: closed episodes by age, and the beginning of the audit, a little at a time."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from opsloop.store import audit
from opsloop.store.statements import queries

# In this order: what refers to a row goes before it.
_OF_EPISODES = ("actions", "approvals", "escalations", "runs", "episodes")


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much one step forgot."""

    episodes: int = 0
    audit_rows: int = 0

    @property
    def nothing(self) -> bool:
        return not (self.episodes or self.audit_rows)


def step(c: sqlite3.Connection, before: float, limit: int, now: float) -> Pruned:
    """Forget up to `limit` closed episodes that ended before (unix seconds), with their runs,
    and up to `limit` of the oldest audit rows; one transaction.

    The chain then begins at an anchor, the number and hash of the last row that was forgotten,
    and a row of the audit says so.
    """
    found = c.execute(queries()["old_episodes"], {"before": before, "limit": limit}).fetchall()
    ids = json.dumps([row[0] for row in found])
    if found:
        for table in _OF_EPISODES:
            c.execute(queries()[f"forget_{table}"], {"ids": ids})
    rows = 0
    last: sqlite3.Row | None = None
    for row in c.execute(queries()["oldest_audit"], {"limit": limit}):
        if row["at"] >= before:
            break
        rows, last = rows + 1, row
    pruned = Pruned(len(found), rows)
    if pruned.nothing:
        return pruned
    body = {"episodes": pruned.episodes, "audit_rows": rows, "before": before}
    audit.append(c, now, "prune", body)
    if last is not None:
        c.execute(queries()["set_anchor"], {"id": last["id"], "hash": last["hash"]})
        c.execute(queries()["forget_audit"], {"id": last["id"]})
    return pruned
