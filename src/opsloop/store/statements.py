"""The SQL of schema.sql and queries.sql, by name."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent
_MARK = re.compile(r"^-- (\w+) --$", re.MULTILINE)


@cache
def queries() -> Mapping[str, str]:
    """Name -> statement, comments taken off. ValueError when one is nameless or undescribed."""
    pieces = _MARK.split((_FOLDER / "queries.sql").read_text())
    found: dict[str, str] = {}
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        lines = text.strip().splitlines()
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip()
        if name in found or not lines[0].startswith("-- ") or not sqlite3.complete_statement(sql):
            raise ValueError(f"queries.sql: {name} is doubled, undescribed or no whole statement")
        found[name] = sql
    return found


def statements(text: str) -> list[str]:
    """The statements of a script, so that it can run inside one transaction."""
    found, current = [], ""
    for line in text.splitlines(keepends=True):
        current += line
        # A trigger's body has semicolons of its own: only SQLite knows where it ends.
        if line.rstrip().endswith(";") and sqlite3.complete_statement(current):
            found.append(current.strip())
            current = ""
    if re.sub(r"--[^\n]*", "", current).strip():
        raise ValueError(f"no whole statement: {current.strip()[:80]!r}")
    return found


@cache
def schema() -> str:
    return (_FOLDER / "schema.sql").read_text()
