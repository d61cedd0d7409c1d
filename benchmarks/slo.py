"""Is the budget right? 30-day error ratios and counts against true events, beside Sloth's."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import slo_traffic
from benchmarks._output import Result, report, say
from benchmarks.slo_passes import backfill_passes
from benchmarks.slo_traffic import DAY, MINUTE, Kind, Truth
from opsloop.catalog.slo import SLO, event_floor, pairs_of
from opsloop.compile.slo_budget import SETTLED, budget_rules
from opsloop.compile.slo_spec import Counters, SLOSpec
from opsloop.compile.yamltext import dump

START = 1_764_547_200  # 2025-12-01 00:00 UTC
HTTP = Counters("http_requests_total", 'http_requests_total{code=~"5.."}')
SLOTH_5M = "slo:sli_error:ratio_rate5m"
BLOCKS = "162h"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: 7-day budgets of 8 days")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    parser.add_argument("--seed", type=int, default=1, help="of the traffic [1]")
    options = parser.parse_args()
    days, period = (8, 7) if options.quick else (32, 30)
    with tempfile.TemporaryDirectory(prefix="opsloop-slo-") as folder:
        results = accuracy(Path(folder), days, period, options.seed)
    if options.quick:
        say(f"--quick: {days} days and budgets of {period}d stand for 32 days and 30d")
    report("slo", results, as_json=options.json)
    return 0


def spec(service: str, period: str) -> SLOSpec:
    """One availability objective, as the catalog's defaults make it."""
    slo = SLO.model_validate({"objective": "99.9%", "window": period, "sli": "availability"})
    pairs = pairs_of(slo)
    floors = tuple(event_floor(p, slo.objective) for p in pairs)
    return SLOSpec("availability", service, "http", HTTP, slo.objective, slo.window, pairs, floors)


def accuracy(folder: Path, days: int, period: int, seed: int) -> list[Result]:
    began = time.monotonic()
    kinds = slo_traffic.kinds(days)
    truths: dict[str, Truth] = {}
    lines: list[str] = []
    for nth, kind in enumerate(kinds):
        made, truths[f"s{nth}"] = slo_traffic.generate(kind, f"s{nth}", days, START, seed)
        lines += made
    text = folder / "traffic.om"
    with text.open("w", encoding="ascii") as out:
        slo_traffic.write(out, lines)
    say(f"{len(lines)} samples of {len(kinds)} kinds in {time.monotonic() - began:.0f} s")
    data = folder / "data"
    promtool(
        *("tsdb", "create-blocks-from", "openmetrics", f"--max-block-duration={BLOCKS}"),
        *(str(text), str(data)),
    )
    say(f"imported after {time.monotonic() - began:.0f} s")
    specs = [spec(f"s{nth}", f"{period}d") for nth in range(len(kinds))]
    backfill(folder, data, specs, days)
    say(f"rules back-filled after {time.monotonic() - began:.0f} s")
    with prometheus(data) as url:
        results = [
            result
            for nth, kind in enumerate(kinds)
            for result in judged(url, kind, f"s{nth}", truths[f"s{nth}"], specs, days, period)
        ]
        return [*results, *holes(url, specs, days, period)]


def holes(url: str, specs: Sequence[SLOSpec], days: int, period: int) -> Iterator[Result]:
    """What is recorded and is no number, and objectives of which nothing is known at the end."""
    at = START + days * DAY * MINUTE + MINUTE + int(SETTLED) // 1000

    def series_with_nan(record: str) -> float:
        whole = f"sum_over_time({record}[{days}d])"  # NaN when one sample is
        return value(url, f"count({whole} != {whole}) or vector(0)", at)

    own = [r["record"] for g in backfill_passes(specs) for r in g["rules"]]
    yield Result(
        "recorded series with a NaN",
        sum(series_with_nan(record) for record in sorted(set(own))),
        "",
        0,
        peer=f"Sloth {series_with_nan(SLOTH_5M):g} of its 5m ratios",
    )
    rules = {r["record"]: r["expr"] for r in budget_rules(specs)}
    known = value(url, f"count({rules['slo:total:period']} > 0)", at)
    silent = len(specs) - (0 if math.isnan(known) else known)
    yield Result(f"objectives without a {period}d budget at the end", silent, "", 0)


