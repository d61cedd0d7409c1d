"""What the recording rules say, in promtool: no traffic is no sample, no errors is 0."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from opsloop.compile.yamltext import dump
from tests.compile import catalogs
from tests.support.servers import require

FRONT = 'service="front",team="web",tier="1",environment="prod-like"'
QUEUE = 'service="queue",team="data",tier="2",environment="prod-like"'
STORE = 'service="store",team="data",tier="1",environment="prod-like"'
AUDIT = 'service="audit",team="audit",tier="4",environment="prod-like"'
LOCAL = 'service="local",team="platform",tier="2",environment="prod-like"'


def told(
    build: Path, group: str, series: dict[str, str], expr: str, at: str
) -> list[dict[str, Any]]:
    """The samples of `expr` at a moment, read from what promtool says it got instead."""
    test = {
        "interval": "10s",
        "input_series": [{"series": s, "values": v} for s, v in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": []}],
    }
    value = {"rule_files": [f"rules/{group}.yml"], "evaluation_interval": "10s", "tests": [test]}
    path = build / "prometheus" / "recordings.yml"
    path.write_text(dump(value))
    done = subprocess.run(
        [require("promtool"), "test", "rules", path], capture_output=True, text=True
    )
    if done.returncode == 0:
        return []
    got = done.stderr.split("got:")[1].strip()
    found = []
    for sample in got.split(", {"):
        labels, value_text = sample.rstrip().rsplit(" ", 1)
        found.append({"labels": "{" + labels.strip("{}") + "}", "value": float(value_text)})
    return found


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    return catalogs.built(catalogs.catalog_of(catalogs.EVERYTHING, folder / "catalog"), folder)


def values(
    build: Path, expr: str, series: dict[str, str], at: str = "5m", group: str = "service"
) -> list[float]:
    return [round(s["value"], 6) for s in told(build, group, series, expr, at)]


def test_error_ratio(build: Path) -> None:
    ratio = 'service:error_ratio:rate1m{service="front"}'
    good = {f'http_requests_total{{code="200",instance="a",{FRONT}}}': "0+90x60"}
    bad = {f'http_requests_total{{code="503",instance="b",{FRONT}}}': "0+10x60"}
    idle = dict.fromkeys((*good, *bad), "7x60")
    assert values(build, ratio, good | bad) == [0.1]
    assert values(build, ratio, good) == [0.0], "nothing ever failed"
    assert values(build, ratio, idle) == [], "no traffic is no sample"
    assert values(build, ratio, {}) == []
    assert values(build, 'service:requests:rate1m{service="front"}', good | bad) == [10.0]
    assert values(build, 'service:errors:rate1m{service="front"}', good) == [0.0]


def test_own_selectors(build: Path) -> None:
    series = {
        f'jobs_total{{kind="mail",outcome="done",{QUEUE}}}': "0+50x60",
        f'jobs_total{{kind="mail",outcome="failed",{QUEUE}}}': "0+25x60",
        f'jobs_total{{kind="mail",outcome="tiout",{QUEUE}}}': "0+15x60",
        f'jobs_total{{kind="mail",outcome="7abxx",{QUEUE}}}': "0+10x60",
        f'jobs_total{{kind="dry-run",outcome="failed",{QUEUE}}}': "0+900x60",
        f'jobs_total{{kind="mail",outcome="failed",{FRONT}}}': "0+900x60",
    }
    assert values(build, "service:error_ratio:rate1m", series) == [0.5]


@pytest.mark.parametrize(("quantile", "seconds"), [("p50", 0.1), ("p95", 0.19), ("p99", 0.198)])
def test_latency(build: Path, quantile: str, seconds: float) -> None:
    record = f"service:latency_seconds:{quantile}_rate1m"
    bucket = f"http_request_duration_seconds_bucket{{{FRONT},le="
    series = {f'{bucket}"0.2"}}': "0+100x60", f'{bucket}"+Inf"}}': "0+100x60"}
    assert values(build, record, series) == [seconds]
    assert values(build, record, dict.fromkeys(series, "5x60")) == [], "NaN is no latency"


def test_saturation_is_the_fullest_signal_of_the_service_itself(build: Path) -> None:
    depth = {"queue_depth{}": "300x60"}  # a sum has lost its service
    busy = {
        f'queue_busy{{state="b",instance="a",{QUEUE}}}': "4x60",
        f'queue_workers{{instance="a",state="b",{QUEUE}}}': "8x60",
        f'queue_busy{{state="b",instance="z",{FRONT}}}': "9x60",  # the same library elsewhere
        f'queue_workers{{instance="z",state="b",{FRONT}}}': "9x60",
    }
    assert values(build, "service:saturation:ratio", depth) == [0.3]
    assert values(build, "service:saturation:ratio", depth | busy) == [0.5]
    labels = told(build, "service", depth, "service:saturation:ratio", "1m")[0]["labels"]
    assert all(pair in labels for pair in QUEUE.split(","))


def test_instance_up(build: Path) -> None:
    up = "service:instance_up:value"
    instances = {
        f'up{{job="front",instance="a",{FRONT}}}': "1x60",
        f'up{{job="front",instance="b",{FRONT}}}': "0x60",
        f'up{{job="probe/front",instance="p",{FRONT}}}': "0x60",
        f'up{{job="store",instance="db",{STORE}}}': "1x60",
        f'pg_up{{job="store",instance="db",{STORE}}}': "0x60",
        f'up{{job="audit",instance="db2",{AUDIT}}}': "1x60",
        f'pg_up{{job="audit",instance="db2",{AUDIT}}}': "1x60",
    }
    assert sorted(values(build, up, instances)) == [0, 0, 1, 1]
    assert values(build, 'service:up:ratio{service="front"}', instances) == [0.5]
    away = {
        f'up{{job="store",instance="db",{STORE}}}': "0x60",
        f'scrape_duration_seconds{{job="store",instance="db",{STORE}}}': "0.01x60",
        f'up{{job="audit",instance="db2",{AUDIT}}}': "0x60",
        f'scrape_duration_seconds{{job="audit",instance="db2",{AUDIT}}}': "3.001x60",
    }
    found = told(build, "service", away, "service:instance_up:value", "1m")
    assert [s["value"] for s in found] == [0], "one hangs, of the other nothing is known"
    assert 'service="audit"' in found[0]["labels"]


def test_hosts(build: Path) -> None:
    node = f'instance="h",{LOCAL}'
    series = {
        f"node_memory_MemAvailable_bytes{{{node}}}": "25x60",
        f"node_memory_MemTotal_bytes{{{node}}}": "100x60",
        f'node_cpu_seconds_total{{mode="idle",cpu="0",{node}}}': "0+8x60",
        f'node_cpu_seconds_total{{mode="idle",cpu="1",{node}}}': "0+6x60",
        f'node_cpu_seconds_total{{mode="user",cpu="1",{node}}}': "0+4x60",
        f'node_filesystem_avail_bytes{{fstype="ext4",mountpoint="/",{node}}}': "40x60",
        f'node_filesystem_size_bytes{{fstype="ext4",mountpoint="/",{node}}}': "100x60",
        f'node_filesystem_avail_bytes{{fstype="tmpfs",mountpoint="/run",{node}}}': "0x60",
        f'node_filesystem_size_bytes{{fstype="tmpfs",mountpoint="/run",{node}}}': "100x60",
    }
    assert values(build, "host:memory:ratio", series, group="host") == [0.75]
    assert values(build, "host:cpu:ratio", series, group="host") == [0.3]
    assert values(build, "host:disk:ratio", series, group="host") == [0.6]
