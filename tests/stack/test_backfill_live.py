"""What a running Prometheus does with new blocks: finds them, merges them, and what it would lose."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from opsloop.stack.backfill import run
from opsloop.stack.tsdb import Tsdb
from tests.stack.backfill_world import (
    HOUR,
    MINUTE,
    Shown,
    count,
    counts,
    raw_lines,
    raw_samples,
    write,
)
from tests.stack.test_backfill import DAYS, SLI, TILES, history, moment, world_of
from tests.support.servers import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.full


def metric(server: Server, name: str) -> float:
    import urllib3

    with urllib3.PoolManager(retries=False, timeout=60.0) as pool:
        text = pool.request("GET", f"{server.url}/metrics").data.decode()
    (value,) = (line.split()[1] for line in text.splitlines() if line.startswith(f"{name} "))
    return float(value)


def test_a_running_prometheus_finds_the_blocks_and_merges_them_exactly(tmp_path: Path) -> None:
    now = moment(25)
    past = history(now, 4)
    world = world_of(tmp_path)
    world.remember(raw_lines(past))
    with world.start() as server:
        tsdb = Tsdb(world.url)
        _, result = run(tsdb, world.target, world.pasts, now - int(DAYS), now, Shown())
        assert result.seen is True  # without a restart or a signal
        last = now // MINUTE * MINUTE - MINUTE
        true = past.true(last - int(DAYS), last, 0)
        assert counts(server, last + 30_000, DAYS, SLI) == true
        tiles = count(server, TILES, now)
        merged = "prometheus_tsdb_vertical_compactions_total"
        wait_until(lambda: metric(server, merged) > 0, "overlapping blocks are merged", 300.0)
        wait_until(
            lambda: metric(server, "prometheus_tsdb_blocks_loaded") <= 4, "few are left", 300.0
        )
        assert counts(server, last + 30_000, DAYS, SLI) == true
        assert count(server, TILES, now) == tiles


def test_a_block_that_reaches_into_memory_would_cost_samples(tmp_path: Path) -> None:
    """Why a back-fill ends where the memory of Prometheus begins.

    What is lost is the open chunk of each series, up to the block's end; full ones are on the
    disk. So the block ends behind the newest sample: an open chunk has one at least.
    """
    now = int(time.time() * 1000)
    past = history(now, 1)
    world = world_of(tmp_path)
    with world.start(rules=False) as server:
        write(server, raw_samples(past, now - 2 * HOUR, now))
        raw = count(server, "http_requests_total", now)
    world.remember([f"other 1.0 {now / 1000:.3f}\n"])
    with world.start(rules=False) as server:
        assert count(server, "http_requests_total", now) < raw


def test_a_block_that_ends_where_memory_begins_costs_nothing(tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    past = history(now, 1)
    world = world_of(tmp_path)
    with world.start(rules=False) as server:
        write(server, raw_samples(past, now - 2 * HOUR, now))
        raw = count(server, "http_requests_total", now)
        began = server.get("/api/v1/status/tsdb")["data"]["headStats"]["minTime"]
    world.remember([f"other 1.0 {(began - 1) / 1000:.3f}\n"])
    with world.start(rules=False) as server:
        assert count(server, "http_requests_total", now) == raw
        assert count(server, "other", now) == 1
