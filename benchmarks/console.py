"""The console in real Chromium: bytes, first paint, charts drawn, layout that stays, viewers, memory."""

from __future__ import annotations

import argparse
import gzip
import socket
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, Page, Request, sync_playwright

from benchmarks._output import Result, report, say
from opsloop.web.render import STATIC
from opsloop.web.server import listen_on
from tests.web import console_stage
from tests.web.browser import FLAGS
from tests.web.console_stage import CATALOG, Stage, stage
from tools.chromium import NONE, chromium

SERVICES = 500
VIEWERS = 20
PANELS, SERIES = 12, 5
# In the page before anything else: what the browser itself measures.
OBSERVED = """
window.shift = 0;
new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) shift += e.value; })
  .observe({ type: 'layout-shift', buffered: true });
"""
# Twelve panels of five series at 240 points, drawn by uPlot as the console's charts are.
DRAW = """(count) => {
  const t = Array.from({ length: 240 }, (_, i) => i), began = performance.now();
  const box = document.createElement('div'); document.body.append(box);
  for (let p = 0; p < count[0]; p++) {
    const rows = Array.from({ length: count[1] }, (_, s) => t.map((i) => Math.sin(i / 9 + s + p)));
    new uPlot({ width: 460, height: 196, legend: { show: false }, series: [{},
      ...rows.map((_, s) => ({ stroke: ['red', 'green', 'blue', 'teal', 'gray'][s] }))] }, [t, ...rows], box);
  }
  return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now() - began))));
}"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
# From a key to the next frame.
ACT = """() => new Promise((done) => {
  const began = performance.now();
  document.querySelector('[data-help]').click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: three runs of each")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    options = parser.parse_args()
    runs = 3 if options.quick else 7
    if options.quick:
        say("--quick: medians of 3 runs, not of 7")
    with tempfile.TemporaryDirectory(prefix="opsloop-console-") as folder:
        results = [*scripts(), *measured(Path(folder), runs)]
    report("console", results, as_json=options.json)
    return 0


def scripts() -> list[Result]:
    files = sorted(STATIC.glob("*.js"))
    whole = sum(len(gzip.compress(p.read_bytes(), 9)) for p in files) / 1024
    own = sum(p.stat().st_size for p in files if not p.name.startswith("uPlot")) / 1024
    return [
        Result("JavaScript, gzipped", whole, "KiB", 40, peer="Chart.js alone: 71 KB"),
        Result("of it own, plain", own, "KiB", 20),
    ]


def measured(folder: Path, runs: int) -> list[Result]:
    found = without_browser(folder / "many")
    with stage(folder / "few") as at, serving(at) as url, sync_playwright() as playwright:
        console_stage.burning(at)
        program = chromium(playwright)
        if program is None:
            say(NONE)
            return found
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            for slower in (1, 4):
                found += seen(browser, url, runs, slower)
        finally:
            browser.close()
    return found


def seen(browser: Browser, url: str, runs: int, slower: int) -> list[Result]:
    """Medians, with the CPU slowed down so many times."""
    paints, draws, acts, shifts = [], [], [], []
    asked = count = 0
    for _ in range(runs):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.add_init_script(OBSERVED)
        throttle = context.new_cdp_session(page)
        throttle.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        requests = asked_by(page)
        page.goto(f"{url}/services/api", wait_until="load", timeout=60_000)
        page.wait_for_timeout(500)
        paints.append(page.evaluate(PAINT))
        acts.append(page.evaluate(ACT))
        page.keyboard.press("Escape")
        shifts.append(page.evaluate("() => window.shift"))
        draws.append(page.evaluate(DRAW, [PANELS, SERIES]))
        page.mouse.wheel(0, 5000)  # charts ask when they come into sight
        page.wait_for_timeout(500)
        count = page.locator(".panel").count()
        asked = max(asked, sum("/api/panels/" in url for url in requests))
        context.close()
    at = f"CPU at 1/{slower}" if slower > 1 else "full CPU"
    return [
        Result(f"first contentful paint, {at}", median(paints), "ms", 200 if slower == 1 else 400),
        Result(
            f"{PANELS} panels x {SERIES} series x 240 points, {at}",
            median(draws),
            "ms",
            200 if slower == 1 else 500,
        ),
        Result(f"interaction to next paint, {at}", median(acts), "ms", 100),
        Result(f"cumulative layout shift, {at}", max(shifts), "", 0.02, note="worst run"),
        Result(
            f"questions of a page with {count} panels, {at}",
            asked,
            "",
            12,
            note="of the browser; of identical ones Prometheus gets one for all viewers",
        ),
    ]


def asked_by(page: Page) -> list[str]:
    """The addresses that a page asks for from now on."""
    found: list[str] = []

    def note(request: Request) -> None:
        found.append(request.url)

    page.on("request", note)
    return found


def median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def without_browser(folder: Path) -> list[Result]:
    """The overview of many services, what a page of panels asks, and many viewers."""
    service = {"team": "shop", "targets": {"static": ["127.0.0.1:1"]}, "metrics": "http"}
    services = {f"service-{n}": service for n in range(SERVICES)}
    with stage(folder, {**CATALOG, "services": services}) as at, serving(at) as url:
        fetched(f"{url}/")
        began = time.perf_counter()
        size = fetched(f"{url}/")
        took = time.perf_counter() - began
        fetched(f"{url}/dashboards/opsloop-signals?var-service=service-1")
        at.refresh()
        before = len(at.metrics.asked)
        with watching(url, VIEWERS):
            for _ in range(VIEWERS):
                fetched(f"{url}/dashboards/opsloop-signals?var-service=service-1")
            asked = at.metrics.asked[before:]
        return [
            Result(f"overview with {SERVICES} services", took, "s", 1),
            Result("its size", size / 1024, "KiB", 300),
            Result(
                f"identical questions made again, {VIEWERS} viewers",
                len(asked) - len(set(asked)),
                "",
                VIEWERS,
                note=f"{len(asked)} made within what is fresh; a board is read each second",
            ),
            Result(
                f"memory with {VIEWERS} viewers",
                memory(),
                "MiB",
                120,
                note="of one process, with the benchmark's own parts",
            ),
        ]


def fetched(url: str) -> int:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"accept": "text/html"})) as a:
        return len(a.read())


def memory() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def watching(url: str, viewers: int) -> Iterator[None]:
    """So many pages listen for events."""
    streams = [urllib.request.urlopen(f"{url}/events") for _ in range(viewers)]
    try:
        yield
    finally:
        for stream in streams:
            stream.close()


@contextmanager
def serving(at: Stage) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sock = listen_on("127.0.0.1", port)
    server = uvicorn.Server(
        uvicorn.Config(at.app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        sock.close()


if __name__ == "__main__":
    raise SystemExit(main())
