"""What Slack, PagerDuty and webhook receivers accept: their documented payloads, checked.

Sources: Slack's references of incoming webhooks, message attachments and Block Kit blocks;
PagerDuty's Events API v2; Alertmanager's webhook payload version 4. Where a vendor silently
ignores a key that it does not know, this refuses it: such a key is a mistake of the sender.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opsloop.web.shapes import (
    Check,
    boolean,
    count,
    list_of,
    mapping,
    moment,
    one_of,
    pattern,
    shape,
    string_map,
    text,
    unix_time,
    url,
)

PAGERDUTY_MAX_BYTES = 512 * 1024
SLACK_MAX_ATTACHMENTS = 100
SLACK_MAX_BLOCKS = 50

_COLOR = re.compile(r"good|warning|danger|#?[0-9a-fA-F]{6}")

# Slack: Block Kit.


def text_object(high: int, *kinds: str) -> Check:
    return shape(
        {
            "type": one_of(*(kinds or ("plain_text", "mrkdwn"))),
            "text": text(1, high),
            "emoji": boolean,
            "verbatim": boolean,
        },
        required=("type", "text"),
    )


_IMAGE = shape(
    {
        "type": one_of("image"),
        "image_url": url(),
        "slack_file": mapping,
        "alt_text": text(1, 2000),
        "title": text_object(2000, "plain_text"),
        "block_id": text(1, 255),
    },
    required=("type", "alt_text"),
)


def _context_element(path: str, value: Any) -> list[str]:
    is_image = isinstance(value, dict) and value.get("type") == "image"
    return _IMAGE(path, value) if is_image else text_object(3000)(path, value)


def _block(fields: Mapping[str, Check], *required: str) -> Check:
    every = {"type": text(1), "block_id": text(1, 255)}
    return shape({**every, **fields}, required=("type", *required))


_BUTTON = shape(
    {
        "type": one_of("button"),
        "text": text_object(75, "plain_text"),
        "action_id": text(1, 255),
        "url": url(),
        "value": text(1, 2000),
        "style": one_of("primary", "danger"),
        "confirm": mapping,
        "accessibility_label": text(1, 75),
    },
    required=("type", "text"),
)


def _element(path: str, value: Any) -> list[str]:
    """An element of a block: buttons and images in full, the others are not for webhooks of us."""
    if not isinstance(value, dict):
        return [f"{path}: must be an object"]
    known = {"button": _BUTTON, "image": _IMAGE}.get(str(value.get("type")))
    if known is not None:
        return known(path, value)
    return text(1)(f"{path}.type", value.get("type"))


_BLOCKS: dict[str, Check] = {
    "header": _block({"text": text_object(150, "plain_text")}, "text"),
    "section": _block(
        {
            "text": text_object(3000),
            "fields": list_of(text_object(2000), 10, 1),
            "accessory": _element,
            "expand": boolean,
        }
    ),
    "divider": _block({}),
    "image": _IMAGE,
    "context": _block({"elements": list_of(_context_element, 10, 1)}, "elements"),
    "actions": _block({"elements": list_of(_element, 25, 1)}, "elements"),
    "markdown": _block({"text": text(1, 12_000)}, "text"),
    "rich_text": _block({"elements": list_of(mapping, 1000)}, "elements"),
}


def _one_block(path: str, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: must be an object"]
    kind = value.get("type")
    check = _BLOCKS.get(kind) if isinstance(kind, str) else None
    if check is None:
        return [f"{path}.type: must be one of {', '.join(_BLOCKS)}"]
    found = check(path, value)
    if kind == "section" and not ("text" in value or "fields" in value):
        found.append(f"{path}: needs text or fields")
    if kind == "image" and not ("image_url" in value or "slack_file" in value):
        found.append(f"{path}: needs image_url or slack_file")
    return found


# Slack: attachments and the message.

_FIELD = shape({"title": text(), "value": text(), "short": boolean})
_ACTION = shape(
    {
        "type": one_of("button", "select"),
        "text": text(1, 75),
        "url": url(),
        "style": one_of("", "default", "primary", "danger"),
        "name": text(),
        "value": text(),
        "confirm": mapping,
    },
    required=("type", "text"),
)


def _action(path: str, value: Any) -> list[str]:
    """A button leads somewhere, or names what its app is to do."""
    found = _ACTION(path, value)
    if not found and not (value.get("url") or value.get("name")):
        found.append(f"{path}: needs url or name")
    return found


_ATTACHMENT = shape(
    {
        **dict.fromkeys(("fallback", "pretext", "text", "title", "author_name"), text()),
        **dict.fromkeys(("author_link", "title_link", "image_url", "thumb_url"), url()),
        **dict.fromkeys(("author_icon", "footer_icon"), url()),
        "callback_id": text(),
        "color": pattern(_COLOR, "good, warning, danger or a hex colour"),
        "fields": list_of(_FIELD, 100),
        "footer": text(0, 300),
        "ts": unix_time,
        "mrkdwn_in": list_of(one_of("pretext", "text", "fields", "fallback"), 4),
        "actions": list_of(_action, 5),
        "blocks": list_of(_one_block, SLACK_MAX_BLOCKS),
    }
)
_SEEN = ("text", "title", "pretext", "fallback", "fields", "image_url", "blocks", "author_name")


def _attachment(path: str, value: Any) -> list[str]:
    found = _ATTACHMENT(path, value)
    if not found and not any(value.get(k) for k in _SEEN):
        found.append(f"{path}: has nothing to show")
    return found


_SLACK = shape(
    {
        "text": text(),
        "attachments": list_of(_attachment, SLACK_MAX_ATTACHMENTS),
        "blocks": list_of(_one_block, SLACK_MAX_BLOCKS),
        "channel": text(),
        "username": text(),
        "icon_emoji": text(),
        "icon_url": text(),
        "thread_ts": text(),
        "parse": one_of("none", "full"),
        "response_type": one_of("in_channel", "ephemeral"),
        "metadata": mapping,
        **dict.fromkeys(("link_names", "mrkdwn", "unfurl_links", "unfurl_media"), boolean),
        **dict.fromkeys(("replace_original", "delete_original"), boolean),
    }
)


def check_slack(body: Any) -> list[str]:
    """What is wrong with a message to an incoming webhook; empty when Slack would take it."""
    found = _SLACK("", body)
    if not found and not any(body.get(k) for k in ("text", "attachments", "blocks")):
        found.append("body: no_text: needs text, attachments or blocks")
    return found


# PagerDuty: Events API v2.

_PAYLOAD = shape(
    {
        "summary": text(1, 1024),
        "source": text(1),
        "severity": one_of("critical", "error", "warning", "info"),
        "timestamp": moment,
        "component": text(),
        "group": text(),
        "class": text(),
        "custom_details": mapping,
    },
    required=("summary", "source", "severity"),
)
_EVENT = shape(
    {
        "routing_key": text(),
        "event_action": one_of("trigger", "acknowledge", "resolve"),
        "dedup_key": text(1, 255),
        "payload": _PAYLOAD,
        "images": list_of(
            shape({"src": url(("https",)), "href": url(), "alt": text()}, required=("src",)), 100
        ),
        "links": list_of(shape({"href": url(), "text": text()}, required=("href",)), 100),
        "client": text(),
        "client_url": url(),
    },
    required=("routing_key", "event_action"),
)


def check_pagerduty(body: Any) -> list[str]:
    """What is wrong with an event for /v2/enqueue; empty when PagerDuty would take it."""
    found = _EVENT("", body)
    if not isinstance(body, dict):
        return found
    key = body.get("routing_key")
    if isinstance(key, str) and len(key) != 32:
        found.append("routing_key: its length is incorrect (should be 32 characters)")
    action = body.get("event_action")
    if action == "trigger" and "payload" not in body:
        found.append("payload: is required to trigger")
    if action in ("acknowledge", "resolve") and "dedup_key" not in body:
        found.append(f"dedup_key: is required to {action}")
    return found


# Webhook receivers: Alertmanager's payload.

_ALERT = shape(
    {
        "status": one_of("firing", "resolved"),
        "labels": string_map,
        "annotations": string_map,
        "startsAt": moment,
        "endsAt": moment,
        "generatorURL": text(),
        "fingerprint": text(),
    },
    required=("status", "labels", "annotations", "startsAt", "endsAt"),
)
_WEBHOOK = shape(
    {
        "version": one_of("4"),
        "groupKey": text(1, 10_000_000),
        "truncatedAlerts": count,
        "status": one_of("firing", "resolved"),
        "receiver": text(1),
        "groupLabels": string_map,
        "commonLabels": string_map,
        "commonAnnotations": string_map,
        "externalURL": text(),
        "alerts": list_of(_ALERT, 10_000, 1),
        "notification_reason": text(),  # since Alertmanager 0.33
    },
    required=("version", "groupKey", "status", "receiver", "alerts"),
)


def check_webhook(body: Any) -> list[str]:
    """What is wrong with a webhook: any JSON object is taken, Alertmanager's must be whole."""
    if isinstance(body, dict) and not ("alerts" in body or "groupKey" in body):
        return []
    return _WEBHOOK("", body)
