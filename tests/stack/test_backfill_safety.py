"""A back-fill that is interrupted anywhere, meets a full disk or a dead Prometheus, or a second one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsloop.catalog.units import Duration
from opsloop.errors import ArgumentError, PrometheusError, StackError, StateUnusable
from opsloop.stack import backfill_pieces
from opsloop.stack.backfill import run
from opsloop.stack.backfill_journal import Journal
from opsloop.stack.blocks import move
from opsloop.stack.tsdb import Tsdb
from tests.stack.backfill_world import (
    DAY,
    MINUTE,
    History,
    Shown,
    World,
    count,
    counts,
    fill,
    look,
    raw_lines,
    write,
)
from tests.stack.test_backfill import SLI, TILES, history, moment, world_of
from tests.support.servers import Server

ULID = 26  # letters in the name of a block
FEW_HOURS = "--storage.tsdb.max-block-duration=6h"  # several blocks a piece


class Killed(BaseException):
    """The end of a process, as far as what it had written is concerned."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two days and a half in blocks."""
    found = world_of(tmp_path, period="2d")
    found.remember(raw_lines(past_of(found)))
    return found


def now_of(_: World) -> int:
    return moment(25)


def past_of(world: World) -> History:
    return history(now_of(world), 3)


def is_exact(world: World, server: Server) -> None:
    """Every minute once, and every event."""
    now = now_of(world)
    last = now // MINUTE * MINUTE - MINUTE
    first = look_first(world)
    assert count(server, TILES, now) == (last - first) / MINUTE + 1
    true = past_of(world).true(last - 2 * DAY, last, 0)
    assert counts(server, last + 30_000, Duration(2 * DAY), SLI) == true


def look_first(world: World) -> int:
    (reach,) = Journal(world.journal).read().entries.done
    return reach.first


def nothing_half_done(world: World) -> None:
    """What is called a block there is a whole one; Prometheus may be merging some meanwhile."""
    for path in world.data.iterdir():
        if len(path.name) == ULID:
            with suppress(FileNotFoundError):  # merged and removed
                assert {"chunks", "index", "meta.json"} <= {p.name for p in path.iterdir()}


@pytest.mark.parametrize(
    ("where", "name", "nth", "after"),
    [
        (backfill_pieces, "make_blocks", 2, False),
        (backfill_pieces, "make_blocks", 2, True),
        (Journal, "begin_move", 2, False),
        (Journal, "begin_move", 2, True),
        (backfill_pieces, "move", 2, False),
        (backfill_pieces, "move", 7, True),
        (Journal, "end_move", 2, False),
        (Journal, "end_move", 2, True),
    ],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_a_run_that_was_killed_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, nth: int, after: bool
) -> None:
    original: Callable[..., Any] = getattr(where, name)
    calls = 0

    def dying(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            raise Killed
        answer = original(*args, **more)
        if calls == nth:
            raise Killed
        return answer

    now = now_of(world)
    with world.start(FEW_HOURS):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, dying)
            with pytest.raises(Killed):
                fill(world, now, 2 * DAY)
        nothing_half_done(world)
        fill(world, now + MINUTE, 2 * DAY)
        nothing_half_done(world)
        assert not (world.journal / "chunk").exists()
        assert not look(world, now + MINUTE, 2 * DAY).plan
    with world.start() as server:
        is_exact(world, server)


def test_a_longer_past_is_added_before_a_shorter_one(world: World) -> None:
    now = now_of(world)
    with world.start():
        first = fill(world, now, DAY)
    for _ in range(2):
        with world.start() as server:
            fill(world, now, 2 * DAY)
    with world.start() as server:
        is_exact(world, server)
    assert first.samples


def test_without_its_journal_an_interrupted_run_goes_on_by_what_prometheus_has(
    world: World,
) -> None:
    def end(done: int) -> None:
        if done == 2:
            raise Killed

    now = now_of(world)
    with world.start(), pytest.raises(Killed):
        fill(world, now, 2 * DAY, Shown(end))
    first = look_first(world)
    (world.journal / "journal.json").unlink()
    with world.start():  # it has read the blocks of the first two pieces
        fill(world, now, 2 * DAY)
    assert look_first(world) < first
    with world.start() as server:
        is_exact(world, server)


