"""What the engine's API takes and answers, as JSON schemas: one for each kind of thing."""

from __future__ import annotations

from typing import Any, Final

from opsloop.remediation.approval import Ending
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState

MAX_WHY: Final = 1000  # characters of a reason that are kept
MAX_ID: Final = 2**63 - 1

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "integer"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
ANY: Final[Schema] = {"type": "object"}


def maybe(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def object_of(description: str, **properties: Schema) -> Schema:
    """Every field is always there, and there is no other: a test holds answers to it."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def list_of(name: str) -> Schema:
    return {"type": "array", "items": ref(name)}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_RUN: Final = {
    "id": NUMBER,
    "episode": NUMBER,
    "policy": TEXT,
    "service": TEXT,
    "attempt": {**NUMBER, "description": "0-based, of this policy on this episode"},
    "step": {**NUMBER, "description": "0-based index of the policy's step; -1: scaling in"},
    "state": {**TEXT, "enum": [str(s) for s in RunState]},
    "reason": TEXT,
    "resources": {"type": "array", "items": TEXT, "description": "what the run locks"},
    "plan_hash": {**TEXT, "pattern": "^[0-9a-f]{64}$"},
    "created_at": _TIME,
    "acting_at": maybe(_TIME),
    "acted_at": maybe(_TIME),
    "finished_at": maybe(_TIME),
    "good_since": maybe(_TIME),
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Error": object_of("What is wrong, and what to do.", error=TEXT),
    "Taken": object_of("The alerts are on the disk.", status={"const": "ok"}),
    "Webhook": {
        "type": "object",
        "description": "Alertmanager's webhook, version 4; further fields are not read.",
        "required": ["version", "alerts"],
        "properties": {
            "version": {"const": "4"},
            "truncatedAlerts": {**NUMBER, "minimum": 0, "maximum": MAX_ID},
            "alerts": {"type": "array", "maxItems": 10_000, "items": ref("Alert")},
        },
    },
    "Alert": {
        "type": "object",
        "description": "One alert; with fingerprint and startsAt it is one episode.",
        "required": ["status", "labels", "startsAt", "fingerprint"],
        "properties": {
            "status": {"enum": ["firing", "resolved"]},
            "labels": {**_TEXTS, "maxProperties": 64},
            "annotations": {**_TEXTS, "maxProperties": 64},
            "startsAt": _TIME,
            "endsAt": TEXT,
            "fingerprint": {**TEXT, "pattern": "^[0-9A-Za-z]{1,64}$"},
        },
    },
    "Health": {
        **object_of(
            "Whether the engine does its work.",
            status={"enum": ["ok", "not ready"]},
            ready={"type": "boolean"},
            paused={"type": ["boolean", "null"]},
            watchdog_age_s={
                "type": ["number", "null"],
                "description": "seconds since the Watchdog alert was heard; null: never",
            },
            version=TEXT,
        ),
    },
    "Episode": object_of(
        "One alert instance, from firing to resolved.",
        id=NUMBER,
        alert=TEXT,
        severity=TEXT,
        service=maybe(TEXT),
        instance=maybe(TEXT),
        team=maybe(TEXT),
        policy=maybe(TEXT),
        firing={"type": "boolean"},
        state={**TEXT, "enum": [str(s) for s in EpisodeState]},
        reason=TEXT,
        starts_at=_TIME,
        received_at=_TIME,
        last_seen_at=_TIME,
        ended_at=maybe(_TIME),
        next_decision_at=maybe(_TIME),
        fingerprint=TEXT,
        labels=_TEXTS,
        annotations=_TEXTS,
    ),
    "Run": object_of("One attempt of one policy on one episode.", **_RUN),
    "Story": object_of(
        "One run with everything about it.",
        **_RUN,
        detail={**ANY, "description": "evidence before and after"},
        about=ref("Episode"),
        guards={"type": "array", "items": ref("Guard")},
        decision=TEXT,
        actions={"type": "array", "items": ref("Action")},
        timeline={"type": "array", "items": ref("Entry")},
        escalation={"oneOf": [ref("Escalation"), {"type": "null"}]},
    ),
    "Guard": object_of(
        "What a guard answered.",
        guard=TEXT,
        answer={"enum": ["pass", "refuse", "wait", "ignore"]},
        reason=TEXT,
    ),
    "Action": object_of(
        "One action of the plan, and what came of it.",
        index=NUMBER,
        kind=TEXT,
        target=TEXT,
        wanted=maybe(NUMBER),
        limit_s={"type": "number"},
        began_at=maybe(_TIME),
        ended_at=maybe(_TIME),
        ok={"type": ["boolean", "null"]},
        started={"type": ["boolean", "null"]},
        output=maybe(TEXT),
    ),
    "Entry": object_of("A row of the audit, as half a sentence.", at=_TIME, kind=TEXT, what=TEXT),
    "Escalation": object_of(
        "What people were told.",
        id=NUMBER,
        run=maybe(NUMBER),
        starts_at=_TIME,
        labels=_TEXTS,
        annotations=_TEXTS,
    ),
    "Approval": object_of(
        "A plan that waits, or waited, for a person.",
        id=NUMBER,
        episode=NUMBER,
        policy=TEXT,
        service=TEXT,
        plan=TEXT,
        plan_hash={**TEXT, "pattern": "^[0-9a-f]{64}$"},
        state={"enum": ["waits", "approved", "expired", *(str(e) for e in Ending)]},
        asked_at=_TIME,
        expires_at=_TIME,
        approved_by=TEXT,
        why=TEXT,
        answered_at=maybe(_TIME),
        ended_at=maybe(_TIME),
    ),
    "Answer": {
        "type": "object",
        "description": "Who approves or rejects, and why.",
        "required": ["by"],
        "properties": {"by": {**TEXT, "minLength": 1}, "why": TEXT},
        "additionalProperties": False,
    },
    "Why": {
        "type": "object",
        "description": f"A reason; the first {MAX_WHY} characters are kept, on one line.",
        "properties": {"why": TEXT},
        "additionalProperties": False,
    },
    "Switch": object_of("The kill switch as it is now.", paused={"type": "boolean"}, why=TEXT),
}
