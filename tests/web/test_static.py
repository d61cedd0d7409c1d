"""What the browser loads: vendored by hash, small, and without what the policy refuses."""

from __future__ import annotations

import gzip
import hashlib
import re

import pytest

from opsloop.web.render import HERE, STATIC

# uPlot 1.6.32, as npm has it (dist/ and LICENSE of the tarball).
VENDORED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
OWN = ("early.js", "console.js", "charts.js")
OWN_BYTES = 20 * 1024
ALL_GZIPPED = 40 * 1024


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_files_are_what_was_published(name: str) -> None:
    assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == VENDORED[name]


def test_every_script_is_one_of_these() -> None:
    scripts = {p.name for p in STATIC.glob("*.js")}
    assert scripts == {*OWN, "uPlot.iife.min.js"}


def test_scripts_are_small() -> None:
    own = sum((STATIC / name).stat().st_size for name in OWN)
    assert own <= OWN_BYTES
    whole = sum(len(gzip.compress(p.read_bytes(), 9)) for p in STATIC.glob("*.js"))
    assert whole <= ALL_GZIPPED


def test_own_scripts_write_no_html_from_data() -> None:
    for name in OWN:
        text = (STATIC / name).read_text()
        assert "eval(" not in text
        assert "document.write" not in text
        # One place takes HTML: a fresh copy of a part of this very page, which the server escaped.
        assert len(re.findall(r"\.innerHTML\s*=[^=]", text)) == (name == "console.js")
        assert "outerHTML" not in text
        assert "insertAdjacentHTML" not in text


def test_templates_have_nothing_that_the_policy_refuses() -> None:
    for path in (HERE / "templates").glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", text), path.name
        assert "|safe}" not in text.replace(" ", ""), path.name
        assert not re.search(r"(src|href)=\"https?:", text), path.name
