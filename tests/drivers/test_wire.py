"""Alertmanager's JSON: what is taken, what is refused, and with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.drivers import wire

ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "ServiceDown", "service": "api"},
    "annotations": {"summary": "it is down"},
    "startsAt": "2026-11-24T07:15:30.328Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://localhost/graph",
    "fingerprint": "0123456789abcdef",
}


def payload(*alerts: dict[str, Any], **changes: Any) -> bytes:
    body = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "engine",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://localhost:9093",
        "alerts": list(alerts or (ALERT,)),
    }
    return json.dumps({**body, **changes}).encode()


def test_an_alert_is_read() -> None:
    (alert,) = wire.webhook(payload()).alerts
    assert alert.fingerprint == "0123456789abcdef"
    assert alert.starts_at == 1795504530.328
    assert alert.firing
    assert alert.ends_at is None
    assert alert.name == "ServiceDown"
    assert alert.annotations == {"summary": "it is down"}


def test_each_alert_has_its_own_status() -> None:
    """A mixed group says firing."""
    resolved = {**ALERT, "status": "resolved", "endsAt": "2026-11-24T07:16:30Z"}
    one, two = wire.webhook(payload(ALERT, resolved)).alerts
    assert (one.firing, two.firing) == (True, False)
    assert two.ends_at == 1795504590.0


def test_what_was_left_out_is_counted() -> None:
    assert wire.webhook(payload(truncatedAlerts=7)).truncated == 7
    without = json.loads(payload())
    del without["truncatedAlerts"]
    assert wire.webhook(json.dumps(without).encode()).truncated == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-24T07:15:30Z", 1795504530.0),
        ("2026-11-24T08:15:30.5+01:00", 1795504530.5),
        ("2026-11-24T07:15:30.123456789Z", 1795504530.123456),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00.000Z", None),
        ("1969-07-20T20:17:40Z", None),
    ],
)
def test_times(text: str, seconds: float | None) -> None:
    assert wire.parse_time(text) == seconds


@given(st.integers(min_value=31_536_000_000 * 2, max_value=4_000_000_000_000))
def test_a_time_survives_both_ways_to_the_millisecond(milliseconds: int) -> None:
    text = wire.format_time(milliseconds / 1000)
    assert wire.parse_time(text) == pytest.approx(milliseconds / 1000, abs=1e-6)
    assert text.endswith("Z")


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "truncated"),
    "not JSON": (b"hello", "malformed"),
    "half": (payload()[:-9], "truncated|malformed"),
    "trailing": (payload() + b"x", "malformed"),
    "a list": (b"[]", "object"),
    "not UTF-8": (payload().replace(b"it is down", b"\xff\xfe"), "UTF-8"),
    "half a character": (payload().replace(b"it is down", b"\\ud800"), "surrogate|truncated"),
    "deep nesting": (b'{"x":' * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
    "deep lists": (b'{"version":"4","alerts":' + b"[" * 50_000, "array|object|deeply"),
    "no version": (b'{"alerts":[]}', "version"),
    "another version": (payload(version="3"), "version '3' is not known"),
    "version as a number": (payload(version=4), r"\$\.version"),
    "no alerts": (b'{"version":"4"}', "alerts"),
    "alerts as an object": (payload(alerts={}), r"\$\.alerts"),
    "negative truncation": (payload(truncatedAlerts=-1), r"\$\.truncatedAlerts"),
    "an unknown status": (payload({**ALERT, "status": "on fire"}), r"alerts\[0\]\.status"),
    "no labels": (payload({k: v for k, v in ALERT.items() if k != "labels"}), "labels"),
    "a label that is a number": (payload({**ALERT, "labels": {"a": 1}}), r"labels"),
    "a label without a name": (payload({**ALERT, "labels": {"": "x"}}), "length"),
    "too many labels": (
        payload({**ALERT, "labels": {f"l{n}": "" for n in range(65)}}),
        "length <= 64",
    ),
    "a long label name": (payload({**ALERT, "labels": {"n" * 257: ""}}), "length <= 256"),
    "a long label": (payload({**ALERT, "labels": {"a": "x" * 4097}}), "length <= 4096"),
    "a huge annotation": (
        payload({**ALERT, "annotations": {"a": "x" * (64 * 1024 + 1)}}),
        "length <= 65536",
    ),
    "no fingerprint": (payload({**ALERT, "fingerprint": ""}), "fingerprint"),
    "a fingerprint that is none": (
        payload({**ALERT, "fingerprint": "'; DROP TABLE"}),
        "fingerprint",
    ),
    "a start that is no time": (payload({**ALERT, "startsAt": "x" * 24}), "RFC 3339"),
    "a start without a zone": (payload({**ALERT, "startsAt": "2026-11-24T07:15:30.1"}), "zone"),
    "a start in the year 1": (payload({**ALERT, "startsAt": "0001-01-01T00:00:00Z"}), "no time"),
    "an end that is no time": (
        payload({**ALERT, "status": "resolved", "endsAt": "tomorrow"}),
        "RFC 3339",
    ),
    "too many alerts": (payload(*[ALERT] * 10_001), "length <= 10000"),
}


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){reason}"):
        wire.webhook(body)


def test_ten_thousand_alerts_are_taken() -> None:
    assert len(wire.webhook(payload(*[ALERT] * 10_000)).alerts) == 10_000


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from([*ALERT, "extra"]), _json)
def test_any_value_in_any_field_is_taken_or_refused(field: str, value: Any) -> None:
    """Never anything but a value or a ValueError."""
    try:
        hook = wire.webhook(payload({**ALERT, field: value}))
    except ValueError:
        return
    (alert,) = hook.alerts
    assert alert.starts_at > 0
    assert alert.fingerprint.isalnum()


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - no 300 random bytes are a webhook
        wire.webhook(body)
