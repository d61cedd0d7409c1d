"""All that is read about alerts: Prometheus, Alertmanager, the inbox and the store, asked once."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.drivers.rules import AlertRules
from opsloop.drivers.silences import AlertDesk
from opsloop.errors import OpsloopError, SourceError
from opsloop.report.alerts import STORE, Missing, Sources
from opsloop.report.told import Failures, kinds
from opsloop.store.sqlite import SqliteStore, open_existing
from opsloop.web import messages

MOST_EPISODES: Final = 10_000
MOST_MESSAGES: Final = 2_000
_FAILED = "alertmanager_notifications_failed_total"
_SAMPLE = re.compile(rf'^{_FAILED}{{[^\n]*integration="([^"]*)"[^\n]*}} ([0-9.e+]+)$', re.MULTILINE)
_RECENTLY = f"sum by (integration) (increase({_FAILED}[15m]))"


def gather(
    state: Path,
    prometheus: AlertRules,
    desk: AlertDesk,
    engine: EngineInput | None,
    store: SqliteStore | None = None,
) -> Sources:
    """Ask each part once; what does not answer is named. Raises SourceError when both are away.

    store: one that is open already; else that of the stack in `state` is opened for this.
    """
    sources = Sources(now=time.time(), engine=engine)
    missing: list[Missing] = []
    try:
        sources = replace(sources, rules=prometheus.rules())
    except SourceError as error:
        missing.append(Missing("Prometheus", str(error), "what is pending is not known"))
    try:
        sources = replace(
            sources,
            listed=desk.listed(),
            silences=desk.every_silence(),
            kinds=_kinds(desk.configuration()),
        )
    except SourceError as error:
        if missing:
            raise SourceError(
                "neither Prometheus nor Alertmanager answers",
                f"{missing[0].reason}; {error}",
                "see `opsloop status`",
            ) from error
        effect = "what is silenced or inhibited, and who was told, is not known"
        missing.append(Missing("Alertmanager", str(error), effect))
        sources = replace(sources, listed=None, silences=())
    failures = _failures(
        prometheus if sources.rules is not None else None,
        desk if sources.listed is not None else None,
    )
    sources = replace(sources, failures=failures, now=time.time())
    sources = _with_inbox(state, _with_loop(state, store, sources, missing), missing)
    return replace(sources, missing=tuple(missing))


def _with_loop(
    state: Path, store: SqliteStore | None, sources: Sources, missing: list[Missing]
) -> Sources:
    try:
        if store is not None:
            return _loop_of(store, sources)
        with open_existing(state) as opened:
            return _loop_of(opened, sources)
    except OpsloopError as error:
        missing.append(Missing(STORE, str(error), "what the loop does is not known"))
        return sources


def _loop_of(store: SqliteStore, sources: Sources) -> Sources:
    episodes = store.episodes(MOST_EPISODES)
    runs = {e.id: found[-1] for e in episodes if (found := store.runs_of(e.id))}
    paused, why = store.paused()
    return replace(sources, episodes=episodes, runs=runs, paused=paused, paused_why=why)


def _with_inbox(state: Path, sources: Sources, missing: list[Missing]) -> Sources:
    try:
        inbox = messages.read_newest(state / names.INBOX_FILE, 0, MOST_MESSAGES)
    except OpsloopError as error:
        missing.append(Missing("inbox", str(error), "when people were told is not known"))
        return sources
    return replace(sources, inbox=inbox)


def _kinds(config: str) -> Mapping[str, tuple[str, ...]]:
    try:
        read: Any = yaml.load(config, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError:
        return {}
    return kinds(read) if isinstance(read, dict) else {}


def _failures(prometheus: AlertRules | None, desk: AlertDesk | None) -> dict[str, Failures]:
    """By kind of receiver; of Prometheus what is recent, else Alertmanager's own counters."""
    found: dict[str, Failures] = {}
    if desk is not None:
        try:
            totals = _totals(desk.metrics())
        except SourceError:
            totals = {}
        found = {kind: Failures(total) for kind, total in totals.items()}
    if prometheus is not None:
        try:
            recent = prometheus.query(_RECENTLY)
        except SourceError:
            recent = []
        for sample in recent:
            kind = sample.labels.get("integration", "")
            total = found[kind].total if kind in found else sample.value
            found[kind] = Failures(total, sample.value)
    return found


def _totals(page: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind, value in _SAMPLE.findall(page):
        found[kind] = found.get(kind, 0.0) + float(value)
    return found
