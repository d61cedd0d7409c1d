"""The pages of the engine's API and of its metrics: docs/reference/api.md and metrics.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from opsloop.web import openapi
from opsloop.web.signals import CORE, GAUGES, INTAKE, Signal

API_HEAD = """\
# The engine's API

Made of `opsloop.web.openapi` by `make docs`. The engine serves the same as OpenAPI 3.1 at `/api/v1/openapi.json`. It listens on loopback, port 8081 (moved by
`--port-base`); everything but `/healthz` needs the user `opsloop` and the password in `STATE/secrets/scrape_password`, and the webhook the bearer token in
`STATE/secrets/webhook_token`. Every answer but `/metrics` is JSON; every refusal is `{"error": "what is wrong, and what to do"}`. Fields are only ever added.
"""
METRICS_HEAD = """\
# The engine's own metrics

Made of `opsloop.web.signals` by `make docs`. The engine serves them at `/metrics` (user `opsloop`, the stack's password). Beside them stand
`process_*` and `python_info` of this process. Durations are in seconds, times in unix seconds.
"""


def api() -> str:
    """docs/reference/api.md."""
    document = openapi.document()
    pieces = [API_HEAD]
    for path, methods in document["paths"].items():
        pieces += [_route(path, method, told) for method, told in methods.items()]
    pieces.append("## What the answers hold\n")
    pieces += [_schema(name, s) for name, s in document["components"]["schemas"].items()]
    return "\n".join(pieces)


def _route(path: str, method: str, told: Mapping[str, Any]) -> str:
    lines = [f"## {method.upper()} {path}\n", f"{told['summary']}.\n"]
    for parameter in told.get("parameters", ()):
        words = parameter.get("description") or _type(parameter["schema"])
        lines.append(f"- `{parameter['name']}` ({parameter['in']}): {words}")
    if "requestBody" in told:
        need = "required" if told["requestBody"]["required"] else "optional"
        schema = told["requestBody"]["content"]["application/json"]["schema"]
        lines.append(f"- body ({need}): {_type(schema)}")
    if not lines[-1].endswith("\n"):
        lines.append("")
    lines += ["| answer | |", "|---|---|"]
    for code, answer in told["responses"].items():
        content = answer.get("content", {}).get("application/json")
        about = f" ({_type(content['schema'])})" if content and code == "200" else ""
        lines.append(f"| {code} | {answer['description']}{about} |")
    return "\n".join([*lines, ""])


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"### {name}\n", f"{schema['description']}\n", "| field | | |", "|---|---|---|"]
    for field, value in schema["properties"].items():
        note = value.get("description", "") if "$ref" not in value else ""
        if field not in schema.get("required", ()):
            note = f"optional; {note}".rstrip("; ")
        lines.append(f"| `{field}` | {_type(value)} | {note} |")
    return "\n".join([*lines, ""])


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"])
    if "oneOf" in schema:
        return " or ".join(_type(s) for s in schema["oneOf"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if kinds == ["array"]:
        return f"list of {_type(schema['items'])}"
    if kinds == ["object"] and schema.get("required"):
        return ", ".join(f"`{k}`: {_type(v)}" for k, v in schema["properties"].items())
    if schema.get("format") == "date-time":
        kinds = ["time" if k == "string" else k for k in kinds]
    return " or ".join(kinds)


def metrics() -> str:
    """docs/reference/metrics.md."""
    parts = [METRICS_HEAD]
    for title, signals in (
        ("Intake", INTAKE),
        ("Decisions and runs", CORE),
        ("State, read at each scrape", GAUGES),
    ):
        parts.append("\n".join([f"## {title}\n", *_rows(signals), ""]))
    return "\n".join(parts)


def _rows(signals: tuple[Signal, ...]) -> Iterator[str]:
    yield from ("| metric | kind | labels | |", "|---|---|---|---|")
    for s in signals:
        labels = ", ".join(f"`{label}`" for label in s.labels)
        yield f"| `{s.name}` | {s.kind} | {labels} | {s.help} |"
