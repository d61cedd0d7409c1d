"""The Metrics port: instant queries to Prometheus."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from opsloop.drivers.http import Answer, BasicAuth, HttpClient
from opsloop.errors import PrometheusError, SourceError
from opsloop.remediation.ports import Sample, Series

T = TypeVar("T")

log = logging.getLogger("opsloop.prometheus")

# Notes of the query engine about the expression; any other warning means that data is missing.
_NOTES = ("PromQL warning:", "PromQL info:")


class Prometheus:
    """A Prometheus at `url` (without a path at the end)."""

    def __init__(
        self,
        http: HttpClient,
        url: str,
        auth: BasicAuth | None = None,
        *,
        timeout_s: float = 5.0,
    ) -> None:
        self.url = url.rstrip("/")
        self._http = http
        self._auth = auth
        self._timeout_s = timeout_s
        self._told: set[str] = set()

    def query(self, expr: str, at: float | None = None) -> list[Sample]:
        """Evaluate now, or at `at` (unix seconds). NaN is no value: a series of none is left out.

        Raises PrometheusError when there is no whole answer: none at all, an error, a result
        that is no vector or scalar, or a warning that data is missing.
        """
        words = {"query": expr} if at is None else {"query": expr, "time": repr(at)}
        return self._read(expr, self._ask("query", words), _vector)

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate at start, start + step, ... up to end (unix seconds; step in seconds).

        Raises PrometheusError as `query` does; at most 11,000 points are answered.
        """
        words = {"query": expr, "start": repr(start), "end": repr(end), "step": repr(step)}
        return self._read(expr, self._ask("query_range", words), _matrix)

    def _ask(self, path: str, words: dict[str, str]) -> Answer:
        form = urlencode(words | {"timeout": f"{self._timeout_s:g}s"}).encode()
        try:
            return self._http.call(
                "POST",
                f"{self.url}/api/v1/{path}",
                body=form,
                content_type="application/x-www-form-urlencoded",
                auth=self._auth,
                timeout_s=self._timeout_s + 1,
            )
        except SourceError as error:
            raise PrometheusError(error.thing, error.reason, error.next_step) from error

    def ready(self) -> bool:
        """Whether it answers and is ready."""
        try:
            return self._http.call("GET", f"{self.url}/-/ready", auth=self._auth).status == 200
        except SourceError:
            return False

    def _read(self, expr: str, answer: Answer, result: Callable[[Any], list[T]]) -> list[T]:
        try:
            raw = msgspec.json.decode(answer.body)
            if not isinstance(raw, dict):
                raise TypeError
            if answer.status != 200 or raw.get("status") != "success":
                reason = str(raw.get("error") or f"answered HTTP {answer.status}")
                raise PrometheusError(self.url, f"refused {_short(expr)}: {reason}")
            self._heed(raw.get("warnings") or [], expr)
            return result(raw["data"])
        except (msgspec.DecodeError, RecursionError, TypeError, KeyError, ValueError) as error:
            raise PrometheusError(
                self.url, f"answered HTTP {answer.status} with no result: {answer.text}"
            ) from error

    def _heed(self, warnings: list[Any], expr: str) -> None:
        for warning in map(str, warnings):
            if not warning.startswith(_NOTES):
                raise PrometheusError(self.url, f"has not all data for {_short(expr)}: {warning}")
            if warning not in self._told and len(self._told) < 1000:
                self._told.add(warning)
                log.warning("%s", warning, extra={"query": expr})


def _vector(data: Any) -> list[Sample]:
    kind, result = data["resultType"], data["result"]
    found: list[tuple[dict[str, str], Any]]
    if kind == "scalar":
        found = [({}, result[1])]
    elif kind == "vector":
        found = [(item["metric"], item["value"][1]) for item in result]
    else:
        raise ValueError(kind)
    samples = [Sample(labels, float(text)) for labels, text in found]
    return [s for s in samples if not math.isnan(s.value)]


def _matrix(data: Any) -> list[Series]:
    if data["resultType"] != "matrix":
        raise ValueError(data["resultType"])
    found = []
    for item in data["result"]:
        points = ((float(at), float(text)) for at, text in item["values"])
        found.append(Series(item["metric"], tuple(p for p in points if not math.isnan(p[1]))))
    return found


def _short(expr: str) -> str:
    line = " ".join(expr.split())
    return repr(line if len(line) <= 120 else line[:117] + "...")
