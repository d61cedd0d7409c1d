"""What a Prometheus keeps: how far back, from when in memory, and which tiles it has or can tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile.slo_names import PAGE, SLI, TILE, TOTAL_TILE, half_open
from opsloop.compile.slo_past import Past, Tiles
from opsloop.drivers.http import BasicAuth, HttpClient
from opsloop.drivers.prometheus import Prometheus
from opsloop.errors import PrometheusError, SourceError
from opsloop.remediation.ports import Sample, Series

T = TypeVar("T")

QUERY_S: Final = 110.0  # Prometheus gives up after 2 min
RECOVERY_S: Final = 90.0  # a Prometheus that is restarted reads its log of writes again
HEAD: Final = 3 * int(PAGE)  # how much lies in memory where the server cannot say
_LEAST: Final = int(PAGE)  # a query over less is not halved
_POLL_S = 0.5

Key = tuple[str, str]
"""(sli, service)"""


@dataclass(frozen=True, slots=True)
class Storage:
    """Times are unix milliseconds, sizes bytes; None and 0: not known, or no limit.

    head_began: older samples lie in blocks; a block that reaches beyond it costs samples, since
    Prometheus drops at its next start whatever its log of writes has from before the end of
    its newest block. lowest: the first sample of all. longest_block: what blocks are merged to.
    """

    head_began: int
    lowest: int | None = None
    retention: Duration | None = None
    most_bytes: int = 0
    bytes: int = 0
    longest_block: Duration | None = None


class Tsdb:
    """The Prometheus at `url`. say: hears when it waits for a server that does not answer."""

    def __init__(
        self,
        url: str,
        auth: BasicAuth | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
        recovery_s: float = RECOVERY_S,
    ) -> None:
        self._http = HttpClient(timeout_s=QUERY_S)
        self._auth = auth
        self._say = say
        self._recovery_s = recovery_s
        self._prometheus = Prometheus(self._http, url, auth, timeout_s=QUERY_S)
        self.url = self._prometheus.url
        self.queries = 0
        self._answered = False

    def storage(self, now: int) -> Storage:
        """Ask for it all. Raises PrometheusError when there is no answer."""
        head = self._status("status/tsdb").get("headStats", {})
        began = int(head["minTime"]) if "minTime" in head else now - HEAD
        flags = self._status("status/flags")
        metrics = self._metrics()
        lowest = metrics.get("prometheus_tsdb_lowest_timestamp", 0.0)
        return Storage(
            head_began=min(began, now),  # nothing in memory: the end of all times
            lowest=int(lowest) if 0 < lowest < now else None,
            retention=_duration(
                str(self._status("status/runtimeinfo").get("storageRetention", "")).partition(" ")[
                    0
                ]
            ),
            most_bytes=int(metrics.get("prometheus_tsdb_retention_limit_bytes", 0.0)),
            bytes=int(metrics.get("prometheus_tsdb_storage_blocks_bytes", 0.0)),
            longest_block=_duration(str(flags.get("storage.tsdb.max-block-duration", ""))),
        )

    def measured(self) -> frozenset[str]:
        """The SLIs that have a rule for their tiles. Raises PrometheusError."""
        groups = self._status("rules", "type=record").get("groups", [])
        return frozenset(
            str(rule.get("labels", {}).get(SLI, ""))
            for group in groups
            for rule in group.get("rules", [])
            if rule.get("name") == TOTAL_TILE
        )

    def first_tiles(self, begin: int, now: int) -> dict[Key, int]:
        """When each (SLI, service) got its first tile since `begin`. Raises PrometheusError."""
        hours = (now - begin) // int(PAGE) + 2
        in_hour, at = f"count_over_time({TOTAL_TILE}[{half_open(PAGE)}]", f"@ {now / 1000:.3f}"
        # The hour that is not over has no mark of its own yet.
        marks = (
            f"min_over_time(timestamp({in_hour}))[{hours}h:1h] {at})"
            f" or {in_hour} {at}) * 0 + {now / 1000:.3f}"
        )
        wanted: dict[float, set[Key]] = {}
        for sample in self._query(marks):
            wanted.setdefault(sample.value, set()).add(_key(sample.labels))
        found: dict[Key, int] = {}
        for mark, keys in wanted.items():
            # A tile is seen at the full minute after it.
            at = f"@ {mark + TILE.seconds:.3f}"
            for sample in self._query(f"min_over_time(timestamp({TOTAL_TILE})[2h:1m] {at})"):
                if _key(sample.labels) in keys:
                    found[_key(sample.labels)] = round(sample.value * 1000)
        return found

    def tiles(self, past: Past, first: int, last: int) -> dict[str, Tiles]:
        """The tiles of each service at first, first + 1 min, ... last. Raises PrometheusError."""
        total = _by_service(past, self._range(past.total, first, last))
        errors = _by_service(past, self._range(past.errors, first, last))
        return {s: Tiles(total.get(s, {}), errors.get(s, {})) for s in total.keys() | errors.keys()}

    def count(self, selector: str, seconds: int, at: int) -> int:
        """How many samples there are in the `seconds` before `at` (milliseconds), `at` included."""
        window = f"{seconds * 1000 - 1}ms"
        return round(
            sum(
                s.value
                for s in self._query(
                    f"sum(count_over_time({selector}[{window}] @ {at / 1000:.3f}))"
                )
            )
        )

    def _query(self, expr: str) -> list[Sample]:
        self.queries += 1
        return self._patiently(lambda: self._prometheus.query(expr))

    def _range(self, expr: str, first: int, last: int) -> list[Series]:
        """What is too much for one query is asked in halves."""
        try:
            return self._patiently(lambda: self._ask(expr, first, last))
        except PrometheusError:
            minutes = (last - first) // int(TILE)
            if last - first < _LEAST:
                raise
            middle = first + minutes // 2 * int(TILE)
            return [
                *self._range(expr, first, middle),
                *self._range(expr, middle + int(TILE), last),
            ]

    def _ask(self, expr: str, first: int, last: int) -> list[Series]:
        self.queries += 1
        return self._prometheus.query_range(expr, first / 1000, last / 1000, TILE.seconds)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask again when a Prometheus that has answered goes away and comes back."""
        deadline = time.monotonic() + (self._recovery_s if self._answered else 0.0)
        told = again = False
        while True:
            try:
                answer = ask()
            except PrometheusError as error:
                if self._prometheus.ready():
                    if again or "refused '" in error.reason or "timed out" in error.reason:
                        raise
                    again = True
                    continue
                if time.monotonic() >= deadline:
                    raise PrometheusError(error.thing, error.reason, GO_ON) from error
                if not told:
                    self._say(f"Prometheus does not answer ({error.reason}); waiting for it")
                    told = True
                time.sleep(_POLL_S)
            else:
                self._answered = True
                return answer

    def _status(self, path: str, words: str = "") -> dict[str, Any]:
        """The data of an answer, empty where the server has no such page."""
        url = f"{self.url}/api/v1/{path}" + (f"?{words}" if words else "")
        answer = self._patiently(lambda: self._get(url))
        try:
            data = msgspec.json.decode(answer)["data"]
        except (msgspec.DecodeError, KeyError, TypeError):
            return {}
        return data if isinstance(data, dict) else {}

    def _metrics(self) -> dict[str, float]:
        text = self._patiently(lambda: self._get(f"{self.url}/metrics")).decode(errors="replace")
        found = {}
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name.startswith("prometheus_tsdb_") and "{" not in name:
                found[name] = float(value)
        return found

    def _get(self, url: str) -> bytes:
        try:
            answer = self._http.call("GET", url, auth=self._auth)
        except SourceError as error:
            raise PrometheusError(error.thing, error.reason, error.next_step) from error
        if answer.status in (401, 403):
            raise PrometheusError(self.url, f"answered HTTP {answer.status}", "give a --user")
        if answer.status >= 500:
            raise PrometheusError(self.url, f"answered HTTP {answer.status}: {answer.text}")
        return answer.body if answer.status == 200 else b""


GO_ON: Final = "start it, then run the same command again: it goes on where it stopped"


def _by_service(past: Past, found: list[Series]) -> dict[str, dict[int, float]]:
    tiles: dict[str, dict[int, float]] = {}
    for series in found:
        of = tiles.setdefault(past.service(series.labels), {})
        of.update((round(at * 1000), value) for at, value in series.points)
    return tiles


def _key(labels: Mapping[str, str]) -> Key:
    return labels.get(SLI, ""), labels.get(names.SERVICE, "")


def _duration(text: str) -> Duration | None:
    try:
        return Duration.parse(text) or None
    except ValueError:
        return None
