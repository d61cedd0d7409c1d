"""The OpenAPI document of the engine's API: every route, its parameters, and every answer."""

from __future__ import annotations

from typing import Any, Final

from opsloop import __version__
from opsloop.web.api_schemas import ANY, MAX_ID, NUMBER, SCHEMAS, TEXT, list_of, object_of, ref

PATH: Final = "/api/v1/openapi.json"

Schema = dict[str, Any]

_LIMIT: Final = {
    "name": "limit",
    "in": "query",
    "description": "how many at most, the newest first; more than 1000 means 1000",
    "schema": {**NUMBER, "minimum": 1, "maximum": 999_999_999, "default": 100},
}
_ALL: Final = {
    "name": "all",
    "in": "query",
    "description": "1: those that have ended, too",
    "schema": {"enum": ["0", "1"], "default": "0"},
}
_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {**NUMBER, "minimum": 0, "maximum": MAX_ID},
}

_REFUSALS: Final = {
    400: "What was sent is wrong; the answer says what.",
    401: "A user and password, or a token, is needed.",
    403: "A page of another origin may change nothing.",
    404: "There is none.",
    408: "The body did not come in time.",
    409: "It was answered before, has expired, or is over.",
    413: "The body is too large.",
    421: "This host name is not served here.",
    503: "The store refuses, or too much waits: try again.",
}


def _answers(schema: str | None, *refusals: int, described: str = "") -> Schema:
    if schema is None:
        first: Schema = {"description": described}
    else:
        first = {"description": described or SCHEMAS[schema]["description"], **_json(ref(schema))}
    told = {str(code): _refusal(code) for code in sorted({401, 421, 503, *refusals})}
    return {"200": first, **told}


def _refusal(code: int) -> Schema:
    return {"description": _REFUSALS[code], **_json(ref("Error"))}


def _json(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


def _listing(name: str, item: str, described: str) -> Schema:
    answers = _answers(None, 400, described=described)
    answers["200"] |= _json(object_of(described, **{name: list_of(item)}))
    return answers


def _paths() -> dict[str, Schema]:
    return {**_own_paths(), **_loop_paths(), **_people_paths()}


def _own_paths() -> dict[str, Schema]:
    """Of the process itself."""
    health = {"description": "It works.", **_json(ref("Health"))}
    with_reason = {**SCHEMAS["Health"]["properties"], "reason": TEXT}
    not_ready = _json(object_of("Why it does not.", **with_reason))
    return {
        "/healthz": {
            "get": {
                "summary": "Whether the engine does its work",
                "security": [],
                "responses": {
                    "200": health,
                    "421": _refusal(421),
                    "503": {"description": "It does not, and why.", **not_ready},
                },
            }
        },
        "/metrics": {
            "get": {
                "summary": "The engine's own signals, in Prometheus's text format",
                "responses": {
                    "200": {
                        "description": "docs/reference/metrics.md lists them.",
                        "content": {"text/plain": {"schema": TEXT}},
                    },
                    "401": _refusal(401),
                    "421": _refusal(421),
                },
            }
        },
        PATH: {
            "get": {
                "summary": "This document",
                "responses": {
                    "200": {"description": "OpenAPI 3.1", **_json(ANY)},
                    "401": _refusal(401),
                    "421": _refusal(421),
                },
            }
        },
    }


def _loop_paths() -> dict[str, Schema]:
    """What fires, and what was done about it."""
    return {
        "/api/v1/alerts": {
            "post": {
                "summary": "Take Alertmanager's webhook; 200 only when it is on the disk",
                "security": [{"token": []}],
                "requestBody": {"required": True, **_json(ref("Webhook"))},
                "responses": _answers("Taken", 400, 408, 413),
            }
        },
        "/api/v1/episodes": {
            "get": {
                "summary": "Episodes, the newest first",
                "parameters": [_ALL, _LIMIT],
                "responses": _listing("episodes", "Episode", "Those that are not closed, or all."),
            }
        },
        "/api/v1/runs": {
            "get": {
                "summary": "Runs, the newest first",
                "parameters": [_LIMIT],
                "responses": _listing("runs", "Run", "Open and ended ones."),
            }
        },
        "/api/v1/runs/{id}": {
            "get": {
                "summary": "One run: decision, actions, timeline, escalation",
                "parameters": [_ID],
                "responses": _answers("Story", 404),
            }
        },
    }


def _people_paths() -> dict[str, Schema]:
    """What people decide."""
    return {
        "/api/v1/approvals": {
            "get": {
                "summary": "Plans that wait for a person",
                "parameters": [_ALL, _LIMIT],
                "responses": _listing("approvals", "Approval", "Open ones, or all."),
            }
        },
        "/api/v1/approvals/{id}/{answer}": {
            "post": {
                "summary": "Approve or reject a plan, once",
                "parameters": [
                    _ID,
                    {
                        "name": "answer",
                        "in": "path",
                        "required": True,
                        "schema": {"enum": ["approve", "reject"]},
                    },
                ],
                "requestBody": {"required": True, **_json(ref("Answer"))},
                "responses": _answers("Approval", 400, 403, 404, 409, 413),
            }
        },
        "/api/v1/pause": {"post": _switch("Stop every new action, in every process, at once")},
        "/api/v1/resume": {"post": _switch("Let actions begin again")},
    }


def _switch(summary: str) -> Schema:
    return {
        "summary": summary,
        "requestBody": {"required": False, **_json(ref("Why"))},
        "responses": _answers("Switch", 400, 403, 413),
    }


def document() -> Schema:
    """OpenAPI 3.1, as it is served and as docs/reference/api.md is made of it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "opsloop engine",
            "version": __version__,
            "description": "The closed loop: what fires, what was done about it, and the switch.",
        },
        "security": [{"password": []}],
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "password": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "user opsloop, password in STATE/secrets/scrape_password",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "STATE/secrets/webhook_token",
                },
            },
        },
    }
