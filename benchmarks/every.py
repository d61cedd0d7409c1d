"""Every benchmark, one after the other, and one table of what was measured, its goal and its limit."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import keep
from benchmarks._output import say

HERE = Path(__file__).parent
HEADERS = ("benchmark", "figure", "measured", "goal", "met", "limited by")
SLOW = {"crash", "soak"}  # up to an hour each by themselves; they are named, or left out


def names() -> list[str]:
    """The modules here that report figures under their own name."""
    return sorted(
        path.stem
        for path in HERE.glob("[a-z]*.py")
        if re.search(
            rf'^ +report\(\s*"{path.stem}"', path.read_text(encoding="utf-8"), re.MULTILINE
        )
    )


def kept(chosen: Iterable[str]) -> list[dict[str, Any]]:
    """What is kept of these benchmarks, as each printed it."""
    paths = [keep.RESULTS / f"{name}.json" for name in chosen]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def rows(found: Sequence[Mapping[str, Any]], *, every: bool) -> list[tuple[str, ...]]:
    """Lines under HEADERS: figures with a goal, or `every` figure."""
    lines: list[tuple[str, ...]] = []
    for benchmark in found:
        for result in benchmark["results"]:
            if result["goal"] is None and not every:
                continue
            value = result["value"]
            measured = "-" if value is None else f"{value:.4g} {result['unit']}"
            goal = "" if result["goal"] is None else f"{result['op']} {result['goal']:g}"
            met = {True: "yes", False: "NO", None: "-"}[result["met"]]
            cells = (result["name"], measured, goal, met, result["limit"])
            lines.append((benchmark["benchmark"], *cells))
    return lines


def table(lines: Sequence[tuple[str, ...]]) -> str:
    """Aligned columns under HEADERS."""
    whole = [HEADERS, *lines]
    widths = [max(len(line[i]) for line in whole) for i in range(len(HEADERS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in whole
    )


def main() -> int:
    """1 when a benchmark did not run; goals that are missed are said, not failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.every", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these [all but soak]")
    parser.add_argument("--quick", action="store_true", help="within 50 s each; keeps nothing")
    parser.add_argument("--kept", action="store_true", help="run nothing: show what is kept")
    parser.add_argument("--all-figures", action="store_true", help="also those without a goal")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all as JSON")
    options = parser.parse_args()
    known = names()
    if unknown := set(options.names) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    chosen = options.names or [name for name in known if options.kept or name not in SLOW]
    found, failed = (kept(chosen), []) if options.kept else measured(chosen, quick=options.quick)
    print(table(rows(found, every=options.all_figures)))
    for benchmark in found[:1]:
        print(", ".join(f"{k} {v}" for k, v in benchmark["machine"].items()))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name in failed:
        say(f"{name} did not run; python -m benchmarks.{name} says why")
    return 1 if failed else 0


def measured(chosen: Sequence[str], *, quick: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """What each measured, and the names of those that did not run; kept unless `quick`."""
    found, failed = [], []
    for name in chosen:
        began = time.monotonic()
        say(f"bench: {name}")
        result = keep.measure(name, ["--quick"] if quick else [])
        if result is None:
            failed.append(name)
            continue
        found.append(result)
        if not quick:
            keep.store(result)
        say(f"bench: {name} took {time.monotonic() - began:.0f} s")
    if not quick:
        keep.tell_readme()
    return found, failed


if __name__ == "__main__":
    sys.exit(main())
