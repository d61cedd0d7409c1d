"""A drill watched on the overview: one page that is never loaded anew tells it from fault to verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import sync_playwright

from opsloop.settings import Ports
from tests.drills.whole import Stack, whole_stack
from tests.web.browser import DEADLINE_MS, chromium, looking

pytestmark = pytest.mark.full
# Each text of the three sentences, when it changes.
LISTENS = """() => {
  const glance = document.getElementById('glance');
  const lines = () => [...glance.querySelectorAll('p')].map(p => p.textContent.trim());
  window.said = [lines()]; window.tones = [glance.className];
  new MutationObserver(() => { said.push(lines()); tones.push(glance.className); })
    .observe(glance, { childList: true, subtree: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack() as stack:
        yield stack


def test_the_overview_tells_a_drill_from_fault_to_verdict(stack: Stack) -> None:
    url = f"http://127.0.0.1:{Ports(stack.port_base).console}"
    with (
        sync_playwright() as playwright,
        chromium(playwright) as browser,
        looking(browser) as looked,
    ):
        looked.go(f"{url}/")
        page = looked.page
        page.wait_for_selector("#glance >> text=Nothing is broken", timeout=DEADLINE_MS)
        page.evaluate(LISTENS)
        done = stack.opsloop("drill", "service-kill", "--json")
        assert done.code == 0, f"{done.err}\n{stack.logs()}"
        run = done.last["run_id"]
        end = f"last it healed api at .*run {run}"
        page.wait_for_function(
            "(end) => new RegExp(end).test(document.getElementById('glance').textContent)"
            " && document.getElementById('glance').textContent.includes('Nothing is broken')",
            arg=end,
            timeout=DEADLINE_MS,
        )
        tones = page.evaluate("window.tones")
        said = page.evaluate("window.said")  # gone, had the page been loaded anew
        assert looked.wrong == []
    told = [
        first(said, 0, "Nothing is broken"),
        first(said, 0, r"is down, since \d\d:\d\d:\d\d UTC \("),
        first(said, 2, rf"The loop (acts since|did it \(restart api:api-\d\)).*run {run}\b"),
        last(said, 0, "Nothing is broken"),
    ]
    assert told == sorted(told), said
    assert told[0] < told[1], said
    assert told[2] < told[3], said
    assert re.search(end, said[-1][2]), said[-1]
    assert all(len(lines) == 3 for lines in said)
    assert (tones[told[0]], tones[told[2]], tones[-1]) == (
        "glance good",
        "glance info",
        "glance good",
    )


def first(said: list[list[str]], which: int, pattern: str) -> int:
    """When a sentence was told first."""
    found = [i for i, lines in enumerate(said) if re.search(pattern, lines[which])]
    assert found, (pattern, said)
    return found[0]


def last(said: list[list[str]], which: int, pattern: str) -> int:
    assert re.search(pattern, said[-1][which]), said[-1]
    return len(said) - 1
