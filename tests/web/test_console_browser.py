"""The console in a real browser: nothing goes wrong, everybody can use it, it keeps itself up to date."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.support.wait import wait_until
from tests.web import console_stage
from tests.web.browser import DEADLINE_MS, chromium, looking, serving
from tests.web.console_stage import Stage, stage
from tests.web.test_console import EVIL, PAGES, setup

STATES = ["healthy", "burning", "healing", "waiting", "blind"]
NARROW, WIDE = 390, 1440


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with chromium(playwright) as found:
        yield found


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as found:
        yield found


def violations(looked: object) -> list[str]:
    """What axe-core holds to be serious or critical, with where."""
    found = Axe().run(looked.page).response["violations"]  # type: ignore[attr-defined]
    return [
        f"{v['id']}: {[n['target'] for n in v['nodes']][:3]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def sideways(looked: object) -> bool:
    """Whether the page as a whole must be moved sideways to be read."""
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"
    return bool(looked.page.evaluate(wide))  # type: ignore[attr-defined]


def test_the_overview_follows_a_fault_without_reloading(at: Stage, browser: Browser) -> None:
    """From calm to a plan that waits, its approval by keyboard alone, and who gave it."""
    console_stage.healthy(at)
    with serving(at) as url, looking(browser) as looked:
        looked.go(f"{url}/")
        page = looked.page
        assert "Nothing is broken" in page.inner_text("#glance")
        page.evaluate("window.stays = true")
        console_stage.asks(at)
        page.wait_for_selector("text=May the loop restart api:api-0?", timeout=DEADLINE_MS)
        assert "It waits for a person" in page.inner_text("#glance")
        assert page.get_attribute("#glance", "class") == "glance warn"
        assert page.evaluate("window.stays") is True  # the page was not loaded anew
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.name") == "why":
                break
        page.keyboard.type("it is broken")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Approve"
        page.keyboard.press("Enter")
        page.wait_for_selector("text=local approved: restart api:api-0.", timeout=DEADLINE_MS)
        (approval,) = at.store.all_approvals()
        assert (approval.approved_by, approval.why) == ("local", "it is broken")
        assert violations(looked) == []
        assert not sideways(looked)
        assert looked.wrong == []


@pytest.mark.full
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_page_in_every_state(
    at: Stage, browser: Browser, state: str, theme: str, width: int, tmp_path: Path
) -> None:
    """A picture of each is kept for the time of the test, and looked at by axe-core."""
    setup(at, state)
    with serving(at) as url, looking(browser, width, theme) as looked:
        for path in [*PAGES, *(["/runs/1"] if state == "healing" else [])]:
            looked.go(url + path)
            name = path.strip("/").replace("/", "-").partition("?")[0] or "overview"
            looked.picture(tmp_path / "pictures" / f"{name}-{width}-{theme}-{state}.png")
            assert violations(looked) == [], path
            assert not sideways(looked), path
        assert looked.wrong == []


@pytest.mark.full
def test_what_comes_from_outside_runs_nowhere(at: Stage, browser: Browser) -> None:
    more = console_stage.hostile(at, EVIL)
    with serving(at) as url, looking(browser) as looked:
        looked.page.on("dialog", lambda d: looked.wrong.append(f"alert: {d.message}"))
        for path in [*PAGES, *more]:
            looked.go(url + path)
            if looked.page.locator(".chart .u-over").count():
                looked.page.locator(".chart .u-over").first.hover()  # names of series as a legend
        assert looked.wrong == []


@pytest.mark.full
@pytest.mark.parametrize("hours", [-3, 3])
def test_a_wrong_clock_of_the_browser_changes_no_age(
    at: Stage, browser: Browser, hours: int
) -> None:
    console_stage.burning(at)
    with serving(at) as url, looking(browser) as looked:
        page = looked.page
        page.add_init_script(f"const own = Date.now; Date.now = () => own() + {hours} * 3600000;")
        looked.go(f"{url}/alerts")
        ages = "[...document.querySelectorAll('[data-age]')].map(e => e.textContent)"
        before = page.evaluate(ages)
        assert before
        page.wait_for_function(f"before => String({ages}) !== String(before)", arg=before)
        assert all(re.fullmatch(r"\d+(\.\d)? s", text) for text in page.evaluate(ages)[:1])
        assert not [text for text in page.evaluate(ages) if text.startswith(("2 h", "3 h"))]
        assert looked.wrong == []


@pytest.mark.full
@pytest.mark.parametrize("data", ["nothing", "not finite", "one point"])
def test_odd_data_are_drawn_or_said(at: Stage, browser: Browser, data: str) -> None:
    if data == "nothing":
        at.metrics.series_labels = []
    else:
        some = [math.nan, math.inf, -math.inf, math.nan] * 100
        at.metrics.points = some if data == "not finite" else [5.0]
    with serving(at) as url, looking(browser) as looked:
        looked.go(f"{url}/dashboards/opsloop-signals?var-service=api")
        if data != "one point":
            assert "No data" in looked.page.locator(".chart").first.inner_text()
        assert looked.wrong == []


@pytest.mark.full
def test_a_session_that_ended_is_said_and_the_approval_is_not_given(
    tmp_path: Path, browser: Browser
) -> None:
    settings = {"console": {"sign_in": "basic"}}
    with stage(tmp_path, settings) as at, serving(at) as url, looking(browser) as looked:
        number = console_stage.asks(at)
        page = looked.page
        page.goto(f"{url}/runs")
        page.fill("input[name=name]", "opsloop")
        page.fill("input[name=password]", console_stage.PASSWORD)
        page.click("text=Sign in")
        page.wait_for_selector("#waiting button.go")
        page.context.clear_cookies()  # as when it has ended
        page.click("#waiting button.go")
        page.wait_for_selector("text=Nothing was done.")
        assert at.store.approvals()[0].id == number
        assert at.store.approvals()[0].approved_by == ""
        page.click("text=Sign in")
        page.wait_for_selector("input[name=password]")
        assert page.url.endswith("next=/runs")


@pytest.mark.full
@pytest.mark.parametrize("language", ["C", "de_DE.UTF-8"])
def test_charts_are_drawn_whatever_the_language(
    at: Stage, playwright: Playwright, language: str
) -> None:
    with chromium(playwright, language) as own, serving(at) as url, looking(own) as looked:
        looked.go(f"{url}/services/api")
        assert looked.page.locator(".chart canvas").count() >= 1
        assert looked.wrong == []


@pytest.mark.full
def test_a_chart_is_zoomed_by_dragging(at: Stage, browser: Browser) -> None:
    with serving(at) as url, looking(browser) as looked:
        looked.go(f"{url}/services/api")
        page = looked.page
        box = page.locator(".chart .u-over").first.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 40, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + 160, middle, steps=5)
        page.mouse.up()
        page.wait_for_url("**from=*", timeout=DEADLINE_MS)
        assert "range=" not in page.url
        assert looked.wrong == []


@pytest.mark.full
def test_keys_lead_to_pages_and_help(at: Stage, browser: Browser) -> None:
    with serving(at) as url, looking(browser) as looked:
        looked.go(f"{url}/")
        page = looked.page
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        page.keyboard.press("r")
        page.wait_for_url("**/runs", timeout=DEADLINE_MS)
        page.keyboard.press("d")
        page.keyboard.press("d")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        looked.go(f"{url}/slo")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"  # it is kept


@pytest.mark.full
def test_what_somebody_types_is_left_alone(at: Stage, browser: Browser) -> None:
    console_stage.asks(at)
    with serving(at) as url, looking(browser) as looked:
        looked.go(f"{url}/runs")
        page = looked.page
        page.locator("#waiting input[name=why]").first.fill("half a reason")
        at.store.pause("racks", time.time())
        page.wait_for_selector("text=The loop is paused", timeout=DEADLINE_MS)
        assert page.locator("#waiting input[name=why]").first.input_value() == "half a reason"


@pytest.mark.full
def test_a_dead_console_is_said_and_its_return_is_noticed(at: Stage, browser: Browser) -> None:
    with looking(browser) as looked:
        with serving(at) as url:
            looked.go(f"{url}/slo")
            wait_until(lambda: looked.page.inner_text("#live") == "live", "it is live")
        looked.page.wait_for_function(
            "document.getElementById('live').textContent.includes('no answer')", timeout=DEADLINE_MS
        )
