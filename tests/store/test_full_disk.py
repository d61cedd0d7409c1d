"""A full disk and a read-only one: nothing half written, the reason told, and it lives on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsloop.errors import StoreUnusable
from opsloop.remediation.episode import EpisodeState
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import alert, started

SIZE_KIB = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of the test's own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount program, so no small disk to fill")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all the room that is left."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler


def refused_intake(store: SqliteStore) -> StoreUnusable:
    """Take alerts until the disk refuses: SQLite may reuse pages for a while."""
    for n in range(2000):
        try:
            store.intake([alert(f"more{n}", note="x" * 3000)], 200.0)
        except StoreUnusable as error:
            return error
    raise AssertionError("a full disk refused nothing")


def test_a_full_disk_refuses_with_the_reason_and_nothing_is_half_written(disk: Path) -> None:
    with SqliteStore(disk / "engine.sqlite") as store:
        run = started(store)
        filler = fill(disk)
        error = refused_intake(store)
        assert "disk is full" in str(error)
        assert "make room" in str(error)
        known = store.episodes(10_000, closed=True)
        # Reads go on, and no action begins that could not be written down.
        assert store.open_runs() == [run]
        begun = True
        try:
            store.begin_action(run, 0, 201.0)
        except StoreUnusable:
            begun = False
        assert len(store.actions(run.id)) == int(begun)
        # With room again it goes on by itself.
        filler.unlink()
        assert store.intake([alert("after")], 300.0)
        assert len(store.episodes(10_000, closed=True)) == len(known) + 1
        assert store.verify_audit().ok
    with SqliteStore(disk / "engine.sqlite") as store:
        assert store.verify_audit().ok
        assert store.episode(run.episode_id).state is EpisodeState.RUNNING


def test_all_of_a_payload_or_nothing(disk: Path) -> None:
    with SqliteStore(disk / "engine.sqlite") as store:
        many = [alert(f"f{n}", note="x" * 3000) for n in range(3000)]
        with pytest.raises(StoreUnusable, match="disk is full"):
            store.intake(many, 100.0)
        assert store.firing() == []
        assert store.intake([alert("small")], 101.0)


def test_a_disk_that_is_full_from_the_start_is_refused(disk: Path) -> None:
    fill(disk)
    with pytest.raises(StoreUnusable, match="full"):
        SqliteStore(disk / "engine.sqlite")


def test_a_read_only_disk_refuses_with_the_reason(disk: Path) -> None:
    path = disk / "engine.sqlite"
    with SqliteStore(path) as store:
        run = started(store)
        # As a disk does after an error: open files too become read-only.
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False)
        remounted = not os.access(disk, os.W_OK)
        if not remounted:
            store.close()
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        else:
            with pytest.raises(StoreUnusable):
                store.intake([alert("b2")], 101.0)
    with pytest.raises(StoreUnusable) as caught:
        SqliteStore(path)
    assert "cannot be" in str(caught.value)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with SqliteStore(path) as store:
        assert [r.id for r in store.open_runs()] == [run.id]
