"""Deliveries of a storm: repeated, reordered, mixed and truncated, from many connections at once."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from typing import Any, Final

from benchmarks._client import Connection, connect, post
from benchmarks._world import World, moment

LATE, RESOLVED, CUT, LEFT_OUT = 0.08, 0.2, 0.01, 0.02  # shares of the deliveries
ONCE = 0.5  # with an alert that is told this once and stands in no list: nothing brings it back
AT_ONCE: Final = 32


class Senders:
    """A thread that delivers until `stop`; what was acknowledged is in `acknowledged`.

    per_episode: deliveries for each episode that has begun, so that they come while there is
    something to tell.
    """

    def __init__(self, world: World, seed: int, per_episode: int) -> None:
        self.world = world
        self.per_episode = per_episode
        self.acknowledged: dict[str, set[str]] = {}  # fingerprint -> firing, resolved
        self.statuses: dict[int, int] = {}
        self.answered_wrongly: list[str] = []
        self._once = 0
        self._rng = random.Random(seed)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="senders", daemon=True)

    @property
    def delivered(self) -> int:
        """Deliveries that were answered, with 200 or, where they were cut short, with 400."""
        return self.statuses.get(200, 0) + self.statuses.get(400, 0)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        if self._thread.is_alive():
            self._thread.join(60)

    def _run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._lane() for _ in range(AT_ONCE)))

    async def _lane(self) -> None:
        connection: Connection | None = None
        while not self._stopping:
            if self.delivered >= self.per_episode * self.world.begun:
                await asyncio.sleep(0.01)
                self.world.turn()
                continue
            if connection is None or not connection.open:
                connection = await connect(self.world.rig.ports.engine)
                if connection is None:
                    await asyncio.sleep(0.02)
                    continue
            told, cut, body = self._make()
            status = await connection.send(post(self.world.rig.ports.engine, self._token, body))
            self._count(told, status, cut=cut)
        if connection is not None:
            connection.close()

    @property
    def _token(self) -> str:
        return self.world.rig.token

    def _count(self, told: list[tuple[str, str]], status: int, *, cut: bool) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        expected = (400, 503, 0) if cut else (200, 503, 0)
        if status not in expected and len(self.answered_wrongly) < 10:
            self.answered_wrongly.append(f"{status} to {'a cut' if cut else 'a whole'} payload")
        if status == 200:
            for fingerprint, word in told:
                self.acknowledged.setdefault(fingerprint, set()).add(word)

    def _make(self) -> tuple[list[tuple[str, str]], bool, bytes]:
        """What it tells, whether it is cut short, and its body."""
        firing, ended = self.world.facts()
        rng = self._rng
        told: list[tuple[str, str]] = []
        alerts: list[dict[str, Any]] = []
        audible = [f for f in firing if not f.silent]
        for fault in rng.sample(audible, min(len(audible), rng.randint(1, 4))):
            told.append((fault.fingerprint, "firing"))
            alerts.append(fault.alert("firing"))
        recent = ended[-60:]
        if recent and (rng.random() < RESOLVED or not alerts):
            fault, at = rng.choice(recent)
            told.append((fault.fingerprint, "resolved"))
            alerts.append(fault.alert("resolved", at))
        if recent and rng.random() < LATE:
            fault, _ = rng.choice(recent)
            # It was sent before its end, and comes after it.
            told.append((fault.fingerprint, "firing"))
            alerts.append(fault.alert("firing"))
        if rng.random() < ONCE:
            self._once += 1
            alerts.append(told_once(self._once))
            told.append((alerts[-1]["fingerprint"], "resolved"))
        rng.shuffle(alerts)
        left_out = rng.randint(1, 5) if rng.random() < LEFT_OUT else 0
        body = json.dumps(
            {
                "version": "4",
                "groupKey": "{}:{}",
                "truncatedAlerts": left_out,
                "status": "firing",
                "receiver": "engine",
                "groupLabels": {},
                "commonLabels": {},
                "commonAnnotations": {},
                "externalURL": "http://127.0.0.1:9093",
                "alerts": alerts,
            }
        ).encode()
        if rng.random() < CUT:
            return [], True, body[: rng.randrange(1, len(body) - 1)]
        return told, False, body


def told_once(number: int) -> dict[str, Any]:
    """An alert that began and ended, which no policy meets."""
    now = time.time()
    return {
        "status": "resolved",
        "labels": {"alertname": "ToldOnce", "number": str(number)},
        "annotations": {},
        "startsAt": moment(now - 1.0),
        "endsAt": moment(now),
        "fingerprint": f"eeee{number:012x}",
    }
