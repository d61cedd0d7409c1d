"""Fenced blocks of a Markdown page, with their language."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The texts of the page's blocks in `language`; a page without one is a broken test."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [body for lang, body in _FENCE.findall(text) if lang == language]
    assert found, f"{page} has no ```{language} block"
    return found


def commands(page: str) -> list[str]:
    """Each line of the page's ```sh blocks without its comment."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.strip()]
