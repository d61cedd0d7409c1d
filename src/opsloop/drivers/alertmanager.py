"""The Alerts port: what every Alertmanager lists, and what the engine posts to them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from opsloop.drivers import wire
from opsloop.drivers.http import BasicAuth, HttpClient
from opsloop.errors import AlertmanagerError, SourceError
from opsloop.remediation.episode import Alert
from opsloop.remediation.ports import PostedAlert

T = TypeVar("T")
log = logging.getLogger("opsloop.alertmanager")


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence that is active now. ends_at: unix seconds."""

    id: str
    matchers: tuple[str, ...]
    comment: str
    created_by: str
    ends_at: float


class Alertmanagers:
    """All Alertmanagers of a stack; they gossip, so each should know everything, but one that
    has just restarted knows nothing: lists are merged."""

    def __init__(
        self,
        http: HttpClient,
        urls: Sequence[str],
        auth: BasicAuth | None = None,
        *,
        timeout_s: float = 3.0,
    ) -> None:
        self.urls = [u.rstrip("/") for u in urls]
        self._http = http
        self._auth = auth
        self._timeout_s = timeout_s

    def alerts(self) -> list[Alert]:
        """All that fire, silenced and inhibited ones too."""
        query = "active=true&silenced=true&inhibited=true&unprocessed=true"
        merged: dict[str, Alert] = {}
        for found in self._each(lambda url: self._list(f"{url}/api/v2/alerts?{query}")):
            for alert in found:
                known = merged.get(alert.fingerprint)
                merged[alert.fingerprint] = alert if known is None else _both(known, alert)
        return list(merged.values())

    def post(self, alerts: Sequence[PostedAlert]) -> None:
        """To every Alertmanager; those that do not take them are told in the log."""
        if not alerts:
            return
        rows = [wire.posted(a.labels, a.annotations, a.starts_at, a.ends_at) for a in alerts]
        body = json.dumps(rows).encode()
        self._each(lambda url: self._post(f"{url}/api/v2/alerts", body))

    def silences(self) -> list[Silence]:
        """The active ones of the first Alertmanager that answers."""
        for raw in self._each(lambda url: self._get(f"{url}/api/v2/silences")):
            try:
                rows = msgspec.json.decode(raw)
                return [_silence(r) for r in rows if r["status"]["state"] == "active"]
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                raise AlertmanagerError(self.urls[0], f"lists silences oddly: {error}") from error
        return []

    def _each(self, ask: Callable[[str], T]) -> list[T]:
        """The answers of those that answer; AlertmanagerError of the last when none does."""
        answers: list[T] = []
        failure: AlertmanagerError | None = None
        for url in self.urls:
            try:
                answers.append(ask(url))
            except AlertmanagerError as error:
                failure = error
                if len(self.urls) > 1:
                    log.warning("an Alertmanager does not answer: %s", error)
        if not answers:
            raise failure or AlertmanagerError("Alertmanager", "there is none", "see `opsloop up`")
        return answers

    def _list(self, url: str) -> list[Alert]:
        body = self._get(url)
        try:
            return wire.listed(body)
        except (ValueError, msgspec.DecodeError) as error:
            raise AlertmanagerError(url, f"lists alerts oddly: {error}") from error

    def _get(self, url: str) -> bytes:
        return self._call("GET", url, None)

    def _post(self, url: str, body: bytes) -> bytes:
        return self._call("POST", url, body)

    def _call(self, method: str, url: str, body: bytes | None) -> bytes:
        try:
            answer = self._http.call(
                method,
                url,
                body=body,
                content_type="application/json" if body is not None else None,
                auth=self._auth,
                timeout_s=self._timeout_s,
            )
        except SourceError as error:
            raise AlertmanagerError(error.thing, error.reason, error.next_step) from error
        if answer.status != 200:
            raise AlertmanagerError(url, f"answered HTTP {answer.status}: {answer.text}")
        return answer.body


def _both(first: Alert, second: Alert) -> Alert:
    """One alert as two Alertmanagers know it: the older start, and every silence."""
    return replace(
        first,
        starts_at=min(first.starts_at, second.starts_at),
        silenced_by=tuple(dict.fromkeys(first.silenced_by + second.silenced_by)),
        inhibited_by=tuple(dict.fromkeys(first.inhibited_by + second.inhibited_by)),
    )


def _silence(raw: dict[str, object]) -> Silence:
    matchers: list[str] = []
    found = raw["matchers"]
    if not isinstance(found, list):
        raise TypeError("matchers is no list")
    for matcher in found:
        operator = ("=~" if matcher["isRegex"] else "=") if matcher.get("isEqual", True) else "!~"
        if operator == "!~" and not matcher["isRegex"]:
            operator = "!="
        matchers.append(f"{matcher['name']}{operator}{json.dumps(matcher['value'])}")
    return Silence(
        id=str(raw["id"]),
        matchers=tuple(matchers),
        comment=str(raw.get("comment", "")),
        created_by=str(raw.get("createdBy", "")),
        ends_at=wire.parse_time(str(raw["endsAt"])) or 0.0,
    )
