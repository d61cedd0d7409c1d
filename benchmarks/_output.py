"""What every benchmark prints: the machine, the results with their goals, a table or JSON."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Op = Literal["<=", ">="]


@dataclass(frozen=True)
class Result:
    """One measured figure. peer: what the best other does; limit: what bounds the figure."""

    name: str
    value: float | None
    unit: str
    goal: float | None = None
    op: Op = "<="
    peer: str = ""
    limit: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is no goal or nothing was measured."""
        if self.value is None or self.goal is None:
            return None
        return self.value <= self.goal if self.op == "<=" else self.value >= self.goal

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        met_at = ("name", "value", "unit", "goal", "op")
        head = {k: values.pop(k) for k in met_at}
        return {**head, "met": self.met, **values}


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, None of nothing: a value that was really measured."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def report(benchmark: str, results: Sequence[Result], *, as_json: bool) -> None:
    """A table; with as_json the last line of stdout is the one object."""
    facts = machine()
    if not as_json:
        print(f"{benchmark}: {', '.join(f'{k} {v}' for k, v in facts.items())}")
        _table(results)
        return
    _table(results, file=sys.stderr)
    found = [r.as_json() for r in results]
    print(json.dumps({"benchmark": benchmark, "machine": facts, "results": found}))


def _table(results: Sequence[Result], file: Any = None) -> None:
    rows = [("", "measured", "goal", "met", "peer", "limited by", "note")]
    for r in results:
        value = "-" if r.value is None else f"{r.value:.4g} {r.unit}"
        goal = "" if r.goal is None else f"{r.op} {r.goal:g} {r.unit}"
        met = {True: "yes", False: "NO", None: ""}[r.met]
        rows.append((r.name, value, goal, met, r.peer, r.limit, r.note))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))
        print(line.rstrip(), file=file or sys.stdout, flush=True)
