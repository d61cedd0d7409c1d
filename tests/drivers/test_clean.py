"""Cleaning a real folder: the contract, and all that must never be deleted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from opsloop.drivers.clean import CleanDriver, delete, mount_of, size, total
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, CleanRule, Work
from tests.drivers.driver_contract import DriverContract

DAY = 86_400.0


def old(path: Path, age_s: float = 10 * DAY, count: int = 4096) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * count)
    at = time.time() - age_s
    os.utime(path, (at, at))
    return path


class CleanRig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver = CleanDriver(Words(folder, folder, {}))
        self.counted = 0

    def rule(self, pattern: str = "*.log", keep: int = 0, folder: str = "logs") -> CleanRule:
        return CleanRule(f"{{state}}/{folder}", pattern, 7 * DAY, keep)

    def action(self, *rules: CleanRule, mountpoint: str = "", limit_s: float = 60.0) -> Action:
        values = (("OPSLOOP_MOUNTPOINT", mountpoint),) if mountpoint else ()
        work = Work(id="1", rules=rules or (self.rule(),), values=values)
        return Action("clean", "local", "host/local", limit_s=limit_s, work=work)

    def good(self) -> Action:
        """Each makes a file that may go, and counts those that went."""
        self.counted += 1
        old(self.folder / "logs" / f"{self.counted}.log")
        return self.action()

    def bad(self) -> Action:
        (self.folder / "logs").mkdir(exist_ok=True)
        for path in (self.folder / "logs").iterdir():
            path.unlink()
        self.counted = 0
        return self.action()

    def slow(self) -> Action:
        for n in range(50):
            old(self.folder / "logs" / f"slow-{n}.log")
        return self.action(limit_s=-1.0)

    def impossible(self) -> Action:
        return self.action(self.rule(folder="nowhere"))

    def effects(self) -> int:
        there = len(list((self.folder / "logs").glob("*"))) if self.counted else 0
        return self.counted - there

    def quiet(self) -> bool:
        return True


@pytest.fixture
def rig(tmp_path: Path) -> CleanRig:
    return CleanRig(tmp_path)


class TestClean(DriverContract):
    def test_what_is_not_done_in_time_is_ended_and_no_success(self, rig: CleanRig) -> None:  # type: ignore[override]
        """A limit that is over before the first file: nothing goes, and that is said."""
        result = rig.driver.perform(rig.slow(), 1)
        assert (result.ok, result.started) == (False, False)
        assert "deleted 0 of 50 files" in result.output
        assert "time was over" in result.output

    def two(self, rig: CleanRig) -> list[Action]:  # type: ignore[override]
        for name in ("one", "two"):
            old(rig.folder / name / "a.log")
        return [
            Action("clean", name, name, work=Work(rules=(rig.rule(folder=name),)))
            for name in ("one", "two")
        ]

    def test_success_is_done_once_and_said(self, rig: CleanRig) -> None:  # type: ignore[override]
        action = rig.good()
        result = rig.driver.perform(action, 1)
        assert (result.ok, result.started) == (True, True)
        assert result.output == "deleted 1 of 1 files, freed 4.0 KiB"
        assert list((rig.folder / "logs").iterdir()) == []

    def test_a_run_that_lost_its_lock_does_nothing(self, rig: CleanRig) -> None:  # type: ignore[override]
        rig.driver.perform(rig.good(), 5)
        action = rig.good()
        with pytest.raises(DriverError, match="token 4 is stale"):
            rig.driver.perform(action, 4)
        assert len(list((rig.folder / "logs").iterdir())) == 1


def names(rig: CleanRig, rule: CleanRule) -> list[str]:
    return [o.path for o in rig.driver.allowed(rule, time.time())]


def test_only_what_all_of_a_rule_allows(rig: CleanRig) -> None:
    logs = rig.folder / "logs"
    for n in range(5):
        old(logs / f"{n}.log", (20 - n) * DAY)
    old(logs / "deep" / "er" / "9.log", 30 * DAY)
    old(logs / "young.log", 6 * DAY)
    old(logs / "notes.txt", 90 * DAY)
    (logs / "folder.log").mkdir()
    os.mkfifo(logs / "pipe.log")
    assert names(rig, rig.rule()) == ["deep/er/9.log", "0.log", "1.log", "2.log", "3.log", "4.log"]
    # The newest that the pattern meets stay, however old: of seven these are young, 4 and 3.
    assert names(rig, rig.rule(keep=3)) == ["deep/er/9.log", "0.log", "1.log", "2.log"]
    assert names(rig, rig.rule(keep=100)) == []
    assert names(rig, rig.rule(pattern="[0-1].*")) == ["0.log", "1.log"]


def test_no_link_is_followed(rig: CleanRig) -> None:
    precious = old(rig.folder / "precious" / "a.log")
    logs = rig.folder / "logs"
    logs.mkdir()
    (logs / "there").symlink_to(precious.parent)
    (logs / "b.log").symlink_to(precious)
    os.utime(logs / "b.log", (1, 1), follow_symlinks=False)
    assert names(rig, rig.rule()) == []
    (rig.folder / "link").symlink_to(precious.parent)
    with pytest.raises(DriverError, match="is a link or no folder") as caught:
        rig.driver.perform(rig.action(rig.rule(folder="link")), 1)
    assert not caught.value.started
    assert precious.exists()


def test_what_changed_since_it_was_looked_at_stays(rig: CleanRig) -> None:
    logs = rig.folder / "logs"
    path = old(logs / "sub" / "a.log")
    (found,) = rig.driver.allowed(rig.rule(), time.time())
    path.write_text("written again")
    assert delete(found) == "it has changed meanwhile"
    old(path)
    (found,) = rig.driver.allowed(rig.rule(), time.time())
    # Somebody puts a link where the folder was: nothing is deleted through it.
    precious = old(rig.folder / "precious" / "a.log")
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(precious.parent)
    assert delete(found)
    assert precious.exists()
    path.parent.unlink()
    assert delete(found) == "it is gone already"


def test_bytes_that_another_name_keeps_are_not_counted(rig: CleanRig) -> None:
    path = old(rig.folder / "logs" / "a.log", count=8192)
    found = rig.driver.allowed(rig.rule(), time.time())
    assert total(found) == 8192
    os.link(path, rig.folder / "kept")
    assert total(rig.driver.allowed(rig.rule(), time.time())) == 0


def test_only_the_file_system_that_is_full_is_cleaned(rig: CleanRig) -> None:
    action = rig.good()
    here = mount_of(rig.folder)
    elsewhere = rig.driver.perform(rig.action(mountpoint="/nowhere"), 1)
    assert (elsewhere.ok, elsewhere.started) == (False, False)
    assert elsewhere.output == "no declared folder lies on /nowhere"
    assert action.work is not None
    assert rig.driver.perform(rig.action(mountpoint=here), 2).ok


def test_nothing_left_to_delete_is_no_success(rig: CleanRig) -> None:
    (rig.folder / "logs").mkdir()
    result = rig.driver.perform(rig.action(), 1)
    assert (result.ok, result.started) == (False, False)
    assert result.output == "deleted 0 of 0 files, freed 0 B"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert size(count) == text
