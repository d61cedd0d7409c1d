"""The catalog's JSON Schema, made of its models, for editors and for programs that write catalogs."""

from __future__ import annotations

from typing import Any

from opsloop.catalog import fields
from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import SLI_KINDS
from opsloop.catalog.steps import BARE, STEP_KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "opsloop catalog, opsloop/v1"
# What stands in a value may come from the environment, and is then text whatever the field takes.
REFERENCE = {"type": "string", "pattern": r"\$\{", "description": "read from the environment"}
_NUMBER_AS_TEXT = {"type": "string", "pattern": r"^\s*[-+]?\d[\d_]*(\.0*)?\s*$"}
_SWITCH_AS_TEXT = {
    "type": "string",
    "pattern": r"^\s*(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY](?:[eE][sS])?|[nN][oO]?"
    r"|[oO][nN]|[oO][fF][fF]|[tT]|[fF]|[01])\s*$",
}


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one catalog file, with a meaning for each field.

    It refuses nothing that `opsloop check` takes. It takes more: what rests on several fields, on
    other files or on the environment is seen by check alone.
    """
    made = Catalog.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = made.pop("$defs")
    for name, definition in definitions.items():
        _describe(name, definition)
    _describe("Catalog", made)
    definitions = {name: _open(definition) for name, definition in sorted(definitions.items())}
    _kinds(definitions["Step"], STEP_KINDS, shorthand=BARE)
    _kinds(definitions["SLI"], SLI_KINDS, shorthand=("availability",))
    root = _open(made)
    for section, value in root["properties"].items():
        if section != "apiVersion":  # a section with nothing in it counts as not written
            root["properties"][section] = _either(value, {"type": "null"})
    return {"$schema": DIALECT, "title": TITLE, **root, "$defs": definitions}


def _describe(model: str, definition: dict[str, Any]) -> None:
    """Put meaning and example of each field into its schema."""
    known = fields.described().get(model, {})
    for key, value in definition.get("properties", {}).items():
        if key in known:
            value["description"] = known[key].meaning
            value["examples"] = [known[key].example]


def _open(node: dict[str, Any]) -> dict[str, Any]:
    """The same without generated titles, where each value may also be a reference."""
    node = {k: v for k, v in node.items() if k != "title"}
    for key in ("properties", "patternProperties"):
        if key in node:
            node[key] = {name: _open(value) for name, value in node[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node[key] = _open(node[key])
    if "patternProperties" in node:
        node.setdefault("additionalProperties", False)
    if "anyOf" in node:
        node["anyOf"] = [_open(member) for member in node["anyOf"]]
        return node
    return _readable(node)


def _readable(node: dict[str, Any]) -> dict[str, Any]:
    """A scalar, with the other ways in which the catalog may spell it."""
    kind = node.get("type")
    if kind == "integer":
        return _either(node, _NUMBER_AS_TEXT, REFERENCE)
    if kind == "boolean" and "const" not in node:
        return _either(node, _SWITCH_AS_TEXT, REFERENCE)
    if kind == "string" and any(rule in node for rule in ("pattern", "enum", "const")):
        return _either(node, REFERENCE)
    return node


def _either(node: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """`node` or one of `others`; what editors show of it stays outside."""
    outside = {k: node[k] for k in ("description", "default", "examples") if k in node}
    inside = {k: v for k, v in node.items() if k not in outside}
    members = inside["anyOf"] if set(inside) == {"anyOf"} else [inside]
    return outside | {"anyOf": [*members, *others]}


def _kinds(node: dict[str, Any], kinds: tuple[str, ...], shorthand: tuple[str, ...]) -> None:
    """Exactly one of `kinds` is there; a name in `shorthand` alone, or with nothing behind it."""
    one: list[dict[str, Any]] = [
        {"required": [kind], "properties": {kind: {"not": {"type": "null"}}}} for kind in kinds
    ]
    one += [
        {"required": [k], "properties": {k: {"type": "null"}} | {o: False for o in kinds if o != k}}
        for k in shorthand
    ]
    whole = {k: node.pop(k) for k in list(node) if k != "description"}
    node["anyOf"] = [{**whole, "oneOf": one}, {"enum": list(shorthand)}, REFERENCE]
