"""A past in a real Prometheus, back-filled: every event once, to the minute, and nothing lost."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsloop.catalog.units import Duration
from opsloop.compile.slo_budget import budget_rules
from opsloop.compile.slo_past import page_of
from opsloop.stack.backfill_plan import on_grid, start_of
from tests.compile.slo_specs import spec
from tests.stack.backfill_world import (
    DAY,
    HOUR,
    MINUTE,
    History,
    World,
    count,
    counts,
    fill,
    look,
    raw_lines,
    raw_samples,
    rule_samples,
    write,
)
from tests.support.wait import wait_until

SLI = "http-availability"
TILES = f'slo:total:tile1m{{sli="{SLI}"}}'
DAYS = Duration.parse("3d")
MINUTELY = Duration.parse("60s")


def moment(minute: int, before: int = 6 * HOUR) -> int:
    """Some hours ago, so many minutes after a full hour."""
    return int(time.time() * 1000) // HOUR * HOUR - before + minute * MINUTE + 31_000


def history(now: int, days: int, service: str = "api") -> History:
    resets = frozenset({(now - 30 * HOUR) // MINUTE, (now - 50 * HOUR) // MINUTE})
    return History((now - days * DAY) // MINUTE, now // MINUTE - 1, service, resets)


def world_of(folder: Path, period: str = "3d") -> World:
    return World(folder, [replace(spec(period=period), scrape_interval=MINUTELY)])


def test_a_month_is_exact_in_one_call_and_the_next_does_nothing(tmp_path: Path) -> None:
    now = moment(25)
    past = history(now, 32)
    world = world_of(tmp_path, period="30d")
    world.remember(raw_lines(past))
    with world.start():
        wanted = look(world, now, 31 * DAY)
        assert wanted.plan.queries == 2 * len(wanted.plan.pieces) == 64
        assert not world.journal.exists()  # looking writes nothing
        result = fill(world, now, 31 * DAY)
        minutes = 31 * 1440 + 60  # whole pages
        assert minutes - 61 < (now - wanted.plan.first) / MINUTE < minutes
        assert wanted.plan.samples - 10 <= result.samples <= wanted.plan.samples + 10
    with world.start() as server:  # a start reads blocks at once, a running one within a minute
        last = now // MINUTE * MINUTE - MINUTE
        at = last + 30_000
        month = Duration.parse("30d")
        assert counts(server, at, month, SLI) == past.true(last - 30 * DAY, last, 0)
        assert count(server, TILES, now) == round((last - wanted.plan.first) / MINUTE) + 1
        for later in (0, 4 * MINUTE):
            assert not look(world, now + later, 31 * DAY).plan
            again = fill(world, now + later, 31 * DAY)
            assert (again.samples, again.pieces) == (0, 0)


def in_memory(world: World, past: History, now: int, rules_began: int) -> tuple[int, float]:
    """Raw samples of two hours in memory, and what rules wrote since `rules_began`.

    The rest lies in blocks. (when memory begins, how many raw samples there are)
    """
    border = now - 2 * HOUR
    world.remember(raw_lines(past, border))
    with world.start() as server:
        write(
            server,
            [*raw_samples(past, border, now), *rule_samples(past, SLI, rules_began, now)],
        )
    return border, float(sum(len(points) for _, points in past.series()))


@pytest.mark.parametrize("minute", [0, 25])
def test_what_lies_in_memory_is_counted_and_no_sample_is_lost(tmp_path: Path, minute: int) -> None:
    """The rules began 20 minutes ago, at 17.25 s of each minute; memory reaches back two hours."""
    now = moment(minute)
    past = history(now, 4)
    world = world_of(tmp_path)
    began = (now - 20 * MINUTE) // MINUTE * MINUTE + 17_250
    border, raw = in_memory(world, past, now, began)
    last = now // MINUTE * MINUTE + 17_250
    with world.start() as server:
        result = fill(world, now, int(DAYS))
        assert result.samples > 0
        (waiting,) = result.waiting
        assert border <= waiting.first < border + MINUTE
        assert waiting.end == began
    for _ in range(2):  # Prometheus reads its log of writes at each start
        with world.start() as server:
            assert count(server, "http_requests_total", now) == raw
            for at in (last, last - 7 * MINUTE):
                true = past.true(at - int(DAYS), at, 17_250)
                assert counts(server, at + 30_000, DAYS, SLI) == true
            assert not look(world, now + MINUTE, int(DAYS)).plan


def test_minutes_in_memory_come_later_once(tmp_path: Path) -> None:
    now = moment(25)
    past = history(now, 2)
    world = world_of(tmp_path, period="1d")
    began = (now - 20 * MINUTE) // MINUTE * MINUTE + 17_250
    in_memory(world, past, now, began)
    later = now + 5 * HOUR + 20 * MINUTE
    with world.start() as server:
        fill(world, now, DAY)
        # Prometheus makes blocks of what is more than three hours old; the minute after, of ours.
        go_on = History(now // MINUTE, later // MINUTE, resets=frozenset({now // MINUTE}))
        write(server, raw_samples(go_on, now, later))
        wait_until(
            lambda: server.get("/api/v1/status/tsdb")["data"]["headStats"]["minTime"] >= began,
            "the memory of Prometheus begins after the rules",
        )
        result = fill(world, later, DAY)
        assert result.pieces == 1
        assert result.waiting == ()
        assert not look(world, later, DAY).plan
    with world.start() as server:
        last = now // MINUTE * MINUTE + 17_250
        first = on_grid(start_of(page_of(now - DAY)) - 1, 17_250)
        assert count(server, TILES, now) == (last - first) / MINUTE + 1
        day = Duration.parse("1d")
        counted = counts(server, last + 30_000, day, SLI)
        assert counted == past.true(last - DAY, last, 17_250)
        # Minute by minute it is the same, and no minute is there twice.
        answer = server.get(
            "/api/v1/query",
            query=f"sum_over_time({TILES}[{20 * HOUR - 1}ms])",
            time=f"{last / 1000}",
        )
        (summed,) = answer["data"]["result"]
        assert float(summed["value"][1]) == past.true(last - 20 * HOUR, last, 17_250)[0]


def test_a_calendar_month_begins_anew(tmp_path: Path) -> None:
    """The third of a month, 10:25; four days of it and of the month before."""
    today = datetime.now(UTC)
    third = today.replace(day=3, hour=10, minute=25, second=31, microsecond=0)
    if third > today:
        third = (third.replace(day=1) - timedelta(days=1)).replace(day=3)
    now = int(third.timestamp() * 1000)
    month = now // DAY * DAY - 2 * DAY
    past = history(now, 4)
    world = World(tmp_path, [replace(spec(period="calendar-month"), scrape_interval=MINUTELY)])
    world.remember(raw_lines(past))
    with world.start():
        fill(world, now, 31 * DAY)
    with world.start() as server:
        last = now // MINUTE * MINUTE - MINUTE
        rules = {r["record"]: r["expr"] for r in budget_rules(world.specs) if "record" in r}
        counted = []
        for kind in ("total", "errors"):
            (found,) = server.get(
                "/api/v1/query", query=rules[f"slo:{kind}:period"], time=f"{last / 1000 + 30}"
            )["data"]["result"]
            counted.append(int(found["value"][1]))
    # The tile of a month's first moment is the last of the month before.
    assert tuple(counted) == past.true(month, last, 0)
