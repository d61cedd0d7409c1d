"""A small disk of one's own, and a storm on it while it takes nothing more."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks._judge import Findings
from benchmarks._rig import Rig, until
from benchmarks._senders import Senders
from benchmarks._world import World

SIZE_MIB: Final = 12
LASTS_S: Final = 1.0  # how long it takes nothing


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs."""

    place: Path

    def fill(self) -> None:
        """Take all the room that is left."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)

    def read_only(self, *, on: bool) -> None:
        """Raises CalledProcessError while a file on it is open for writing."""
        word = f"remount,{'ro' if on else 'rw'}"
        subprocess.run(["mount", "-o", word, str(self.place)], check=True, capture_output=True)

    @property
    def _filler(self) -> Path:
        return self.place / "filler"


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[SmallDisk | str]:
    """The disk, or why there is none."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        yield "there is no mount program"
        return
    if done.returncode:
        yield f"a small disk cannot be mounted: {done.stderr.strip()}"
        return
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@dataclass
class Cut:
    """What came of it. reasons: the words of each refusal."""

    rig: Rig
    world: World
    senders: Senders
    disk: SmallDisk
    cuts: int = 0
    kills: int = 0
    went_on: int = 0
    reasons: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    _number: int = 0

    def once(self, kind: str, *, kill: bool, wait_s: float) -> None:
        """After a while of storm the disk takes nothing; then it does again.

        kind: full, or read-only. A disk cannot be made read-only under files that are written,
        so where the engine is not killed each of its writes is refused by a limit of files.
        """
        time.sleep(wait_s)
        self.cuts += 1
        self.rig.unable()
        if kind == "full":
            self.disk.fill()
            self._until_refused()
        elif not kill:
            self._limit(1)
            self._until_refused()
        time.sleep(LASTS_S)
        if kill:
            self.rig.kill_engine()
            self.kills += 1
            if kind == "read-only":
                self.disk.read_only(on=True)
            self._refused_start()
        if kind == "full":
            self.disk.make_room()
        elif kill:
            self.disk.read_only(on=False)
        else:
            self._limit(resource.RLIM_INFINITY)
        if self.rig.engine is None or self.rig.engine.poll() is not None:
            self.rig.start_engine()
        self.rig.wait_ready()
        until(lambda: self._probe() == 200, "webhooks are taken again", 60)
        self.went_on += 1

    def _limit(self, size: int) -> None:
        if self.rig.engine is not None:
            limits = (size, resource.RLIM_INFINITY)
            resource.prlimit(self.rig.engine.pid, resource.RLIMIT_FSIZE, limits)

    def _refused_start(self) -> None:
        """An engine on a disk that takes nothing says so and ends, or serves what it can."""
        process = self.rig.start_engine()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if process.wait(20) != 0:
                self.reasons.append(_reason(self.rig.log.read_text().splitlines()[-1]))
            return
        self._until_refused()
        self.rig.kill_engine()

    def _until_refused(self) -> None:
        until(lambda: self._probe() == 503, "a webhook is refused", 60, every=0.0)

    def _probe(self) -> int:
        """A webhook of a large alert that has ended; 0 when there was no answer."""
        self._number += 1
        alert = {
            "status": "resolved",
            "labels": {"alertname": "Probe"},
            "annotations": {"text": "x" * 8000},
            "startsAt": "2026-11-24T07:15:30.328Z",
            "endsAt": "2026-11-24T07:16:30.328Z",
            "fingerprint": f"ffff{self._number:012x}",
        }
        body = json.dumps({"version": "4", "alerts": [alert]})
        connection = http.client.HTTPConnection("127.0.0.1", self.rig.ports.engine, timeout=20)
        headers = {"Authorization": f"Bearer {self.rig.token}"}
        try:
            connection.request("POST", "/api/v1/alerts", body, headers)
            answer = connection.getresponse()
            said = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        if answer.status == 503:
            self.reasons.append(_reason(json.loads(said)["error"]))
        elif answer.status == 200:
            self.senders.acknowledged[f"ffff{self._number:012x}"] = {"resolved"}
        return answer.status


def _reason(text: str) -> str:
    """What is wrong, without the paths, so that it can be counted."""
    found = re.search(r"engine\.\w+: ([^;]+)", text)
    return found.group(1) if found else text
