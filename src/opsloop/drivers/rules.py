"""Prometheus as people ask it: its rules, its targets, and the values that a label has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from opsloop.drivers import listed, scraped
from opsloop.drivers.listed import Rule
from opsloop.drivers.prometheus import Prometheus
from opsloop.drivers.scraped import EvaluatedRule, Target
from opsloop.errors import PrometheusError, SourceError

T = TypeVar("T")


class AlertRules(Prometheus):
    """A Prometheus with its rules. Raises PrometheusError when it does not answer."""

    def rules(self) -> list[Rule]:
        """Every alerting rule, with the alerts that it has now."""
        return self._get("/api/v1/rules?type=alert", listed.rules)

    def targets(self) -> list[Target]:
        """Every address that it scrapes, what is down first."""
        return self._get("/api/v1/targets?state=active", scraped.targets)

    def evaluated(self) -> list[EvaluatedRule]:
        """Every rule, recordings too, with its last evaluation."""
        return self._get("/api/v1/rules", scraped.evaluated)

    def label_values(self, label: str, since: float) -> list[str]:
        """The values that `label` had in any series since then (unix seconds)."""
        words = urlencode({"start": f"{since:.3f}"})
        return self._get(f"/api/v1/label/{quote(label)}/values?{words}", listed.label_values)

    def _get(self, path: str, read: Callable[[bytes], T]) -> T:
        place = self.url + path.split("?", maxsplit=1)[0]
        try:
            answer = self._http.call(
                "GET", self.url + path, auth=self._auth, timeout_s=self._timeout_s
            )
        except SourceError as error:
            raise PrometheusError(error.thing, error.reason, error.next_step) from error
        if answer.status != 200:
            raise PrometheusError(place, f"answered HTTP {answer.status}: {answer.text}")
        try:
            return read(answer.body)
        except (ValueError, msgspec.DecodeError) as error:
            raise PrometheusError(place, f"answered oddly: {error}") from error