def test_a_full_disk_is_told_and_nothing_is_left_half_done(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = now_of(world)
    promtool = tmp_path / "promtool"
    promtool.write_text("#!/bin/sh\necho 'write chunk: no space left on device' >&2\nexit 1\n")
    promtool.chmod(0o755)
    with world.start():
        with pytest.raises(StateUnusable, match="is on a full disk; free some space"):
            run(
                Tsdb(world.url),
                replace(world.target, promtool=promtool),
                world.pasts,
                now - 2 * DAY,
                now,
                Shown(),
            )
        with monkeypatch.context() as patch:
            patch.setattr("shutil.disk_usage", lambda _: _Usage(1 << 20))
            with pytest.raises(StateUnusable, match=r"has 1 MiB free and \d+ MiB are needed"):
                fill(world, now, 2 * DAY)
        nothing_half_done(world)
        fill(world, now, 2 * DAY)
    with world.start() as server:
        is_exact(world, server)


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_promtool_that_fails_or_loses_samples_is_believed(world: World, tmp_path: Path) -> None:
    now = now_of(world)
    promtool = tmp_path / "promtool"
    promtool.write_text("#!/bin/sh\necho 'parse error: line 3' >&2\nexit 1\n")
    promtool.chmod(0o755)
    target = replace(world.target, promtool=promtool)
    with world.start():
        with pytest.raises(StackError, match="promtool: made no blocks: parse error: line 3"):
            run(Tsdb(world.url), target, world.pasts, now - 2 * DAY, now, Shown())
        promtool.write_text("#!/bin/sh\nexit 0\n")
        with pytest.raises(StackError, match=r"made 0 samples of \d+; nothing was moved"):
            run(Tsdb(world.url), target, world.pasts, now - 2 * DAY, now, Shown())
        assert Journal(world.journal).read().entries.done == []


def test_a_promtool_without_the_hidden_flag_makes_smaller_blocks(
    world: World, tmp_path: Path
) -> None:
    now = now_of(world)
    promtool = tmp_path / "promtool"
    promtool.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--max-block-duration*)\n'
        "  echo \"promtool: error: unknown long flag '--max-block-duration'\" >&2; exit 1;;\n"
        "esac\n"
        f'exec {world.target.promtool} "$@"\n'
    )
    promtool.chmod(0o755)
    target = replace(world.target, promtool=promtool)
    with world.start():
        _, result = run(
            Tsdb(world.url), target, world.pasts, now - 2 * DAY, now, Shown(), seen_within_s=0
        )
        assert result.blocks >= 24  # of two hours
    with world.start() as server:
        is_exact(world, server)


def test_a_prometheus_that_dies_is_told_and_the_next_run_goes_on(world: World) -> None:
    now = now_of(world)
    with world.start() as server:

        def end(done: int) -> None:
            if done == 1:
                server.process.kill()
                server.process.wait()

        with pytest.raises(PrometheusError, match="run the same command again: it goes on"):
            fill(world, now, 2 * DAY, Shown(end))
    with pytest.raises(PrometheusError, match="connection refused"):
        fill(world, now, 2 * DAY)
    with world.start():
        fill(world, now, 2 * DAY)
    with world.start() as server:
        is_exact(world, server)


def test_a_prometheus_that_comes_back_is_waited_for(world: World) -> None:
    now = now_of(world)
    again: list[AbstractContextManager[Server]] = []
    with world.start() as server:

        def restart(done: int) -> None:
            if done == 1:
                server.process.kill()
                server.process.wait()

        def hear(text: str) -> None:
            shown.said.append(text)
            again.append(world.start())
            again[-1].__enter__()

        shown = Shown(restart)
        tsdb = Tsdb(world.url, say=hear)
        try:
            run(tsdb, world.target, world.pasts, now - 2 * DAY, now, shown, seen_within_s=0)
        finally:
            for context in again:
                context.__exit__(None, None, None)
    assert [s for s in shown.said if "waiting for it" in s] == [
        "Prometheus does not answer (connection refused); waiting for it"
    ]
    with world.start() as server:
        is_exact(world, server)


def test_one_at_a_time(world: World) -> None:
    with (
        Journal(world.journal).alone(),
        world.start(),
        pytest.raises(StateUnusable, match=rf"another back-fill \(pid {os.getpid()}\)"),
    ):
        fill(world, now_of(world), DAY)


def test_another_folder_of_data_behind_the_journal_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that wait to be moved must not reach into the memory of a newer Prometheus."""
    now = now_of(world)

    def die(*_: object) -> None:
        raise Killed

    with world.start(), monkeypatch.context() as patch:
        patch.setattr(backfill_pieces, "move", die)
        with pytest.raises(Killed):
            fill(world, now, 2 * DAY)
    shutil.rmtree(world.data)
    with world.start() as server:
        write(server, [({"__name__": "old"}, now - 3 * DAY, 1.0)])
        with pytest.raises(StackError, match="its memory begins earlier"):
            fill(world, now, 2 * DAY)


def test_a_retention_by_size_is_not_overrun(world: World) -> None:
    now = now_of(world)
    used = sum(p.stat().st_size for p in world.data.rglob("*") if p.is_file())
    with (
        world.start(f"--storage.tsdb.retention.size={used + 20_000}B"),
        pytest.raises(ArgumentError, match="would push older blocks out of Prometheus"),
    ):
        fill(world, now, 2 * DAY)
    nothing_half_done(world)


def test_a_broken_journal_is_told(world: World) -> None:
    world.journal.mkdir()
    (world.journal / "journal.json").write_text("[]")
    with world.start(), pytest.raises(StateUnusable, match="is no journal of a back-fill"):
        fill(world, now_of(world), DAY)


def test_a_block_from_another_file_system_is_copied_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, data = tmp_path / "blocks" / ("0" * ULID), tmp_path / "data"
    (block / "chunks").mkdir(parents=True)
    (block / "chunks" / "000001").write_bytes(b"samples")
    (block / "meta.json").write_text("{}")
    data.mkdir()
    (data / f"{block.name}.tmp-for-creation").mkdir()  # of a copy that was interrupted
    plain = Path.rename

    def rename(path: Path, to: Path) -> Path:
        if path == block:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return plain(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    move(block, data)
    assert [p.name for p in data.iterdir()] == [block.name]
    assert (data / block.name / "chunks" / "000001").read_bytes() == b"samples"
    assert not block.exists()
