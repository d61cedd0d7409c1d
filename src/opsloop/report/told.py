"""Who was told of an alert: by the receivers of its routes, and by the messages of the inbox."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opsloop import names

NOT_PEOPLE: Final = (names.RECEIVER_ENGINE, names.RECEIVER_NOBODY)
_SLACK_S: Final = 5.0  # clocks of one machine, and what is rounded


class Sent(Protocol):
    """A message that the inbox keeps, in place of a vendor."""

    @property
    def received_at(self) -> float: ...
    @property
    def vendor(self) -> str: ...
    @property
    def accepted(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def body(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Failures:
    """Notifications of one kind of receiver that did not arrive. recent: of the last minutes."""

    total: float
    recent: float | None = None

    @property
    def now(self) -> bool:
        return self.recent is not None and self.recent > 0.5


@dataclass(frozen=True, slots=True)
class Told:
    """One way to people. via: the kind, as slack; at: unix seconds, None where nobody records it.

    status: told, refused (its reason is there), not yet (the inbox stands in, and nothing has
    come), or unknown.
    """

    receiver: str
    via: str
    status: str
    at: float | None = None
    reason: str = ""


def kinds(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Receiver -> what it consists of (slack, pagerduty, webhook, ...), of alertmanager.yml."""
    found = {}
    for receiver in config.get("receivers") or ():
        made = (k.removesuffix("_configs") for k, v in receiver.items() if v and k != "name")
        found[str(receiver.get("name"))] = tuple(sorted(made))
    return found


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the inbox that says that something fires, read once."""

    vendor: str
    at: float
    accepted: bool
    reason: str
    title: str
    text: str
    body: Mapping[str, Any]


def heard(messages: Iterable[Sent]) -> list[Heard]:
    """Those that say so and can be read."""
    found = []
    for m in messages:
        if m.status != "firing":
            continue
        try:
            body = json.loads(m.body)
        except (ValueError, RecursionError):
            continue
        if isinstance(body, dict):
            text = f"{m.title}\n{m.body}"
            found.append(Heard(m.vendor, m.received_at, m.accepted, m.reason, m.title, text, body))
    return found


def told(
    labels: Mapping[str, str],
    since: float,
    receivers: Iterable[str],
    kinds_of: Mapping[str, tuple[str, ...]],
    inbox: Sequence[Heard],
) -> list[Told]:
    """What is known of each way by which people hear of an alert that fires since then."""
    found: dict[str, Told] = {}
    stood_in = {m.vendor for m in inbox}
    about = [m for m in inbox if m.at >= since - _SLACK_S and is_about(m, labels)]
    for receiver in receivers:
        if receiver in NOT_PEOPLE:
            continue
        for via in kinds_of.get(receiver, ()):
            if via not in found:
                messages = [m for m in about if m.vendor == via]
                found[via] = _one(receiver, via, messages, via in stood_in)
    return list(found.values())


def _one(receiver: str, via: str, messages: Sequence[Heard], stands_in: bool) -> Told:
    taken = [m.at for m in messages if m.accepted]
    if taken:
        return Told(receiver, via, "told", min(taken))
    if messages:
        last = max(messages, key=lambda m: m.at)
        return Told(receiver, via, "refused", last.at, last.reason)
    return Told(receiver, via, "not yet" if stands_in else "unknown")


def is_about(message: Heard, labels: Mapping[str, str]) -> bool:
    """Whether a message tells of the alert with these labels.

    A webhook names each alert; PagerDuty and Slack are told of a group, by alert and service.
    """
    if message.vendor == "webhook":
        alerts = message.body.get("alerts")
        rows = alerts if isinstance(alerts, list) else []
        return any(isinstance(a, dict) and a.get("labels") == dict(labels) for a in rows)
    if message.vendor == "pagerduty":
        payload = message.body.get("payload")
        if isinstance(payload, dict) and payload.get("class"):
            alert, service = labels.get("alertname", ""), labels.get(names.SERVICE, "")
            named = str(payload["class"]).split(", ")  # of a group, each alert's name once
            return alert in named and payload.get("component", "") == service
    return _words_are_about(message.text, message.title, labels)


def _words_are_about(text: str, title: str, labels: Mapping[str, str]) -> bool:
    alert = labels.get("alertname", "")
    others = [name for name in names.ENGINE_POSTS if name != alert and _has(title, name)]
    wanted = [alert, *(labels.get(k, "") for k in (names.SERVICE, names.ORIGINAL))]
    named = title if _has(title, alert) else text
    return not others and _has(named, alert) and all(_has(text, w) for w in wanted if w)


def _has(text: str, word: str) -> bool:
    return word in text and bool(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text))
