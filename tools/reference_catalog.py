"""docs/reference/catalog.md: every field of every model of the catalog."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from opsloop.catalog import fields
from opsloop.catalog.model import AlertName, Catalog, LabelName, MetricName, Name
from opsloop.catalog.slo import Objective, Period
from opsloop.catalog.units import Duration, Share

HEAD = """\
# The catalog

One YAML file, `opsloop.yaml`, or a folder of files that are merged by name. Unknown keys are refused. `opsloop check`
names every mistake at once, with file, line and field; `opsloop schema` prints the same fields as JSON Schema for editors.

Values have their unit with them: a **duration** is written `500ms`, `30s`, `1h30m`, `15d`; a **share** is written `5%`.
A **name** has lower-case letters, digits and dashes, a letter first. `${VAR}` and `${VAR:-default}` are read from the
environment, in values only; a secret is never a value, but a file that a `..._file` field names, or a
[variable](settings.md). NAME stands for a name of your own.

"""
_PLAIN: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
    Duration: "duration",
    Share: "share",
    Objective: "percent",
    Period: "duration or `calendar-month`",
}
_KEYS = {Name: "NAME", AlertName: "ALERT", MetricName: "METRIC", LabelName: "LABEL"}


def page() -> str:
    """The page, in Markdown."""
    models = fields.models()
    places: dict[str, list[str]] = {}
    for model, place in _places(Catalog, "", ()):
        places.setdefault(model.__name__, []).append(place)
    parts = [_section(model, places[model.__name__]) for model in models]
    return HEAD + "\n".join(parts)


def _places(model: type[BaseModel], at: str, above: tuple[type, ...]) -> Iterator[tuple[Any, str]]:
    """(model, where it stands in a catalog) of a model and all below it."""
    yield model, at
    for name, field in fields.written_fields(model).items():
        path = f"{at}.{name}" if at else name
        for inner in dict.fromkeys(fields.models_in(field.annotation)):
            if inner not in above:
                deeper = path + _below(fields.annotation_of(field))
                yield from _places(inner, deeper, (*above, model))


def _below(annotation: Any) -> str:
    """What stands between a field and a model in it: a name, or the brackets of a list."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _below(arguments[0])
    if origin is dict:
        return "." + _KEYS.get(arguments[0], "NAME")
    return "[]" if origin is list else ""


def _section(model: type[BaseModel], places: list[str]) -> str:
    first, *others = dict.fromkeys(places)
    title = f"`{first}`" if first else "The whole"
    lines = [f'<a id="{model.__name__.lower()}"></a>', "", f"## {title}", ""]
    if model.__doc__ and first:
        lines += [" ".join(model.__doc__.split()), ""]
    if others:
        lines += ["The same stands at " + ", ".join(f"`{p}`" for p in others) + ".", ""]
    rows = fields.written_fields(model)
    if rows:
        lines += ["| field | type | default | meaning | example |", "|---|---|---|---|---|"]
        lines += [_row(model, name, field) for name, field in rows.items()]
    else:
        lines += ["It has no fields: write `{}`."]
    return "\n".join([*lines, ""])


def _row(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    said = fields.described()[model.__name__][name]
    example = yaml.safe_dump(
        {name: said.example}, default_flow_style=True, width=10_000, sort_keys=False
    ).strip()
    cells = (
        f"`{name}`",
        words(fields.annotation_of(field)),
        _default(field),
        said.meaning,
        f"`{example[1:-1]}`",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def words(annotation: Any) -> str:
    """A type as people say it; models are links to their sections."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if annotation is Name:
        return "name"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[mapping](#{annotation.__name__.lower()})"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return words(arguments[0]) + _bounds(arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{str(a).lower() if a is False else a}`" for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(a) for a in arguments if a is not type(None))
    if origin is list:
        return f"list of {words(arguments[0])}"
    if origin is dict:
        return f"{_KEYS.get(arguments[0], 'text')} → {words(arguments[1])}"
    raise TypeError(f"no words for {annotation!r}")


def _bounds(metadata: tuple[Any, ...]) -> str:
    found: dict[str, Any] = {}
    for item in metadata:
        for each in (item, *getattr(item, "metadata", ())):
            found |= {k: v for k in ("ge", "le") if (v := getattr(each, k, None)) is not None}
    if len(found) == 2:
        return f" {found['ge']} to {found['le']}"
    return f", at least {found['ge']}" if "ge" in found else ""


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "its own"
    if isinstance(value, list | dict):
        return f"`{', '.join(value)}`" if value else "none"
    return f"`{value}`" if str(value) else "none"
