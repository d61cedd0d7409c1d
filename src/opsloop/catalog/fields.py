"""What each field of the catalog means, with an example: for the schema and the reference page."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from opsloop.catalog.model import Catalog

_FILE: Final = Path(__file__).with_name("fields.yaml")


@dataclass(frozen=True, slots=True)
class Described:
    """One field. example: a value as the catalog would have it."""

    meaning: str
    example: Any


@cache
def described() -> Mapping[str, Mapping[str, Described]]:
    """Model -> field as it is written -> what is said about it."""
    text = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {
        model: {name: Described(*said) for name, said in entries.items()}
        for model, entries in text.items()
    }


@cache
def models() -> tuple[type[BaseModel], ...]:
    """Every model of the catalog, the whole first, each before what stands in it."""
    found: dict[type[BaseModel], None] = {}
    waiting: list[type[BaseModel]] = [Catalog]
    while waiting:
        model = waiting.pop(0)
        if model not in found:
            found[model] = None
            model.model_rebuild()  # a type that is defined below its user is only a name till now
            inner = [m for f in model.model_fields.values() for m in models_in(f.annotation)]
            waiting = [*inner, *waiting]
    return tuple(found)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for part in typing.get_args(annotation):
        yield from models_in(part)


def annotation_of(field: FieldInfo) -> Any:
    """The field's type with its bounds and patterns; FieldInfo keeps these apart from it."""
    annotation: Any = field.annotation
    for item in field.metadata:
        annotation = Annotated[annotation, item]
    return annotation


def written_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Field as it is written in the catalog (its alias, if it has one) -> pydantic's FieldInfo."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
