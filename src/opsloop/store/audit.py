"""The audit chain: each row carries the hash of the one before, so that a change shows."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsloop.store import rows
from opsloop.store.statements import queries


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What checking the chain found. rows: how many were read; bad_id: the first that does
    not fit, None when all do."""

    rows: int
    bad_id: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.bad_id is None


def append(
    connection: sqlite3.Connection,
    at: float,
    kind: str,
    body: Mapping[str, Any],
    *,
    episode_id: int | None = None,
    run_id: int | None = None,
) -> None:
    """Add a row, inside the transaction of what it tells about."""
    control = connection.execute(queries()["control"]).fetchone()
    row = {
        "id": control["audit_id"] + 1,
        "at": float(at),  # as it is read back
        "kind": kind,
        "episode_id": episode_id,
        "run_id": run_id,
        "body": rows.json_text(body),
        "prev": control["audit_hash"],
    }
    connection.execute(queries()["append_audit"], {**row, "hash": _hash(row)})


def verify(connection: sqlite3.Connection) -> ChainReport:
    """Read the chain from its anchor to the head that the control row remembers."""
    control = connection.execute(queries()["control"]).fetchone()
    first, prev = control["anchor_id"], control["anchor_hash"]
    last = first
    for row in connection.execute(queries()["audit"]):
        last += 1
        read = last - first
        if row["id"] != last:
            return ChainReport(read - 1, last, f"row {last} is missing")
        if row["prev"] != prev:
            return ChainReport(read, row["id"], f"row {last} does not follow row {last - 1}")
        if row["hash"] != _hash(row):
            return ChainReport(read, row["id"], f"row {last} was changed after it was written")
        prev = row["hash"]
    if (control["audit_id"], control["audit_hash"]) != (last, prev):
        return ChainReport(
            last - first, last + 1, f"rows {last + 1} to {control['audit_id']} are missing"
        )
    return ChainReport(last - first)


def _hash(row: Mapping[str, Any] | sqlite3.Row) -> str:
    names = ("id", "at", "kind", "episode_id", "run_id", "body", "prev")
    text = json.dumps([row[name] for name in names], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
