"""What Prometheus and Alertmanager list for people: rules, alerts with receivers, silences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

import msgspec

from opsloop.drivers.wire import parse_time
from opsloop.errors import ArgumentError
from opsloop.remediation.episode import Alert

T = TypeVar("T")
Operator = Literal["=", "!=", "=~", "!~"]
_MATCHER: Final = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL)
_ESCAPED: Final = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; a label that an alert does not have is the empty text."""

    name: str
    operator: Operator
    value: str

    @classmethod
    def parse(cls, text: str) -> Matcher:
        """`service=api`, `severity!="P0"`, `instance=~"10\\..*"`. Raises ArgumentError."""
        match = _MATCHER.fullmatch(text)
        if match is None:
            raise ArgumentError(
                f"matcher {text!r}", "is not LABEL=VALUE", "operators are = != =~ and !~"
            )
        name, operator, value = match.groups()
        if value.startswith('"'):
            if len(value) < 2 or not value.endswith('"'):
                raise ArgumentError(f"matcher {text!r}", "has a quote that is not closed")
            value = re.sub(
                r"\\(.)", lambda m: _ESCAPED.get(m[1], m[0]), value[1:-1], flags=re.DOTALL
            )
        return cls(name, operator, value)  # type: ignore[arg-type]  # the pattern knows four

    def __str__(self) -> str:
        """As Alertmanager reads it."""
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{value}"'

    @property
    def is_regex(self) -> bool:
        return self.operator in ("=~", "!~")

    @property
    def is_equal(self) -> bool:
        return self.operator in ("=", "=~")


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence. state: active, pending or expired; times are unix seconds."""

    id: str
    state: str
    matchers: tuple[Matcher, ...]
    comment: str
    created_by: str
    starts_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """An alert in Alertmanager, the receivers that its routes name, and what mutes it."""

    alert: Alert
    receivers: tuple[str, ...]
    muted_by: tuple[str, ...] = ()  # time intervals; Alertmanager tells from 0.28 on


@dataclass(frozen=True, slots=True)
class RuleAlert:
    """An alert of a rule in Prometheus, without its external labels. value: None when not finite."""

    state: str  # pending or firing
    active_at: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float | None


@dataclass(frozen=True, slots=True)
class Rule:
    """An alerting rule. for_s: how long it is pending; error: why it could not be evaluated."""

    name: str
    for_s: float
    labels: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    alerts: tuple[RuleAlert, ...] = ()


class _Alert(msgspec.Struct, rename="camel"):
    state: str
    active_at: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    value: str = ""


class _Rule(msgspec.Struct, rename="camel"):
    name: str
    type: str = ""
    duration: float = 0.0
    labels: dict[str, str] = {}
    health: str = ""
    last_error: str = ""
    alerts: list[_Alert] = []


class _Group(msgspec.Struct):
    rules: list[_Rule] = []


class _Groups(msgspec.Struct):
    groups: list[_Group]


class _Rules(msgspec.Struct):
    data: _Groups


class _Values(msgspec.Struct):
    data: list[str]


class _Receiver(msgspec.Struct):
    name: str


class _Status(msgspec.Struct, rename="camel"):
    silenced_by: list[str] = []
    inhibited_by: list[str] = []
    muted_by: list[str] = []


class _Listed(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    fingerprint: str
    starts_at: str
    ends_at: str = ""
    annotations: dict[str, str] = {}
    receivers: list[_Receiver] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Matcher(msgspec.Struct, rename="camel"):
    name: str
    value: str
    is_regex: bool
    is_equal: bool = True


class _State(msgspec.Struct):
    state: str


class _Silence(msgspec.Struct, rename="camel"):
    id: str
    status: _State
    matchers: list[_Matcher]
    starts_at: str
    ends_at: str
    comment: str = ""
    created_by: str = ""


class _Config(msgspec.Struct):
    original: str = ""


class _StatusPage(msgspec.Struct):
    config: _Config


_OPERATORS: Final[Mapping[tuple[bool, bool], Operator]] = {
    (False, True): "=",
    (False, False): "!=",
    (True, True): "=~",
    (True, False): "!~",
}


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    decoder = msgspec.json.Decoder(kind)

    def decode(body: bytes) -> T:
        try:
            return decoder.decode(body)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None

    return decode


_rules = _decoder(_Rules)
_values = _decoder(_Values)
_alerts = _decoder(list[_Listed])
_silences = _decoder(list[_Silence])
_page = _decoder(_StatusPage)


def rules(body: bytes) -> list[Rule]:
    """Decode /api/v1/rules?type=alert of Prometheus. Raises ValueError."""
    return [
        Rule(
            name=r.name,
            for_s=r.duration,
            labels=r.labels,
            error=r.last_error if r.health == "err" else "",
            alerts=tuple(_rule_alert(a) for a in r.alerts),
        )
        for group in _rules(body).data.groups
        for r in group.rules
        if r.type == "alerting"
    ]


def _rule_alert(raw: _Alert) -> RuleAlert:
    try:
        value = float(raw.value)
    except ValueError:
        value = math.nan
    return RuleAlert(
        state=raw.state,
        active_at=parse_time(raw.active_at) or 0.0,
        labels=raw.labels,
        annotations=raw.annotations,
        value=value if math.isfinite(value) else None,
    )


def label_values(body: bytes) -> list[str]:
    """Decode /api/v1/label/NAME/values of Prometheus. Raises ValueError."""
    return _values(body).data


def alerts(body: bytes) -> list[Listed]:
    """Decode /api/v2/alerts of Alertmanager. Raises ValueError."""
    return [
        Listed(
            alert=Alert(
                fingerprint=a.fingerprint,
                starts_at=parse_time(a.starts_at) or 0.0,
                firing=True,
                labels=a.labels,
                annotations=a.annotations,
                ends_at=parse_time(a.ends_at) if a.ends_at else None,
                silenced_by=tuple(a.status.silenced_by),
                inhibited_by=tuple(a.status.inhibited_by),
            ),
            receivers=tuple(r.name for r in a.receivers),
            muted_by=tuple(a.status.muted_by),
        )
        for a in _alerts(body)
    ]


def silences(body: bytes) -> list[Silence]:
    """Decode /api/v2/silences of Alertmanager. Raises ValueError."""
    return [
        Silence(
            id=s.id,
            state=s.status.state,
            matchers=tuple(
                Matcher(m.name, _OPERATORS[m.is_regex, m.is_equal], m.value) for m in s.matchers
            ),
            comment=s.comment,
            created_by=s.created_by,
            starts_at=parse_time(s.starts_at) or 0.0,
            ends_at=parse_time(s.ends_at) or 0.0,
        )
        for s in _silences(body)
    ]


def configuration(body: bytes) -> str:
    """The configuration's text (secrets left out) of /api/v2/status. Raises ValueError."""
    return _page(body).config.original


def match_value(matcher: Matcher, value: str) -> bool:
    """Whether this value of the label matches. Raises re.error for what Python does not have."""
    if matcher.is_regex:
        return bool(re.fullmatch(matcher.value, value)) is matcher.is_equal
    return (value == matcher.value) is matcher.is_equal
