"""docs/images/architecture.svg: the packages and who imports whom, drawn from the code itself."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "opsloop"
# What each package owns, as the picture says it; a test holds that none is missing.
OWNS: Mapping[str, str] = {
    "cli": "commands",
    "app": "wires the processes",
    "web": "HTTP: intake, API, pages",
    "drills": "faults, timelines",
    "stack": "start, stop, health",
    "report": "what people read",
    "store": "durable state",
    "drivers": "do a step, answer a question",
    "remediation": "decide, act, verify (pure)",
    "compile": "catalog to files (pure)",
    "catalog": "what people declare",
    "names": "shared names",
    "settings": "environment",
    "log": "log lines",
    "errors": "error tree",
}
TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
    ' markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#4a5a6a"/></marker></defs>'
)
BOX_W, BOX_H, GAP_X, GAP_Y, MARGIN, LANE = 190, 48, 40, 34, 24, 14


def layers() -> list[list[str]]:
    """The layers of .importlinter from the top, each with its packages."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    text = re.sub(r"[()]", "", parser["importlinter:contract:layers"]["layers"])
    rows = [[p.strip() for p in line.split("|")] for line in text.split("\n") if line.strip()]
    return [row for row in rows if row != ["__main__"]]


def imports() -> dict[str, set[str]]:
    """Package (or module at the top) -> what it imports of the others, read from the code."""
    found: dict[str, set[str]] = {name: set() for row in layers() for name in row}
    for path in sorted(SOURCE.rglob("*.py")):
        owner = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if owner not in found:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found[owner] |= {n for n in _named(node) if n in found and n != owner}
    return found


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom) and node.module:
        if node.module == "opsloop":
            return [alias.name for alias in node.names]
        modules = [node.module]
    elif isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    else:
        return []
    return [m.split(".")[1] for m in modules if m.startswith("opsloop.")]


def direct(edges: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The edges that no longer way of imports says as well: what is left is readable."""
    reach: dict[str, set[str]] = {}
    for row in reversed(layers()):
        for name in row:
            reach[name] = set(edges[name]).union(*(reach[other] for other in edges[name]))
    return sorted(
        (name, other)
        for name in edges
        for other in edges[name]
        if not any(other in reach[way] for way in edges[name] - {other})
    )


def picture() -> str:
    """The SVG, the same byte for byte while the imports are the same."""
    rows = layers()
    arrows = direct(imports())
    row_of = {name: at for at, row in enumerate(rows) for name in row}
    long = [pair for pair in arrows if row_of[pair[1]] - row_of[pair[0]] > 1]
    inner = max(len(r) for r in rows) * (BOX_W + GAP_X) - GAP_X
    width = 2 * MARGIN + inner + 2 * LANE * (len(long) + 1)
    height = 2 * MARGIN + len(rows) * (BOX_H + GAP_Y) - GAP_Y
    place: dict[str, tuple[int, int]] = {}
    for at, row in enumerate(rows):
        left = (width - len(row) * (BOX_W + GAP_X) + GAP_X) // 2
        for n, name in enumerate(row):
            place[name] = (left + n * (BOX_W + GAP_X), MARGIN + at * (BOX_H + GAP_Y))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="Packages of opsloop and their imports" font-family="sans-serif">'
    )
    lines = [head, TIP, f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    for a, b in arrows:
        if (a, b) in long:
            lines.append(_around(place[a], place[b], long.index((a, b)) + 1, width))
        else:
            lines.append(_down(place[a], place[b]))
    lines += [_box(name, *place[name]) for row in rows for name in row]
    return "\n".join([*lines, "</svg>", ""])


def _down(start: tuple[int, int], end: tuple[int, int]) -> str:
    """From the lower edge of a box to the upper edge of one in the next row."""
    x1, y1 = start[0] + BOX_W // 2, start[1] + BOX_H
    x2, y2 = end[0] + BOX_W // 2, end[1]
    return _path(f"M{x1} {y1}C{x1} {y1 + GAP_Y} {x2} {y2 - GAP_Y} {x2} {y2}")


def _around(start: tuple[int, int], end: tuple[int, int], lane: int, width: int) -> str:
    """Past the rows between: out at the side of one box, down its own lane, in at the other."""
    right = end[0] + BOX_W // 2 >= width // 2
    x = width - MARGIN - (LANE * lane - LANE // 2) if right else MARGIN + LANE * lane - LANE // 2
    edge = BOX_W if right else 0
    # Lanes leave and arrive at heights of their own, so that two of one box stay apart.
    y1, y2 = (y + 10 + 7 * (lane % 5) for y in (start[1], end[1]))
    return _path(f"M{start[0] + edge} {y1}H{x}V{y2}H{end[0] + edge}")


def _path(way: str) -> str:
    return f'<path d="{way}" fill="none" stroke="#4a5a6a" marker-end="url(#tip)"/>'


def _box(name: str, x: int, y: int) -> str:
    middle = x + BOX_W // 2
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="6" fill="#eef3f8"'
        f' stroke="#4a5a6a"/><text x="{middle}" y="{y + 20}" text-anchor="middle"'
        f' font-size="15" font-weight="bold" fill="#1a2a3a">{escape(name)}</text>'
        f'<text x="{middle}" y="{y + 38}" text-anchor="middle" font-size="12"'
        f' fill="#33475b">{escape(OWNS.get(name, ""))}</text>'
    )
