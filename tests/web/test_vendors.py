"""What Slack, PagerDuty and webhook receivers take and refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.web.vendors import check_pagerduty, check_slack, check_webhook

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)

# As Alertmanager 0.25 sends them.
SLACK: dict[str, Any] = {
    "channel": "#alerts",
    "username": "opsloop",
    "attachments": [
        {
            "title": "[P0] ServiceDown api",
            "title_link": "http://127.0.0.1:9093/#/alerts",
            "text": "127.0.0.1:8000 does not answer",
            "fallback": "[P0] ServiceDown api | http://127.0.0.1:9093",
            "callback_id": "",
            "footer": "",
            "color": "danger",
            "mrkdwn_in": ["fallback", "pretext", "text"],
            "fields": [{"title": "service", "value": "api", "short": True}],
        }
    ],
}
PAGERDUTY: dict[str, Any] = {
    "routing_key": "0123456789abcdef0123456789abcdef",
    "event_action": "trigger",
    "dedup_key": "6b3a" * 16,
    "client": "Alertmanager",
    "client_url": "http://127.0.0.1:9093",
    "payload": {
        "summary": "ServiceDown api 127.0.0.1:8000",
        "source": "opsloop",
        "severity": "critical",
        "custom_details": {"firing": "...", "num_firing": "1"},
    },
    "links": [{"href": "https://runbook.example.org/ServiceDown", "text": "runbook"}],
    "images": [{"src": "https://img.example.org/1.png", "alt": "graph"}],
}
WEBHOOK: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="ServiceDown"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "engine",
    "groupLabels": {"alertname": "ServiceDown"},
    "commonLabels": {"alertname": "ServiceDown"},
    "commonAnnotations": {},
    "externalURL": "http://127.0.0.1:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "ServiceDown"},
            "annotations": {},
            "startsAt": "2026-11-24T06:31:55.123Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "0123456789abcdef",
        }
    ],
}


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one place changed; the value `...` removes it."""
    body = copy.deepcopy(base)
    place: Any = body
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("check", "body"),
    [(check_slack, SLACK), (check_pagerduty, PAGERDUTY), (check_webhook, WEBHOOK)],
)
def test_what_alertmanager_sends_is_taken(check: Any, body: Any) -> None:
    assert check(body) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("routing_key", "short", "routing_key: its length is incorrect (should be 32 characters)"),
        ("routing_key", ..., "routing_key: is required"),
        ("event_action", "fire", "event_action: must be one of trigger, acknowledge, resolve"),
        ("dedup_key", "x" * 256, "dedup_key: is longer than 255 characters"),
        ("payload", ..., "payload: is required to trigger"),
        ("payload.summary", "s" * 1025, "payload.summary: is longer than 1024 characters"),
        ("payload.summary", "", "payload.summary: must not be empty"),
        ("payload.source", ..., "payload.source: is required"),
        (
            "payload.severity",
            "P0",
            "payload.severity: must be one of critical, error, warning, info",
        ),
        ("payload.custom_details", "text", "payload.custom_details: must be an object"),
        (
            "payload.timestamp",
            "yesterday",
            "payload.timestamp: must be a time in ISO 8601 with its zone",
        ),
        ("images.0.src", "http://img.example.org/1.png", "images[0].src: must begin with https://"),
        ("links.0.href", ..., "links[0].href: is required"),
        ("colour", "red", "colour: is not a documented field"),
    ],
)
def test_pagerduty_refuses(path: str, value: Any, problem: str) -> None:
    assert check_pagerduty(changed(PAGERDUTY, path, value)) == [problem]


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_pagerduty_ends_an_incident_by_its_key_only(action: str) -> None:
    body = {"routing_key": "k" * 32, "event_action": action}
    assert check_pagerduty(body) == [f"dedup_key: is required to {action}"]
    assert check_pagerduty({**body, "dedup_key": "a"}) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("attachments", [], "body: no_text: needs text, attachments or blocks"),
        ("attachments.0.color", "blue", "attachments[0].color: must be good, warning, danger or a"),
        ("attachments.0.title_link", "alerts", "attachments[0].title_link: must begin with http"),
        ("attachments.0.footer", "f" * 301, "attachments[0].footer: is longer than 300 characters"),
        ("attachments.0.fields.0.short", "yes", "attachments[0].fields[0].short: must be true or"),
        ("attachments.0", {"color": "good"}, "attachments[0]: has nothing to show"),
        ("attachments", [{"text": "a"}] * 101, "attachments: must have 0 to 100 items, not 101"),
        ("text", "t" * 40_001, "text: is longer than 40000 characters"),
        ("blocks", [{"type": "divider"}] * 51, "blocks: must have 0 to 50 items, not 51"),
        ("blocks", [{"type": "chart"}], "blocks[0].type: must be one of header, section"),
        ("blocks", [{"type": "section"}], "blocks[0]: needs text or fields"),
        (
            "blocks",
            [{"type": "header", "text": {"type": "mrkdwn", "text": "t"}}],
            "blocks[0].text.type: must be one of plain_text",
        ),
        (
            "blocks",
            [{"type": "header", "text": {"type": "plain_text", "text": "t" * 151}}],
            "blocks[0].text.text: is longer than 150 characters",
        ),
        ("severity", "P0", "severity: is not a documented field"),
        (
            "attachments.0.actions",
            [{"type": "button", "text": "b", "url": "RUNBOOK.md"}],
            "attachments[0].actions[0].url: must begin with http",
        ),
        (
            "attachments.0.actions",
            [{"type": "button", "text": "b"}],
            "attachments[0].actions[0]: needs url or name",
        ),
        (
            "attachments.0.actions",
            [{"type": "button", "text": "b" * 76, "url": "https://a"}],
            "attachments[0].actions[0].text: is longer than 75 characters",
        ),
        (
            "attachments.0.actions",
            [{"type": "button", "text": "b", "url": "https://a"}] * 6,
            "attachments[0].actions: must have 0 to 5 items, not 6",
        ),
        (
            "blocks",
            [{"type": "actions", "elements": [{"type": "button", "text": "b"}]}],
            "blocks[0].elements[0].text: must be an object",
        ),
        (
            "blocks",
            [
                {
                    "type": "actions",
                    "elements": [
                        {"type": "button", "text": {"type": "plain_text", "text": "t" * 76}}
                    ],
                }
            ],
            "blocks[0].elements[0].text.text: is longer than 75 characters",
        ),
        (
            "blocks",
            [{"type": "section", "text": {"type": "mrkdwn", "text": "t"}, "accessory": {}}],
            "blocks[0].accessory.type: must be a string",
        ),
    ],
)
def test_slack_refuses(path: str, value: Any, problem: str) -> None:
    found = check_slack(changed(SLACK, path, value))
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    "body",
    [
        {"text": "hello"},
        {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*hello*"}}]},
        {"blocks": [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}]}]},
        {"attachments": [{"fallback": "f", "ts": 1_700_000_000}]},
    ],
)
def test_slack_takes(body: Any) -> None:
    assert check_slack(body) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("version", "3", "version: must be one of 4"),
        ("alerts", [], "alerts: must have 1 to 10000 items, not 0"),
        ("alerts.0.startsAt", "now", "alerts[0].startsAt: must be a time in ISO 8601"),
        ("alerts.0.labels", {"a": 1}, "alerts[0].labels.a: must be a string"),
        ("truncatedAlerts", -1, "truncatedAlerts: must be a whole number"),
    ],
)
def test_a_broken_alertmanager_webhook_is_refused(path: str, value: Any, problem: str) -> None:
    found = check_webhook(changed(WEBHOOK, path, value))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_any_other_json_object_is_a_webhook() -> None:
    assert check_webhook({"hello": [1]}) == []
    assert check_webhook([1]) == ["body: must be an object"]


@given(JSON)
def test_whatever_comes_is_judged_and_nothing_raises(body: Any) -> None:
    for check in (check_slack, check_pagerduty, check_webhook):
        assert all(check(body))
    if not isinstance(body, dict):
        assert check_slack(body)
        assert check_pagerduty(body)


@given(st.sampled_from(sorted(PAGERDUTY)), JSON)
def test_one_broken_field_is_named(field: str, value: Any) -> None:
    """What is said about a broken event names the field that was broken."""
    for problem in check_pagerduty({**PAGERDUTY, field: value}):
        assert problem.startswith(field)


@given(st.text(min_size=1, max_size=2000))
def test_a_summary_is_taken_up_to_its_limit(summary: str) -> None:
    taken = check_pagerduty(changed(PAGERDUTY, "payload.summary", summary)) == []
    assert taken is (len(summary) <= 1024)
