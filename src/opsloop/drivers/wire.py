"""Alertmanager's JSON: the webhook payload (v4) and /api/v2/alerts, checked while it is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from opsloop.remediation.episode import Alert

MAX_ALERTS: Final = 10_000  # of one payload
MAX_LABELS: Final = 64
MAX_LABEL_NAME: Final = 256  # characters
MAX_LABEL_VALUE: Final = 4096
MAX_ANNOTATION: Final = 64 * 1024
VERSION: Final = "4"

_Name = Annotated[str, Meta(min_length=1, max_length=MAX_LABEL_NAME)]
_Labels = Annotated[
    dict[_Name, Annotated[str, Meta(max_length=MAX_LABEL_VALUE)]], Meta(max_length=MAX_LABELS)
]
_Annotations = Annotated[
    dict[_Name, Annotated[str, Meta(max_length=MAX_ANNOTATION)]], Meta(max_length=MAX_LABELS)
]
_Fingerprint = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,64}$")]
_Time = Annotated[str, Meta(min_length=20, max_length=40)]


class _Alert(msgspec.Struct, rename="camel"):
    status: str
    labels: _Labels
    starts_at: _Time
    fingerprint: _Fingerprint
    annotations: _Annotations = {}
    ends_at: str = ""


class _Payload(msgspec.Struct, rename="camel"):
    version: str
    alerts: Annotated[list[_Alert], Meta(max_length=MAX_ALERTS)]
    truncated_alerts: Annotated[int, Meta(ge=0)] = 0


class _Status(msgspec.Struct, rename="camel"):
    silenced_by: list[str] = []
    inhibited_by: list[str] = []


class _Listed(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    fingerprint: str
    starts_at: str
    ends_at: str = ""
    annotations: dict[str, str] = {}
    status: _Status = msgspec.field(default_factory=_Status)


class Webhook(msgspec.Struct, frozen=True):
    """One webhook: each alert with its own status; `truncated` more were not sent."""

    alerts: list[Alert]
    truncated: int


_payload = msgspec.json.Decoder(_Payload)
_list = msgspec.json.Decoder(list[_Listed])


def webhook(body: bytes) -> Webhook:
    """Decode a webhook. ValueError says what is wrong, and where in it."""
    try:
        payload = _payload.decode(body)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    if payload.version != VERSION:
        raise ValueError(f"version {payload.version[:20]!r} is not known, only {VERSION!r}")
    alerts = [_alert(a, i) for i, a in enumerate(payload.alerts)]
    return Webhook(alerts, payload.truncated_alerts)


def _alert(raw: _Alert, index: int) -> Alert:
    if raw.status not in {"firing", "resolved"}:
        raise ValueError(f"alerts[{index}].status is {raw.status[:20]!r}, not firing or resolved")
    try:
        starts_at = parse_time(raw.starts_at)
        # While it fires, its end is Go's zero time.
        ends_at = parse_time(raw.ends_at) if raw.ends_at and raw.ends_at[0] != "0" else None
    except ValueError as error:
        raise ValueError(f"alerts[{index}]: {error}") from None
    if starts_at is None:
        raise ValueError(f"alerts[{index}].startsAt is no time after 1970")
    return Alert(
        fingerprint=raw.fingerprint,
        starts_at=starts_at,
        firing=raw.status == "firing",
        labels=raw.labels,
        annotations=raw.annotations,
        ends_at=ends_at,
    )


def listed(body: bytes) -> list[Alert]:
    """Decode /api/v2/alerts, which lists only what fires. ValueError as `webhook`."""
    try:
        found = _list.decode(body)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    return [
        Alert(
            fingerprint=a.fingerprint,
            starts_at=parse_time(a.starts_at) or 0.0,
            firing=True,
            labels=a.labels,
            annotations=a.annotations,
            ends_at=parse_time(a.ends_at) if a.ends_at else None,
            silenced_by=tuple(a.status.silenced_by),
            inhibited_by=tuple(a.status.inhibited_by),
        )
        for a in found
    ]


def parse_time(text: str) -> float | None:
    """RFC 3339 to unix seconds, cut to microseconds; None for times before 1970 (Go's zero)."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text[:40]!r} has no time zone")
    if moment.year < 1971:
        return None
    return moment.timestamp()


def format_time(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC, milliseconds as Alertmanager keeps them."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def posted(
    labels: Mapping[str, str], annotations: Mapping[str, str], starts_at: float, ends_at: float
) -> dict[str, object]:
    """One alert as POST /api/v2/alerts takes it; times in unix seconds."""
    return {
        "labels": dict(labels),
        "annotations": dict(annotations),
        "startsAt": format_time(starts_at),
        "endsAt": format_time(ends_at),
    }
