"""What other processes do with the store while the engine has it open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from opsloop.store.sqlite import SqliteStore
from tests.support.wait import wait_until

_LOOK = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("SELECT paused FROM control").fetchall()
c.close()
"""


def test_a_process_that_looks_and_leaves_does_not_take_the_log_away(tmp_path: Path) -> None:
    """Closing any descriptor of the file would drop this process's locks on it (POSIX): the
    last reader elsewhere would then remove the log under a store that goes on writing to it."""
    path = tmp_path / "engine.sqlite"
    with SqliteStore(path) as store, SqliteStore(path) as second:
        store.pause("one", 1.0)
        assert second.paused() == (True, "one")
        log = Path(f"{path}-wal")
        before = log.stat().st_ino
        subprocess.run([sys.executable, "-c", _LOOK, str(path)], check=True, timeout=300)
        assert log.exists()
        assert log.stat().st_ino == before
        store.pause("two", 2.0)
    with SqliteStore(path) as again:
        wait_until(lambda: again.paused() == (True, "two"), "what was written is there")
