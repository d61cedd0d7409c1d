"""The text of an imported catalog: each objective with a comment on where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsloop.catalog.imported import CarriedSLO

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|(?:\d+(?:ms|[smhdw]))+")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_WIDTH = 100


def render(services: Mapping[str, Any], slos: Iterable[CarriedSLO]) -> str:
    """The catalog of these entries, which are plain values in the order to write them."""
    about = {(s.service, s.name): s for s in slos}
    exact = sum(s.exact for s in about.values())
    head = (
        f"Written by opsloop import: {_count(len(about), 'objective')} of"
        f" {_count(len(services), 'service')}. {exact} of them count{'s' if exact == 1 else ''}"
        " events exactly; the others say why they do not. A service without targets is watched by"
        " its objectives alone, in the Prometheus that has its metrics; give it targets: for the"
        " other alerts."
    )
    lines = [*_comment(head, ""), "apiVersion: opsloop/v1", "services:"]
    for name, service in services.items():
        lines.append(f"  {name}:")
        lines += _lines({k: v for k, v in service.items() if k != "slos"}, "    ")
        lines.append("    slos:")
        for slo, entry in service["slos"].items():
            carried = about[name, slo]
            said = f"not exact: {carried.why}" if carried.why else "exact: events are counted"
            lines += _comment(f"from {carried.origin}; {said}", "      ")
            lines.append(f"      {slo}:")
            lines += _lines(entry, "        ")
    return "\n".join(lines) + "\n"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _comment(text: str, indent: str) -> list[str]:
    """A comment on as many lines as it needs, whatever characters a file's name has."""
    found: list[str] = []
    line = f"{indent}#"
    for word in "".join(c if c.isprintable() else " " for c in text).split():
        if len(line) + len(word) >= _WIDTH and not line.endswith("#"):
            found.append(line)
            line = f"{indent}#"
        line += f" {word}"
    return [*found, line]


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        return [line for k, v in value.items() for line in _entry(f"{k}:", v, indent)]
    return [f"{indent}- {_flow(item)}" for item in value]


def _entry(key: str, value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping | list) and value:
        return [f"{indent}{key}", *_lines(value, indent + "  ")]
    if isinstance(value, str) and _fits_block(value):
        lines = escaped(value).split("\n")
        return [f"{indent}{key} |-", *(f"{indent}  {line}" if line else "" for line in lines)]
    return [f"{indent}{key} {_scalar(value)}"]


def _flow(item: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{k}: {_scalar(v)}" for k, v in item.items()) + "}"


def escaped(text: str) -> str:
    """`text` as the catalog reads it back: ${ would be a reference to the environment."""
    return text.replace("${", "$${")


def _fits_block(text: str) -> bool:
    plain = all(c.isprintable() for c in text.replace("\n", ""))
    return "\n" in text and text == text.strip() and plain


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[]"
    text = escaped(str(value))
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if '"' in text and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in quoted)
