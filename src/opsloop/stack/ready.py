"""Whether each part of a stack is healthy, asked until it is or until time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from opsloop import names
from opsloop.drivers.supervisor import ProcessInfo, Supervisor
from opsloop.errors import DriverError, PartFailed
from opsloop.stack import processes, supervisord
from opsloop.stack.parts import Part
from opsloop.stack.secrets import scrape_password
from opsloop.stack.state import StateFolder

if TYPE_CHECKING:
    import urllib3

Health = Literal["healthy", "starting", "failed", "off"]
POLL_S = 0.15
_ANSWER_S = 1.5
_AT_ONCE = 8
_ENDED_S = 5.0


@dataclass(frozen=True, slots=True)
class PartStatus:
    """What is known of a part now. `detail`: why it is not healthy. Times are unix seconds."""

    part: Part
    health: Health
    state: str  # supervisord's word
    pid: int = 0
    started_at: float = 0.0
    detail: str = ""

    @property
    def settled(self) -> bool:
        return self.health in ("healthy", "off")


class Http:
    """Short GETs to the parts of one stack, with the scrape password where it is wanted."""

    def __init__(self, password: str, timeout_s: float = _ANSWER_S) -> None:
        import urllib3

        self._pool: urllib3.PoolManager = urllib3.PoolManager(
            num_pools=32,
            timeout=urllib3.Timeout(connect=min(1.0, timeout_s), read=timeout_s),
            retries=False,
        )
        self._headers = urllib3.make_headers(basic_auth=f"{names.SCRAPE_USER}:{password}")

    def get(self, url: str, *, protected: bool) -> tuple[int, str]:
        """(status, body). Raises OSError with a short reason when there is no answer."""
        from urllib3.exceptions import HTTPError

        try:
            answer = self._pool.request("GET", url, headers=self._headers if protected else None)
            return answer.status, answer.data.decode(errors="replace")
        except HTTPError as error:
            raise OSError(_short(error)) from error

    def json(self, url: str, *, protected: bool) -> Any:
        """The body as JSON. Raises OSError for whatever is not a 200 with JSON."""
        import json

        status, text = self.get(url, protected=protected)
        if status != 200:
            raise OSError(f"answers {status}")
        try:
            return json.loads(text)
        except ValueError as error:
            raise OSError("does not answer JSON") from error

    def close(self) -> None:
        self._pool.clear()


def _short(error: Exception) -> str:
    text = str(error)
    if "refused" in text.lower():
        return "connection refused"
    if "timed out" in text.lower():
        return "no answer in time"
    return text.rpartition(": ")[2] or type(error).__name__


class Checker:
    """Reads the health of all parts of a stack at once. Closed by its `with` block."""

    def __init__(self, state: StateFolder, parts: Sequence[Part], driver: Supervisor) -> None:
        self.state = state
        self.parts = list(parts)
        self.driver = driver
        self.http = Http(scrape_password(state.secrets))
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="health")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.http.close()

    def read(self, parts: Sequence[Part] | None = None) -> list[PartStatus]:
        """The parts (default: all), in their order. Raises DriverError without a supervisord."""
        infos = {p.target: p for p in self.driver.processes()}
        daemon = self.driver.pid()
        wanted = self.parts if parts is None else parts
        return list(
            self._threads.map(lambda p: self._status(p, infos.get(p.target), daemon), wanted)
        )

    def _status(self, part: Part, info: ProcessInfo | None, daemon: int) -> PartStatus:
        if info is None:
            return PartStatus(part, "failed", "UNKNOWN", detail="supervisord has no such program")
        health, detail = self._health(part, info, daemon)
        return PartStatus(part, health, info.state, info.pid, info.started_at, detail)

    def _health(self, part: Part, info: ProcessInfo, daemon: int) -> tuple[Health, str]:
        if not part.wanted:
            return ("healthy", "") if info.state == "RUNNING" else ("off", "")
        if info.state in ("FATAL", "EXITED", "UNKNOWN"):
            return "failed", f"{info.state.lower()}, {_ending(info)}"
        if info.state != "RUNNING":
            return "starting", info.state.lower()
        # After a crash of supervisord a leftover may answer in the place of this one.
        if info.pid <= 1 or processes.parent_of(info.pid) != daemon:
            return "starting", "is not supervisord's child yet"
        if not part.url:
            return "healthy", ""
        return self._answer(part)

    def _answer(self, part: Part) -> tuple[Health, str]:
        try:
            status, text = self.http.get(part.url, protected=part.protected)
        except OSError as error:
            return "starting", f"{part.address}: {error}"
        if status != 200:
            return "starting", f"{part.url} answers {status}"
        if part.kind == "postgres":
            up = [line.rpartition(" ")[2] for line in text.splitlines() if _is_pg_up(line)]
            if not up or any(float(value) != 1 for value in up):
                return "starting", "it answers, but its database does not (pg_up 0)"
        return "healthy", ""


def _is_pg_up(line: str) -> bool:
    return line.startswith(("pg_up ", "pg_up{"))


def _ending(info: ProcessInfo) -> str:
    if info.state == "EXITED":
        return f"exit status {info.exit_status}"
    return info.description or f"exit status {info.exit_status}"


def wait_healthy(
    checker: Checker, deadline: float, show: Callable[[list[PartStatus]], None]
) -> list[PartStatus]:
    """Ask until every wanted part is healthy; returns the last answers.

    deadline: of time.monotonic(). show: gets each reading. Raises PartFailed for a part that
    gave up, or for all that are not healthy when time is up, with the end of their logs.
    """
    statuses: dict[str, PartStatus] = {}
    ended_at: dict[str, float] = {}
    waiting = checker.parts
    while True:
        try:
            read = checker.read(waiting)
        except DriverError as error:
            if time.monotonic() > deadline or not supervisord.find(checker.state):
                raise PartFailed(
                    "supervisord",
                    f"does not answer any more: {error.reason}",
                    f"see {checker.state.logs / 'supervisord.out'}",
                ) from error
            time.sleep(POLL_S)
            continue
        statuses |= {s.part.target: s for s in read}
        now = [statuses[p.target] for p in checker.parts]
        show(now)
        waiting = [s.part for s in now if not s.settled]
        if not waiting:
            return now
        gave_up = _gave_up(now, ended_at)
        if gave_up or time.monotonic() > deadline:
            raise not_healthy(checker.state, gave_up or [s for s in now if not s.settled])
        time.sleep(POLL_S)


def _gave_up(now: Sequence[PartStatus], ended_at: dict[str, float]) -> list[PartStatus]:
    """Those that will not come by themselves.

    One that ended may be between the two halves of a restart by the loop, so it has a moment.
    """
    moment = time.monotonic()
    for status in now:
        if status.state == "EXITED":
            ended_at.setdefault(status.part.target, moment)
        else:
            ended_at.pop(status.part.target, None)
    return [
        s
        for s in now
        if s.health == "failed" and moment - ended_at.get(s.part.target, 0.0) > _ENDED_S
    ]


def not_healthy(state: StateFolder, failing: Sequence[PartStatus]) -> PartFailed:
    """One sentence per part that failed: why, its last words, where to read on."""

    def story(status: PartStatus) -> str:
        words = supervisord.tail(state.log(status.part.name), 2)
        return f"{status.detail or status.state.lower()}; its log ends: {words}"

    # Who waits for another is told after the one that ends again and again.
    failing = sorted(failing, key=lambda s: (s.health != "failed", s.state != "BACKOFF"))
    first = failing[0].part.name
    reason = story(failing[0])
    if len(failing) > 1:
        rest = "; ".join(f"{s.part.name}: {story(s)}" for s in failing[1:])
        reason = f"{reason}; {rest}"
    return PartFailed(
        f"{first} is not healthy",
        reason,
        f"read `opsloop logs {first}` ({state.log(first)}), mend it, then `opsloop up`",
    )
