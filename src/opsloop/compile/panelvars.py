"""Variables of dashboards, and how their values get into PromQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opsloop.catalog.selector import quote
from opsloop.catalog.units import Duration
from opsloop.errors import InputError

ALL: Final = "$__all"  # the value of a variable that stands for every one; Grafana's own word
SPECIAL: Final = ("__rate_interval", "__interval", "__range")  # given by who draws, not declared

Values = Mapping[str, str | Sequence[str]]
"""Variable name (without $) to its value, or to several where the variable is `multi`."""

# $1 is no variable: label_replace has it.
_USE = re.compile(r"""(?:(=~|!~|!=|=)\s*")?\$(?:\{([a-zA-Z_]\w*)\}|([a-zA-Z_]\w*))(")?""")
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard.

    kind: `datasource` is Grafana's choice of a Prometheus (a console has one and skips it);
    `values`: the values of `label` over the series of `selector`, which may use variables that
    stand before this one. multi: several may be chosen, and ALL, which is then the default.
    """

    name: str
    title: str
    kind: Literal["datasource", "values"] = "values"
    selector: str = ""
    label: str = ""
    multi: bool = False


def uses(text: str) -> set[str]:
    """The names of the variables in it, special ones among them."""
    return {m.group(2) or m.group(3) for m in _USE.finditer(text)}


def substituted(text: str, values: Values) -> str:
    """PromQL with every variable replaced, quoted as its place needs.

    A value stands in a matcher: after = and != one string, after =~ and !~ one or several, which
    are taken literally, or ALL. Special variables are durations. Raises InputError for a
    variable without a value, and for a value that does not fit its place.
    """

    def one(match: re.Match[str]) -> str:
        op, name, closed = match.group(1), match.group(2) or match.group(3), match.group(4)
        if name not in values:
            raise InputError(f"${name}", "has no value", "give it one")
        value = values[name]
        if op is None or closed is None:
            return _duration(name, value) + (closed or "")
        return f"{op}{_matched(name, op, value)}"

    return _USE.sub(one, text)


def timing(step_s: float, range_s: float, scrape: Duration) -> dict[str, str]:
    """The special variables, as Grafana has them: step and range of the chart in seconds, and
    how often what it shows is scraped."""
    step = max(1, round(step_s))
    rate = max(step + -(-int(scrape) // 1000), -(-4 * int(scrape) // 1000))
    whole = f"{max(1, round(range_s))}s"
    return {"__rate_interval": f"{rate}s", "__interval": f"{step}s", "__range": whole}


def _duration(name: str, value: str | Sequence[str]) -> str:
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise InputError(f"${name}", f"{value!r} is not a duration", "write it as 5m")
    return value


def _matched(name: str, op: str, value: str | Sequence[str]) -> str:
    if op in ("=~", "!~"):
        several = [value] if isinstance(value, str) else list(value)
        if not several or ALL in several:
            return quote(".*")
        return quote("|".join(_META.sub(r"\\\g<0>", v) for v in several))
    if not isinstance(value, str) or value == ALL:
        raise InputError(f"${name}", "takes one value here", "choose one")
    return quote(value)
