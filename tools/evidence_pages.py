"""Pictures of the console's pages, taken by a browser that is signed in."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opsloop import names
from opsloop.settings import Ports

HEALING_S = 180.0  # how long to wait for a run that is open
SHOWN_AFTER_S = 2.0  # a run is open for longer than this, and by then the pages tell of it
# name of the picture -> path at the console
PAGES = {
    "overview": "/",
    "services": "/services",
    "objectives": "/slo",
    "alerts": "/alerts",
    "runs": "/runs",
    "dashboards": "/dashboards",
    "targets": "/targets",
    "inbox": "/inbox",
    "audit": "/audit",
}
WIDTH, HEIGHT = 1280, 900


def all_pages(state: Path, port_base: int, into: Path) -> None:
    """One PNG for each page. Raises SystemExit when a page cannot be shown."""
    with signed_in(state, port_base) as (page, address):
        for name, path in PAGES.items():
            answer = page.goto(address + path)
            if answer is None or not answer.ok:
                raise SystemExit(
                    f"evidence: the console's {path} answers {answer and answer.status}"
                )
            page.wait_for_load_state("load")
            page.screenshot(path=into / f"page-{name}.png", full_page=True)


def while_healing(state: Path, port_base: int, picture: Path) -> None:
    """A picture of the first page while a run is open; nothing when none opens in time."""
    with signed_in(state, port_base) as (page, address):
        deadline = time.monotonic() + HEALING_S
        since: float | None = None
        while time.monotonic() < deadline:
            if not _open_run(state, port_base):
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() - since >= SHOWN_AFTER_S:
                page.goto(address + "/")
                page.wait_for_load_state("load")
                page.screenshot(path=picture)
                return
            time.sleep(0.1)


def _open_run(state: Path, port_base: int) -> bool:
    """Asked of the engine's API, which needs the stack's own password."""
    from opsloop.drivers.http import BasicAuth, HttpClient

    auth = BasicAuth(names.SCRAPE_USER, state / names.SECRETS_DIR / names.SECRET_SCRAPE_PASSWORD)
    url = f"http://127.0.0.1:{Ports(port_base).engine}/api/v1/runs"
    answer = HttpClient(timeout_s=2.0).call("GET", url, auth=auth)
    found = json.loads(answer.body)
    runs = found["runs"] if isinstance(found, dict) else found
    return any(run.get("finished_at") is None for run in runs)


@contextmanager
def signed_in(state: Path, port_base: int) -> Iterator[tuple[Any, str]]:
    """(page, the console's address). Raises SystemExit when no console answers."""
    from playwright.sync_api import sync_playwright

    from tools.chromium import NONE, chromium

    address = f"http://127.0.0.1:{Ports(port_base).console}"
    try:
        urllib.request.urlopen(f"{address}/healthz", timeout=5).close()  # noqa: S310 - loopback
    except OSError as error:
        raise SystemExit(f"evidence: the console does not answer on {address}: {error}") from None
    flags = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        program = chromium(playwright)
        if program is None:
            raise SystemExit(f"evidence: {NONE}")
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(address + "/")
            if page.locator("input[type=password]").count():
                password = (state / names.SECRETS_DIR / names.SECRET_SCRAPE_PASSWORD).read_text()
                page.fill("input[name=name]", names.SCRAPE_USER)
                page.fill("input[type=password]", password.strip())
                page.click("form button")
                page.wait_for_load_state("load")
                if page.locator("input[type=password]").count():
                    raise SystemExit("evidence: the console does not let us in")
            yield page, address
        finally:
            browser.close()
