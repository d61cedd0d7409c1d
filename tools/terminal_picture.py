"""Run a command and keep what a terminal would have shown as an SVG picture.

.venv/bin/python tools/terminal_picture.py docs/images/drill.svg opsloop drill service-kill
"""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100


def main() -> int:
    """Exit code of the command; nothing is kept when it failed."""
    picture, *command = sys.argv[1:]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.stderr.write(ran.stdout + ran.stderr)
        return ran.returncode
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text("$ " + " ".join([Path(command[0]).name, *command[1:]]), style="bold green"))
    for line in ran.stdout.splitlines():
        style = "bold" if line.startswith(("drill", "passed")) else ""
        console.print(Text(line, style=style))
    svg = console.export_svg(title="opsloop")
    Path(picture).parent.mkdir(parents=True, exist_ok=True)
    Path(picture).write_text(_without_fonts(svg), encoding="utf-8")
    return 0


def _without_fonts(svg: str) -> str:
    """The picture asks no other host for a font."""
    start = svg.find("@font-face")
    while start != -1:
        end = svg.index("}", start) + 1
        svg = svg[:start] + svg[end:]
        start = svg.find("@font-face")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
