"""Runs a benchmark whole, keeps its figures in benchmarks/results, and tells the pages of them."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
SAFETY = ROOT / "docs" / "concepts" / "safety.md"
BEGIN, END = "<!-- numbers -->", "<!-- end of numbers -->"
# What README shows: figures by the benchmark and the beginning of their names.
SHOWN = {
    "loop": (
        "make run, warm",
        "service-kill, answering p50",
        "service-kill, answering p95",
        "service-kill, verified p95",
        "service-hang, answering p95",
        "pages",
        "whole stack, PSS",
    ),
    "slo": (
        "night burst: 30d error ratio",
        "60 restarts: 30d error ratio",
        "idle nights: 30d error ratio",
    ),
    "slo_cost": (
        "20 SLOs of 8 series: samples read",
        "20 SLOs of 8 series: rule-manager time",
        "1000 SLOs:",
    ),
    "compile": ("1,000 services",),
}
# What the page of safety shows: all of these.
TRUST = dict.fromkeys(("crash", "storm", "engine", "intake"), ("",))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keep", description=__doc__)
    parser.add_argument("name", help="of a benchmark, or readme: only write README's table again")
    parser.add_argument("more", nargs="*", help="arguments of the benchmark, after --")
    options = parser.parse_args()
    if options.name != "readme":
        found = measure(options.name, options.more)
        if found is None:
            return 1
        store(found)
    tell_readme()
    return 0


def measure(name: str, more: Sequence[str]) -> dict[str, Any] | None:
    """What a benchmark prints with --json; None when it did not run."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *more]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode or not ran.stdout.strip():
        return None
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def store(found: Mapping[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1) + "\n"
    (RESULTS / f"{found['benchmark']}.json").write_text(text, encoding="utf-8")


def tell_readme() -> None:
    """The page of safety, too."""
    for path, shown in ((README, SHOWN), (SAFETY, TRUST)):
        page = with_numbers(path.read_text(encoding="utf-8"), shown)
        path.write_text(page, encoding="utf-8")


def with_numbers(page: str, shown: Mapping[str, tuple[str, ...]] = SHOWN) -> str:
    """The page, with the table of what is kept between its two marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(shown)}{END}{tail}"


def table(shown: Mapping[str, tuple[str, ...]] = SHOWN) -> str:
    last = "others" if shown is SHOWN else "note"
    lines = [f"| | measured | goal | {last} |", "|---|---|---|---|"]
    for benchmark, names in shown.items():
        path = RESULTS / f"{benchmark}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))["results"]
        for name in names:
            kept = [r for r in found if r["name"].startswith(name)]
            lines += [_line(benchmark, r, "peer" if shown is SHOWN else "note") for r in kept]
    return "\n".join(lines) + "\n"


def _line(benchmark: str, result: dict[str, Any], last: str) -> str:
    value = "-" if result["value"] is None else f"{result['value']:.3g} {result['unit']}"
    goal = "" if result["goal"] is None else f"{result['op']} {result['goal']:g} {result['unit']}"
    if result["met"] is False:
        goal += " (not met)"
    return f"| {result['name']} (`{benchmark}`) | {value} | {goal} | {result[last]} |"


if __name__ == "__main__":
    sys.exit(main())