def backfill(folder: Path, data: Path, specs: Sequence[SLOSpec], days: int) -> None:
    """Each pass sees the blocks of those before it; Sloth's 5m ratio is made in the first."""
    passes = backfill_passes(specs)
    passes[0]["rules"].append({"record": SLOTH_5M, "expr": sloth_ratio("5m")})
    for nth, group in enumerate(passes):
        rules = folder / f"pass{nth}.yml"
        rules.write_text(dump({"groups": [group]}))
        with prometheus(data) as url:
            promtool(
                *("tsdb", "create-blocks-from", "rules", f"--url={url}"),
                *(f"--start={START}", f"--end={START + (days * DAY + 1) * MINUTE}"),
                *(f"--output-dir={data}", str(rules)),
            )


def sloth_ratio(window: str) -> str:
    """An SLI of events as Sloth's documentation has it, by service."""
    errors, total = (f"sum by (service) (rate({s}[{window}]))" for s in (HTTP.errors, HTTP.total))
    return f"({errors})\n/\n({total})"


def sloth_period(service: str, period: int) -> str:
    """Its 30 days: the mean of the 5m ratios."""
    series = f'{SLOTH_5M}{{service="{service}"}}[{period}d]'
    return f"sum_over_time({series})\n/\ncount_over_time({series})"


def judged(
    url: str,
    kind: Kind,
    service: str,
    truth: Truth,
    specs: Sequence[SLOSpec],
    days: int,
    period: int,
) -> Iterator[Result]:
    """The worst of several moments of the last day, so that no edge is lucky."""
    rules = {r["record"]: r["expr"] for r in budget_rules(specs)}
    worst = {"ratio": 0.0, "count": 0.0, "off": 0.0}
    sloth = 0.0
    sloth_lost = False
    for hours in (0, 5, 9, 14, 19, 24):
        end = days * DAY - hours * 60
        total, errors = truth.between(max(0, end - period * DAY), end)
        at = START + end * MINUTE
        # Pages are closed in the first minute of an hour: then nothing is open.
        settled = at + MINUTE + int(SETTLED) // 1000
        found = {
            kind: value(
                url, f"({rules[f'slo:{kind}:period']}) and on (service) {_own(service)}", settled
            )
            for kind in ("total", "errors")
        }
        ratio = found["errors"] / found["total"]
        worst["ratio"] = max(worst["ratio"], abs(ratio / (errors / total) - 1))
        worst["count"] = max(worst["count"], abs(found["errors"] / errors - 1))
        worst["off"] = max(worst["off"], abs(found["errors"] - errors))
        theirs = value(url, sloth_period(service, period), at)
        if math.isnan(theirs):
            sloth_lost = True
        else:
            error = theirs / (errors / total) - 1
            sloth = error if abs(error) > abs(sloth) else sloth
    peer = "NaN" if sloth_lost else f"{sloth:+.0%}"
    # A shorter period has larger edges: no goal was set for it.
    percent = 100 * kind.allowed if period == 30 else None
    yield Result(
        f"{kind.name}: {period}d error ratio",
        100 * worst["ratio"],
        "%",
        percent,
        peer=f"Sloth {peer}",
        limit="minutes at the period's ends"
        if not kind.restarts
        else "events between the last scrape and a restart",
    )
    yield Result(
        f"{kind.name}: {period}d error count",
        100 * worst["count"],
        "%",
        percent,
        note=f"at most {worst['off']:g} of {errors} errors off",
    )


def _own(service: str) -> str:
    return f'label_replace(vector(1), "service", "{service}", "", "")'


def value(url: str, query: str, at: float) -> float:
    """The one value of an instant query; NaN without one."""
    fields = urllib.parse.urlencode({"query": query, "time": f"{at:.3f}"})
    with urllib.request.urlopen(f"{url}/api/v1/query?{fields}") as answer:
        found = json.load(answer)["data"]["result"]
    return float(found[0]["value"][1]) if found else math.nan


@contextlib.contextmanager
def prometheus(
    data: Path,
    *flags: str,
    config: str = "{}",
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A Prometheus over these blocks, on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = data.parent / "prometheus.yml"
    path.write_text(config)
    log = (data.parent / "prometheus.log").open("ab")
    server = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--query.max-samples=500000000",
            "--log.level=warn",
            *flags,
        ],
        stdout=log,
        stderr=log,
        env={**os.environ, **(environment or {})},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_ready(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(60)
        log.close()


def _wait_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=2):
            return
        time.sleep(0.1)
    raise RuntimeError("Prometheus did not become ready; see its log in the benchmark's folder")


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"promtool {arguments[1]}: {done.stdout}{done.stderr}")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"{name} is not installed; run: sudo apt-get install prometheus")
    return found


if __name__ == "__main__":
    sys.exit(main())
