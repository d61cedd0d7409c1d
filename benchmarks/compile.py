"""What it takes to compile a large catalog: seconds and memory of a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._output import Result, report, say

SERVICES = 1000
QUICK_SERVICES = 200
ROUNDS = 3
# Runs in a process of its own: load, check and compile as `opsloop build` does, then what it took.
_ONCE = """
import json, resource, sys, time
started, used = time.perf_counter(), time.process_time()
from pathlib import Path
from opsloop.catalog.load import load
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
imported = time.perf_counter()
loaded = load(Path(sys.argv[1]), {})
read = time.perf_counter()
files = compile_catalog(loaded.catalog, Options()).files
done = time.perf_counter()
print(json.dumps({
    "all_s": done - started, "cpu_s": time.process_time() - used, "import_s": imported - started,
    "load_s": read - imported, "compile_s": done - read,
    "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "files": len(files), "bytes": sum(len(t) for t in files.values()),
    "slos": sum(len(s.slos) for s in loaded.catalog.services.values()),
}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: a smaller catalog")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    options = parser.parse_args()
    if options.quick:
        say(f"--quick: {QUICK_SERVICES} services instead of {SERVICES:,}, once")
    results = measured(
        QUICK_SERVICES if options.quick else SERVICES, 1 if options.quick else ROUNDS
    )
    report("compile", results, as_json=options.json)
    return 0


def measured(services: int, rounds: int) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="opsloop-compile-") as folder:
        path = Path(folder) / "opsloop.yaml"
        path.write_text(catalog(services))
        runs = []
        for nth in range(rounds):
            say(f"run {nth + 1} of {rounds}")
            runs.append(once(path))
    best = min(runs, key=lambda r: float(r["all_s"]))
    name = f"{services:,} services, {best['slos']:,} SLOs"
    parts = (
        f"import {best['import_s']:.1f}, load {best['load_s']:.1f}, compile {best['compile_s']:.1f}"
    )
    return [
        Result(
            f"{name}: from YAML to bundle",
            best["all_s"],
            "s",
            5.0,
            limit="YAML in and out, the models, and the tests' expected values, about a third each",
            note=f"{parts} s; best of {rounds}",
        ),
        Result(f"{name}: CPU of that run", best["cpu_s"], "s", note="wall time on an idle machine"),
        Result(
            f"{name}: memory",
            max(float(r["rss_mib"]) for r in runs),
            "MiB",
            300.0,
            limit="the catalog's models and the YAML tree with its places",
            note=f"{best['files']} files, {best['bytes'] / 1e6:.1f} MB",
        ),
    ]


def once(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _ONCE, str(path)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def catalog(services: int) -> str:
    """Services of two kinds, each with three objectives, hosts behind them, and a policy."""
    lines = ["apiVersion: opsloop/v1", "stack: {environment: production-like}", "services:"]
    for n in range(services):
        own = (
            "{requests: 'rpc_server_handled_total', errors: 'rpc_server_handled_total{code=\"Internal\"}',"
            " latency: rpc_server_handling_seconds, buckets: [100ms, 500ms, 1s]}"
        )
        needs = f"\n    depends_on: [svc-{n - n % 10}]" if n % 10 else ""
        lines.append(
            f"  svc-{n}:\n"
            f"    description: service number {n}\n"
            f"    team: team-{n % 25}\n"
            f"    tier: {1 + n % 4}\n"
            f'    targets: {{static: ["10.{n // 250}.{n % 250}.1:8080", "10.{n // 250}.{n % 250}.2:8080"]}}\n'
            f"    metrics: {own if n % 3 == 0 else 'http'}\n"
            f"    alerts: {{error_ratio: {(2, 5)[n % 2]}%, latency_p95: 500ms}}{needs}\n"
            "    slos:\n"
            f"      availability: {{objective: {('99.9%', '99.5%', '99%')[n % 3]}, sli: availability}}\n"
            f"      latency: {{objective: 95%, sli: {{latency: {{threshold: 500ms}}}}}}\n"
            "      jobs: {objective: 99%, window: 7d, sli: {events: {total: jobs_total,"
            " errors: 'jobs_total{result=\"failed\"}'}}}"
        )
    lines += [
        "remediation:",
        "  policies:",
        "    burn: {when: {alert: [SLOBurnRateHigh], team: [team-0]}, mode: 'off', steps: [restart]}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
