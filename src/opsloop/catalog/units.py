"""Values with units in the catalog: durations (`5s`, `1m30s`, `15d`) and shares (`5%`)."""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_UNITS_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
)
_ORDER = ("y", "w", "d", "h", "m", "s", "ms")
# The same for other readers of the catalog, which know neither fullmatch nor strip().
DURATION_PATTERN = rf"^\s*(?:0|(?=\d){_DURATION.pattern})\s*$"
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def _as_text(value: object) -> object:
    # A field that may be `false` instead is serialised here too.
    return value if isinstance(value, bool) else str(value)


_AS_TEXT = core_schema.plain_serializer_function_ser_schema(_as_text, when_used="json-unless-none")


class Duration(int):
    """A length of time, as whole milliseconds; text is Prometheus's own form."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`1h30m` to milliseconds; ValueError names the form that is wanted."""
        match = _DURATION.fullmatch(text.strip())
        if text.strip() == "0":
            return cls(0)
        if match is None or not any(match.groups()):
            raise ValueError(
                f"{text!r} is not a duration; write a number with a unit, as 30s, 5m, 15d"
            )
        total = sum(
            int(n) * _UNITS_MS[u]
            for n, u in zip(match.groups(), _ORDER, strict=True)
            if n is not None
        )
        return cls(total)

    @classmethod
    def of(cls, seconds: float) -> Self:
        return cls(round(seconds * 1000))

    @property
    def seconds(self) -> float:
        return int(self) / 1000

    def __str__(self) -> str:
        if int(self) == 0:
            return "0s"
        rest, parts = int(self), []
        for unit in ("d", "h", "m", "s", "ms"):
            count, rest = divmod(rest, _UNITS_MS[unit])
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts)

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate, serialization=_AS_TEXT)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": DURATION_PATTERN}

    @classmethod
    def _validate(cls, value: Any) -> Duration:
        if isinstance(value, Duration):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        raise ValueError(f"{value!r} has no unit; write a duration as 30s, 5m, 15d")


class Share(float):
    """A part of a whole, 0..1; text is percent."""

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _SHARE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a share; write it with its unit, as 5%")
        value = float(match.group(1)) / 100
        if not 0 <= value <= 1:
            raise ValueError(f"{text!r} is not between 0% and 100%")
        return cls(value)

    def __str__(self) -> str:
        return f"{float(self) * 100:.10g}%"

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate, serialization=_AS_TEXT)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": rf"^\s*{_SHARE.pattern}\s*$"}

    @classmethod
    def _validate(cls, value: Any) -> Share:
        if isinstance(value, Share):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        raise ValueError(f"{value!r} has no unit; write a share as 5%")
