"""Texts of annotations: Go templates for Prometheus, and the same text rendered for tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from opsloop.compile.selectors import quote


@dataclass(frozen=True, slots=True)
class Label:
    """The value of a label of the alert."""

    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """The alert's value with its unit: a ratio as percentage, seconds as duration, how many
    times, or how many."""

    unit: Literal["humanizePercentage", "humanizeDuration", "times", "count"]


@dataclass(frozen=True, slots=True)
class ByLabel:
    """Text that depends on a label: `texts` by its value, `other` for the rest."""

    name: str
    texts: tuple[tuple[str, str], ...]
    other: str

    @classmethod
    def of(cls, name: str, texts: Mapping[str, str]) -> ByLabel:
        """The commonest text becomes the rest, so that the template stays short."""
        counts: dict[str, int] = {}
        for text in texts.values():
            counts[text] = counts.get(text, 0) + 1
        other = min(counts, key=lambda t: (-counts[t], t))
        kept = tuple((k, v) for k, v in sorted(texts.items()) if v != other)
        return cls(name, kept, other)


Part = str | Label | Value | ByLabel
_FUNCTIONS = {
    "times": 'printf "%.1f"',
    "count": 'printf "%.0f"',
}  # where the template's word is another one


@dataclass(frozen=True, slots=True)
class Wording:
    """An annotation: literal text and what stands in for labels and the value."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, *parts: Part) -> Wording:
        return cls(parts)

    def template(self) -> str:
        """The text as Prometheus expands it."""
        return "".join(_template(p) for p in self.parts)

    def render(self, labels: Mapping[str, str], value: float) -> str:
        """What Prometheus makes of it; for tests, with values of few digits."""
        return "".join(_render(p, labels, value) for p in self.parts)

    def bound(self, labels: Mapping[str, str]) -> Wording:
        """The same with labels that are known already: a template does not see those that only
        the rule adds."""
        return Wording(
            tuple(
                labels[p.name] if isinstance(p, Label) and p.name in labels else p
                for p in self.parts
            )
        )

    def in_general(self, labels: Mapping[str, str]) -> str:
        """The text for some of its labels; what is known only when it fires is named in <>."""
        return "".join([p if isinstance(p, str) else _in_general(p, labels) for p in self.parts])


@dataclass(frozen=True, slots=True)
class Raw(Wording):
    """An annotation of the user's own: passed on as it is, templates and all."""

    parts: tuple[Part, ...]

    def template(self) -> str:
        return "".join(str(p) for p in self.parts)


def _template(part: Part) -> str:
    if isinstance(part, Label):
        return f"{{{{ $labels.{part.name} }}}}"
    if isinstance(part, Value):
        return f"{{{{ $value | {_FUNCTIONS.get(part.unit, part.unit)} }}}}"
    if isinstance(part, ByLabel):
        return _branches(part)
    return _literal(part)


def _literal(text: str) -> str:
    """Braces of a literal would begin a template."""
    return text.replace("{{", '{{ "{{" }}')


def _branches(part: ByLabel) -> str:
    by_text: dict[str, list[str]] = {}
    for value, text in part.texts:
        by_text.setdefault(text, []).append(value)
    out, word = "", "if"
    for text, values in by_text.items():
        wanted = " ".join(quote(v) for v in values)
        out += f"{{{{ {word} eq $labels.{part.name} {wanted} }}}}{_literal(text)}"
        word = "else if"
    if not by_text:
        return _literal(part.other)
    return f"{out}{{{{ else }}}}{_literal(part.other)}{{{{ end }}}}"


def _render(part: Part, labels: Mapping[str, str], value: float) -> str:
    if isinstance(part, str):  # as most are
        return part
    if isinstance(part, Label):
        return labels.get(part.name, "")
    if isinstance(part, Value):
        return _UNITS[part.unit](value)
    return dict(part.texts).get(labels.get(part.name, ""), part.other)


def _in_general(part: Part, labels: Mapping[str, str]) -> str:
    if isinstance(part, Value):
        return "<value>"
    if isinstance(part, Label):
        return labels.get(part.name, f"<{part.name}>")
    return _render(part, labels, 0.0)


def _times(value: float) -> str:
    return f"{value:.1f}"


def _percentage(value: float) -> str:
    return f"{value * 100:.4g}%"


def _duration(seconds: float) -> str:
    if seconds == 0 or math.isnan(seconds):
        return f"{seconds:.4g}s"
    if abs(seconds) >= 60:
        return _long_duration(seconds)
    prefix = ""
    if abs(seconds) < 1:
        for p in ("m", "u", "n"):
            if abs(seconds) >= 1:
                break
            prefix, seconds = p, seconds * 1000
    return f"{seconds:.4g}{prefix}s"


def _long_duration(seconds: float) -> str:
    sign, rest = ("-", -int(seconds)) if seconds < 0 else ("", int(seconds))
    minutes, secs = divmod(rest, 60)
    hours, mins = divmod(minutes, 60)
    days, hrs = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hrs}h {mins}m {secs}s"
    if hrs:
        return f"{sign}{hrs}h {mins}m {secs}s"
    return f"{sign}{mins}m {secs}s"


def _count(value: float) -> str:
    return f"{value:.0f}"


_UNITS = {
    "humanizePercentage": _percentage,
    "humanizeDuration": _duration,
    "times": _times,
    "count": _count,
}
