"""Silences as rows and lines, what one would mute, and whether it would mute everything."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.drivers.listed import Listed, Matcher, Silence, match_value
from opsloop.report.times import clock, length, printable, stamp

HEADERS: Final = ("ID", "STATE", "MATCHERS", "UNTIL", "LEFT", "BY", "WHY", "MUTES NOW")
SHORT_ID: Final = 8  # characters that tables show; any start of an id that is no other's will do
ALWAYS_THERE: Final = ("alertname", names.SEVERITY, *names.SERVICE_LABELS)
# What a value of a label may be that nobody thought of when the silence was written.
_ANY_VALUE: Final = ("Zq7", "x-9.unheard:of_by-anybody")
_ORDER: Final = {"active": 0, "pending": 1, "expired": 2}


def row(silence: Silence, mutes: int | None = None) -> dict[str, Any]:
    """A silence for `--json`; these fields stay. Times are RFC 3339 in UTC.

    mutes: how many alerts it mutes now; null when that is not known.
    """
    return {
        "id": silence.id,
        "state": silence.state,
        "matchers": [str(m) for m in silence.matchers],
        "starts_at": stamp(silence.starts_at),
        "ends_at": stamp(silence.ends_at),
        "by": silence.created_by,
        "why": silence.comment,
        "mutes": mutes,
    }


def cells(silence: Silence, mutes: int | None, now: float) -> tuple[str, ...]:
    """A line under HEADERS."""
    left = length(silence.ends_at - now) if silence.state != "expired" else ""
    return (
        silence.id[:SHORT_ID],
        silence.state,
        text_of(silence.matchers),
        clock(silence.ends_at),
        left,
        printable(silence.created_by),
        printable(silence.comment),
        "" if mutes is None else str(mutes),
    )


def text_of(matchers: Iterable[Matcher]) -> str:
    return printable(" ".join(map(str, matchers)))


def ordered(silences: Iterable[Silence]) -> list[Silence]:
    """Those in force first, and of them the first to end."""
    return sorted(silences, key=lambda s: (_ORDER.get(s.state, 3), s.ends_at, s.id))


def muted_counts(alerts: Iterable[Listed]) -> dict[str, int]:
    """How many alerts each silence mutes, by its id."""
    found: dict[str, int] = {}
    for listed in alerts:
        for silence_id in listed.alert.silenced_by:
            found[silence_id] = found.get(silence_id, 0) + 1
    return found


def alert_row(listed: Listed) -> dict[str, Any]:
    """An alert that a silence mutes, for `--json`."""
    labels = listed.alert.labels
    return {
        "alert": listed.alert.name,
        "severity": labels.get(names.SEVERITY, ""),
        "service": labels.get(names.SERVICE),
        "instance": labels.get(names.INSTANCE),
        "policy": labels.get(names.POLICY),
        "since": stamp(listed.alert.starts_at),
        "fingerprint": listed.alert.fingerprint,
    }


MUTED_HEADERS: Final = ("SEV", "ALERT", "SERVICE", "INSTANCE", "SINCE")


def alert_cells(listed: Listed) -> tuple[str, ...]:
    """A line under MUTED_HEADERS."""
    found = alert_row(listed)
    words = (found["severity"], found["alert"], found["service"] or "", found["instance"] or "")
    return (*map(printable, words), clock(listed.alert.starts_at))


def worst_first(alerts: Iterable[Listed]) -> list[Listed]:
    """By severity, alert, service and instance."""
    keys = (names.SEVERITY, "alertname", names.SERVICE, names.INSTANCE)
    return sorted(alerts, key=lambda a: [a.alert.labels.get(k) or "~" for k in keys])


def matches_everything(
    matchers: Sequence[Matcher], known: Mapping[str, Collection[str]]
) -> str | None:
    """Why these matchers leave hardly an alert out; None when they name something.

    known: the values that a label has, by label. A matcher that cannot be judged here counts as
    one that leaves nothing out.
    """
    reasons = [_leaves_out_nothing(m, known.get(m.name, ())) for m in matchers]
    if not all(reasons):
        return None
    return "; ".join(r for r in reasons if r) or "there is no matcher"


def _leaves_out_nothing(matcher: Matcher, known: Collection[str]) -> str | None:
    anything = [_match(matcher, value) for value in _ANY_VALUE]
    if None in anything:
        return f"{matcher} cannot be judged here"
    if all(anything):
        if matcher.is_equal:
            return f"{matcher} matches whatever {matcher.name} is"
        return f"{matcher} leaves out only what it names"
    if matcher.name not in ALWAYS_THERE or not known:
        return None
    if matcher.operator == "=":
        # Other labels may have one value today and more tomorrow; a stack has one environment.
        only = matcher.name == names.ENVIRONMENT and set(known) == {matcher.value}
        return f"{matcher} is every alert of this stack" if only else None
    if len(known) > 1 and all(_match(matcher, value) for value in known):
        return f"{matcher} matches every {matcher.name} that there is"
    return None


def _match(matcher: Matcher, value: str) -> bool | None:
    """None for an expression that Alertmanager has and Python has not, or reads otherwise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return match_value(matcher, value)
    except (re.error, Warning, RecursionError, OverflowError):
        return None


def loop_bound(matchers: Sequence[Matcher], engine: EngineInput) -> list[dict[str, str | None]]:
    """The alerts on which the loop will not act under such a silence: alert, service, policy.

    A matcher on a label that only a firing alert has (its instance) leaves none out.
    """
    found = []
    for labels in _loop_labels(engine):
        judged = [_match(m, labels[m.name]) for m in matchers if m.name in labels]
        if False not in judged:
            service = labels.get(names.SERVICE)
            found.append(
                {
                    "alert": labels["alertname"],
                    "service": service,
                    "policy": labels[names.POLICY],
                }
            )
    return found


def _loop_labels(engine: EngineInput) -> Iterable[dict[str, str]]:
    """What is known beforehand of the labels of each alert that a policy meets."""
    catalog = engine.catalog
    for fact in engine.facts:
        base = {
            "alertname": fact.alert,
            names.POLICY: fact.policy,
            names.SEVERITY: fact.severity,
            names.ENVIRONMENT: catalog.stack.environment,
        }
        own = catalog.alerts.get(fact.alert)
        services = sorted(catalog.services) if own is None else [own.service or ""]
        for name in services:
            service = catalog.services.get(name)
            team = service.team if service else None
            if catalog.remediation.meeting(fact.alert, name or None, team) != fact.policy:
                continue
            known = {names.SERVICE: name, names.TEAM: team, names.TIER: _tier(service)}
            yield base | {k: v for k, v in known.items() if v}


def _tier(service: Any) -> str | None:
    return str(service.tier) if service is not None else None
