"""Alertmanager as people use it: what it lists, its receivers, and its silences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from opsloop.drivers import listed, wire
from opsloop.drivers.alertmanager import Alertmanagers
from opsloop.drivers.http import Answer
from opsloop.drivers.listed import Listed, Matcher, Silence
from opsloop.errors import AlertmanagerError, ArgumentError, SourceError

T = TypeVar("T")
_EVERY = (("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true"))


class AlertDesk(Alertmanagers):
    """Alertmanagers that gossip: the first that answers is asked, and tells the others."""

    def listed(self, matchers: Sequence[Matcher] = ()) -> list[Listed]:
        """What fires, silenced and inhibited alerts too, where all `matchers` match.

        Raises ArgumentError when Alertmanager refuses a matcher, with its reason.
        """
        words = [*_EVERY, *(("filter", str(m)) for m in matchers)]
        return self._first("GET", f"/api/v2/alerts?{urlencode(words)}", listed.alerts)

    def every_silence(self) -> list[Silence]:
        """Active, pending, and for a while the expired."""
        return self._first("GET", "/api/v2/silences", listed.silences)

    def silence(
        self,
        matchers: Sequence[Matcher],
        starts_at: float,
        ends_at: float,
        author: str,
        comment: str,
    ) -> str:
        """Create a silence (times: unix seconds); its id. Raises ArgumentError when refused."""
        body = {
            "matchers": [
                {
                    "name": m.name,
                    "value": m.value,
                    "isRegex": m.is_regex,
                    "isEqual": m.is_equal,
                }
                for m in matchers
            ],
            "startsAt": wire.format_time(starts_at),
            "endsAt": wire.format_time(ends_at),
            "createdBy": author,
            "comment": comment,
        }

        def read(answer: bytes) -> str:
            return str(msgspec.json.decode(answer)["silenceID"])

        return self._first("POST", "/api/v2/silences", read, json.dumps(body).encode())

    def end_silence(self, silence_id: str) -> None:
        """Expire it now; one that has expired already stays so."""
        self._first("DELETE", f"/api/v2/silence/{silence_id}", lambda _: None)

    def configuration(self) -> str:
        """The text of the configuration that it runs with, secrets left out."""
        return self._first("GET", "/api/v2/status", listed.configuration)

    def metrics(self) -> str:
        """Its own page of metrics."""
        return self._first("GET", "/metrics", lambda body: body.decode("utf-8", "replace"))

    def _first(
        self, method: str, path: str, read: Callable[[bytes], T], body: bytes | None = None
    ) -> T:
        failure: AlertmanagerError | None = None
        for url in self.urls:
            try:
                return self._read(url + path, self._ask(method, url + path, body), read)
            except AlertmanagerError as error:
                failure = failure or error
        raise failure or AlertmanagerError("Alertmanager", "there is none", "see `opsloop up`")

    def _ask(self, method: str, url: str, body: bytes | None) -> Answer:
        try:
            return self._http.call(
                method,
                url,
                body=body,
                content_type="application/json" if body is not None else None,
                auth=self._auth,
                timeout_s=self._timeout_s,
            )
        except SourceError as error:
            raise AlertmanagerError(error.thing, error.reason, error.next_step) from error

    def _read(self, url: str, answer: Answer, read: Callable[[bytes], T]) -> T:
        place = url.split("?", maxsplit=1)[0]
        if answer.status in (400, 422):
            raise ArgumentError("Alertmanager refuses it", _reason(answer))
        if answer.status != 200:
            raise AlertmanagerError(place, f"answered HTTP {answer.status}: {answer.text}")
        try:
            return read(answer.body)
        except (ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
            raise AlertmanagerError(place, f"answered oddly: {error}") from error


def _reason(answer: Answer) -> str:
    """Its words: a JSON text, or an object with a message."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        return answer.text
    words = said.get("message", said) if isinstance(said, dict) else said
    return " ".join(str(words).split())[:500]
