"""No event is lost or counted twice, whatever phase the rule manager gives to a group.

promtool evaluates all groups in phase and stores each sample at once; a real server does neither.
The rules are the generated ones with their times scaled: tiles of 5 s, pages of 30 s.
"""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from opsloop.compile.slo_names import GROUP_WINDOWS
from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.yamltext import dump
from tests.compile.slo_specs import spec
from tests.support.servers import Server, prometheus
from tests.support.wait import wait_until

GROUPS = 200
TILE = 5.0
DELAY = 3.0  # scrapes end within it, also on a busy machine
TILES = 14  # that a group must have written one after the other
SLOW = 0.3  # seconds that a scrape takes
NAIVE = "naive:total:tile"
_TIMES = {
    "59999ms": "4999ms",
    "30m": "1m",
    "5m": "20s",
    "299999ms": "24999ms",
    "1799999ms": "14999ms",
    "3599999ms": "29999ms",
    "7199999ms": "59999ms",
    "3s": "3s",
    "1m3s": "8s",
    "2h": "1m",
}
_NUMBERS = (("% 3600", "% 30"), ("< 60", "< 5"), (">= bool 60", ">= bool 5"))
Points = list[tuple[float, float]]  # time, value


def scaled(expr: str, sli: str) -> str:
    """The rule with short times, on one SLI alone."""

    def shorter(match: re.Match[str]) -> str:
        return match.group(1) + _TIMES[match.group(2)]

    def narrowed(match: re.Match[str]) -> str:
        return match.group(0) if match.group(2) else f'{match.group(1)}{{sli="{sli}"}}'

    expr = re.sub(r"(\[|offset )(\d[0-9a-z]*)", shorter, expr)
    for before, after in _NUMBERS:
        expr = expr.replace(before, after)
    return re.sub(r"(slo:[a-z]+:[a-z0-9]+)(\{)?", narrowed, expr)


def group(number: int) -> dict[str, Any]:
    """Tiles, pages and one long window of an SLI of its own, and a tile without the delay."""
    sli = f"g{number:03d}"
    windows = [{"kind": "page", "long": "2h", "short": "30m", "budget": "2%"}]
    made = slo_groups([spec(service="shop", sli=sli, timeout="3s", windows=windows)])
    rules = next(g["rules"] for g in made if g["name"] == GROUP_WINDOWS)
    wanted = [
        rule | {"expr": scaled(rule["expr"], sli)}
        for rule in rules
        if re.fullmatch(r"slo:\w+:(tile1m|page|page1h|open|sum2h)", rule.get("record", ""))
    ]
    total = wanted[0]
    hasty = total["expr"].replace(" offset 3s", "").replace(" offset 8s", " offset 5s")
    naive = total | {"record": NAIVE, "expr": hasty}
    return {"name": f"phase-{number}", "interval": "5s", "rules": [*wanted, naive]}


class Shop(http.server.BaseHTTPRequestHandler):
    """Counters that grow by the clock, told slowly."""

    def do_GET(self) -> None:
        time.sleep(SLOW)
        now = time.time()
        text = "".join(
            f'http_requests_total{{code="{code}"}} {int(now * rate)}\n'
            for code, rate in (("200", 97), ("500", 13))
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        pass


@contextmanager
def running_groups(folder: Path) -> Iterator[Server]:
    shop = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    (folder / "rules.yml").write_text(dump({"groups": [group(n) for n in range(GROUPS)]}))
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {
                "job_name": "shop",
                "static_configs": [
                    {
                        "targets": [f"127.0.0.1:{shop.server_port}"],
                        "labels": {"service": "shop"},
                    }
                ],
            }
        ],
    }
    try:
        with prometheus(dump(config), folder) as server:
            yield server
    finally:
        shop.shutdown()
        shop.server_close()


def points(server: Server, selector: str) -> dict[str, Points]:
    """All samples of the last minutes, by SLI (raw counters: by code)."""
    return {
        found["metric"].get("sli") or found["metric"]["code"]: [
            (float(at), float(value)) for at, value in found["values"]
        ]
        for found in server.query(f"{selector}[10m]")
    }


def unbroken(found: Points) -> Points:
    """The longest run of tiles one after the other: a busy machine may leave one out."""
    runs: list[Points] = [found[:1]]
    for (before, _), point in pairwise(found):
        if point[0] - before > TILE * 1.5:
            runs.append([])
        runs[-1].append(point)
    return max(runs, key=len)


def at_time(found: Points, when: float) -> float:
    """The last sample that is not younger."""
    return [value for at, value in found if at <= when + 1e-6][-1]


def counted(raw: dict[str, Points], codes: tuple[str, ...], run: Points, delay: float) -> float:
    """What the counters grew by from the first tile's beginning to the last one's end."""
    first, last = run[0][0] - TILE - delay, run[-1][0] - delay
    return sum(at_time(raw[c], last) - at_time(raw[c], first) for c in codes)


@pytest.mark.full
def test_every_event_is_counted_once_in_every_phase(tmp_path: Path) -> None:
    with running_groups(tmp_path) as server:
        # One more than is looked at: the first has no past to count from.
        enough = f"count(count_over_time(slo:total:tile1m[10m]) > {TILES + 1}) == {GROUPS}"
        wait_until(lambda: server.query(enough), "tiles of all groups", 300, 1.0)
        tiles = {k: points(server, f"slo:{k}:tile1m") for k in ("total", "errors")}
        pages = {k: points(server, f"slo:{k}:page1h") for k in ("total", "errors")}
        opened = {k: points(server, f"slo:{k}:open") for k in ("total", "errors")}
        long = {k: points(server, f"slo:{k}:sum2h") for k in ("total", "errors", "minutes")}
        naive = points(server, NAIVE)
        raw = points(server, "http_requests_total")
    assert len(tiles["total"]) == GROUPS
    phases = {round(found[0][0] % TILE, 3) for found in tiles["total"].values()}
    assert len(phases) > GROUPS // 2, "groups have phases of their own"
    for kind, codes in (("total", ("200", "500")), ("errors", ("500",))):
        for sli, found in tiles[kind].items():
            # The first tiles may lie before the counters.
            run = unbroken([p for p in found if p[0] > raw["200"][0][0] + TILE + DELAY + 1])
            assert len(run) >= TILES - 2, f"{sli} has too few tiles in a row"
            told = sum(value for _, value in run)
            assert told == counted(raw, codes, run, DELAY), f"{kind} of {sli}"
            since, until = run[0][0], run[-1][0]
            closed = sum(v for at, v in pages[kind][sli] if since < at <= until)
            held = closed + at_time(opened[kind][sli], until) - at_time(opened[kind][sli], since)
            assert held == told - run[0][1], f"pages of {kind} of {sli}"
            window = at_time(long[kind][sli], until)
            assert window == sum(v for _, v in run[-12:]), f"window of {kind} of {sli}"
            assert at_time(long["minutes"][sli], until) == 12, f"tiles in the window of {sli}"
    # The same tile without the delay loses what is stored after it was evaluated.
    lost = 0
    for found in naive.values():
        run = unbroken([p for p in found if p[0] > raw["200"][0][0] + TILE + 1])
        lost += sum(v for _, v in run) < counted(raw, ("200", "500"), run, 0.0)
    assert lost > GROUPS // 20, "slow scrapes are a trap, and this test sees it"
