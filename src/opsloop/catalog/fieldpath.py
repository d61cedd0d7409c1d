"""Field paths of the catalog: `services.api.targets.static[0]` and what they mean to each other."""

from __future__ import annotations

import json
import re

Path = tuple[str | int, ...]
_BARE = re.compile(r"[\w:/<>*-]+")


def path_text(path: Path) -> str:
    """`("services", "api", "targets", "static", 0)` as `services.api.targets.static[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else json.dumps(part)
            text += f".{name}" if text else name
    return text


def related(a: Path, b: Path) -> bool:
    """Whether one is the other, or lies inside the other."""
    short = min(len(a), len(b))
    return a[:short] == b[:short]
