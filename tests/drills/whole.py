"""A whole stack with the shop, for drills: started once a module, stopped whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers import require
from tests.support.stack import free_port_base

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "examples" / "shop" / "opsloop.yaml"
PROGRAMS = (
    ("prometheus",),
    ("prometheus-alertmanager", "alertmanager"),
    ("prometheus-node-exporter", "node_exporter"),
    ("prometheus-blackbox-exporter", "blackbox_exporter"),
    ("prometheus-postgres-exporter", "postgres_exporter"),
    ("postgres",),
)


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> dict[str, Any]:
        """The object on the last line of stdout."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


@dataclass(frozen=True)
class Stack:
    """A running stack. `opsloop` runs a command of ours on it."""

    state: Path
    port_base: int

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "opsloop", *words, "--state", str(self.state)]

    def opsloop(self, *words: str, seconds: float = 600) -> Done:
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def messages(self) -> list[dict[str, Any]]:
        done = self.opsloop("inbox", "--json")
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = json.loads(done.out)["messages"]
        return found

    def logs(self) -> str:
        """The ends of the logs, for a test that failed."""
        parts = []
        for path in sorted((self.state / "logs").glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-15:]
            parts.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(parts)


@contextlib.contextmanager
def whole_stack(change: Callable[[Path], None] | None = None) -> Iterator[Stack]:
    """`opsloop up` on free ports; `opsloop down` at the end. Short paths, for sockets.

    change: is given a copy of the shop's folder, to make another catalog of it.
    """
    for program in PROGRAMS:
        require(*program)
    folder = Path(tempfile.mkdtemp(prefix="ot-"))
    stack = Stack(folder / "state", free_port_base())
    catalog = CATALOG
    try:
        if change is not None:
            shop = folder / "shop"
            shutil.copytree(CATALOG.parent, shop, ignore=shutil.ignore_patterns("__pycache__"))
            change(shop)
            catalog = shop / CATALOG.name
        up = stack.opsloop(
            "up", "--catalog", str(catalog), "--port-base", str(stack.port_base), seconds=240
        )
        assert up.code == 0, f"{up.out}\n{up.err}\n{stack.logs()}"
        yield stack
    finally:
        print(stack.logs(), file=sys.stderr)
        stack.opsloop("down", seconds=120)
        record = stack.state / "data" / "database.path"
        if record.exists():
            cluster = Path(record.read_text().strip())
            if stack.state not in cluster.parents:
                shutil.rmtree(cluster.parent, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
