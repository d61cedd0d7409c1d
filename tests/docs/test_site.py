"""Every link leads somewhere, and the pages build as a site that asks no other host."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tools import site

_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page: its headings as GitHub and mkdocs spell them, and its own."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    own = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        own.add(plain.replace(" ", "-"))
    return frozenset(own)


@pytest.mark.parametrize("page", site.pages(), ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = _CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for whole in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = whole.partition("#")
        if re.match(r"[a-z]+:", whole):
            assert whole.startswith(("https://", "mailto:")), whole
            continue
        there = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert there.exists(), f"{page} links to {whole}"
        assert there.is_relative_to(ROOT), f"{page} links out of the repository: {whole}"
        if anchor:
            assert anchor in anchors(there), f"{page} links to {whole}, which has no such heading"


def test_every_page_is_in_the_navigation() -> None:
    listed = set()
    for entry in site.configuration()["nav"]:
        for value in entry.values():
            listed |= {value} if isinstance(value, str) else set(value)
    assert listed - {"docs/decisions/index.md"} == {str(p) for p in site.pages()}


@pytest.mark.full
def test_the_site_builds_and_asks_no_other_host(tmp_path: Path) -> None:
    site.build(tmp_path / "site")
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert len(built) >= len(site.pages())
    for path in built:
        text = path.read_text(encoding="utf-8")
        outside = re.findall(
            r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//[^\s>]+|"
            r"<link[^>]+rel=[\"']?(?:stylesheet|preload|preconnect|icon)[^>]+href=[\"']?https?:[^>]+",
            text,
        )
        assert outside == [], path
    for path in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)[\s\"']*https?:", path.read_text("utf-8")), path
