"""A real Chromium that looks at a console, and notices everything that goes wrong in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Playwright

from opsloop.web.server import listen_on
from tests.support.net import free_port
from tests.support.wait import wait_until
from tests.web.console_stage import Stage
from tools.chromium import NONE as NO_CHROMIUM
from tools.chromium import chromium as found_chromium

FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
]
DEADLINE_MS = 60_000


@contextmanager
def serving(at: Stage) -> Iterator[str]:
    """The stage's application on a real socket; its address."""
    port = free_port()
    sock = listen_on("127.0.0.1", port)
    config = uvicorn.Config(at.app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, "the console listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        sock.close()


@contextmanager
def chromium(playwright: Playwright, language: str = "en_US.UTF-8") -> Iterator[Browser]:
    """The Chromium of this machine; the test is skipped, with the reason, where there is none."""
    program = found_chromium(playwright)
    if program is None:
        pytest.skip(NO_CHROMIUM)
    env: dict[str, str | float | bool] = {**os.environ, "LANG": language, "LC_ALL": language}
    browser = playwright.chromium.launch(executable_path=program, args=FLAGS, env=env)
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Looked:
    """A page and what went wrong in it."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def go(self, url: str) -> None:
        """Open, and wait until what is in sight is drawn."""
        self.page.goto(url, wait_until="load", timeout=DEADLINE_MS)
        self.page.wait_for_function(DRAWN, timeout=DEADLINE_MS)

    def picture(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path), full_page=True)


DRAWN = """() => [...document.querySelectorAll('.chart')]
  .filter(c => c.getBoundingClientRect().top < innerHeight)
  .every(c => c.textContent !== '…')"""


LEFT = "net::ERR_ABORTED"


@contextmanager
def looking(browser: Browser, width: int = 1440, theme: str = "light") -> Iterator[Looked]:
    """A fresh window; errors, failed requests and violations of the policy are written down."""
    dark = theme == "dark"
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    context.set_default_timeout(DEADLINE_MS)
    looked = Looked(context.new_page())
    wrong = looked.wrong
    looked.page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    looked.page.on("pageerror", lambda error: wrong.append(str(error)))
    looked.page.on(
        "requestfailed",
        # What a page still waited for when it was left ends with it.
        lambda r: None if r.failure == LEFT else wrong.append(f"{r.url}: {r.failure}"),
    )
    looked.page.on(
        "response",
        lambda r: wrong.append(f"{r.url}: {r.status}") if r.status >= 500 else None,
    )
    try:
        yield looked
    finally:
        context.close()
