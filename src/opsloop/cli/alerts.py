"""`opsloop alerts`: what fires, what keeps it from people, who was told, what the loop does."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from opsloop import names
from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import OpsloopError, SourceError
from opsloop.settings import Settings

if TYPE_CHECKING:
    from opsloop.drivers.rules import AlertRules
    from opsloop.drivers.silences import AlertDesk
    from opsloop.report.alerts import Missing, Sources
    from opsloop.report.told import Failures

EXIT_INCOMPLETE = 1
MOST_EPISODES = 10_000
MOST_MESSAGES = 2_000
_FAILED = "alertmanager_notifications_failed_total"
_SAMPLE = re.compile(rf'^{_FAILED}{{[^\n]*integration="([^"]*)"[^\n]*}} ([0-9.e+]+)$', re.MULTILINE)
_RECENTLY = f"sum by (integration) (increase({_FAILED}[15m]))"


@click.command("alerts", short_help="Show what fires, who was told, what the loop does.")
@click.option("--all", "everything", is_flag=True, help="Quiet rules, Watchdog and the like too.")
@json_option
@with_settings
def command(settings: Settings, everything: bool, as_json: bool) -> int:
    """List what fires or is about to, the worst first, below one sentence that says it all.

    STATE: firing; pending (true, but not for long enough); unsent (it fires in Prometheus for 90 s
    and Alertmanager does not know it); silenced, inhibited or muted (in a time interval, as
    a maintenance window): nobody is told. TOLD: by what, and when where the inbox stands in
    (vendors do not tell); LOOP: what the loop does about it, or why it waits. Where Prometheus,
    Alertmanager or the engine's store does not answer, the rest is shown, and the exit code is 1.

    With --json: {"summary", "complete", "missing": [{"part", "reason", "effect"}], "alerts":
    [{"alert", "severity", "service", "instance", "team", "policy", "state", "since", "fires_at",
    "value", "silenced_by": [{"id", "by", "why", "until"}], "inhibited_by": [{"fingerprint",
    "alert", "service", "instance"}], "muted_by": [interval], "told": [{"receiver", "via",
    "status", "at", "reason"}], "told_after", "loop": {"episode", "state", "reason",
    "next_decision_at", "run", "run_state", "run_reason"} or null, "fingerprint", "labels",
    "annotations"}], "failing_receivers": [{"kind", "receivers", "failed_recently" (in 15 min),
    "failed_total"}], "broken_rules": [{"rule", "error"}], "paused", "paused_why"}. A told
    "status" is told, refused, not yet, or unknown (no one records the time); a "state" is one of
    those above, or quiet with --all (its rule is false).
    """
    from opsloop.report import alert_rows as lines
    from opsloop.report.alerts import board
    from opsloop.stack.reach import alertmanager_of, rules_of

    found = board(_gather(settings, rules_of(settings.state), alertmanager_of(settings.state)))
    missing = found.sources.missing
    if as_json:
        output.print_json(lines.as_json(found, everything))
        return EXIT_INCOMPLETE if missing else 0
    output.say(lines.sentence(found))
    rows = found.shown(everything)
    if rows:
        output.say()
        output.print_table(
            lines.HEADERS, [lines.cells(found, r) for r in rows], [lines.colour(r) for r in rows]
        )
    for part in missing:
        output.warn(f"{part.part} does not answer, so {part.effect}: {part.reason}")
    for kind, failures in sorted(found.failing.items()):
        output.warn(lines.failing(found, kind, failures))
    for rule in found.broken_rules:
        output.warn(f"the rule {rule.name} cannot be evaluated: {rule.error}")
    if found.sources.paused:
        why = found.sources.paused_why or "no reason was given"
        output.warn(f"the loop is paused ({why}); `opsloop resume`")
    return EXIT_INCOMPLETE if missing else 0


def _gather(settings: Settings, prometheus: AlertRules, desk: AlertDesk) -> Sources:
    """Ask each part once; what does not answer is named. Raises SourceError when both are away."""
    from opsloop.report.alerts import Missing, Sources
    from opsloop.stack.reach import engine_input_of

    sources = Sources(now=time.time(), engine=engine_input_of(settings.state))
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
    sources = _with_inbox(settings, _with_loop(settings, sources, missing), missing)
    return replace(sources, missing=tuple(missing))


def _with_loop(settings: Settings, sources: Sources, missing: list[Missing]) -> Sources:
    from opsloop.report.alerts import STORE, Missing
    from opsloop.store.sqlite import open_existing

    try:
        with open_existing(settings.state) as store:
            episodes = store.episodes(MOST_EPISODES)
            runs = {e.id: found[-1] for e in episodes if (found := store.runs_of(e.id))}
            paused, why = store.paused()
    except OpsloopError as error:
        missing.append(Missing(STORE, str(error), "what the loop does is not known"))
        return sources
    return replace(sources, episodes=episodes, runs=runs, paused=paused, paused_why=why)


def _with_inbox(settings: Settings, sources: Sources, missing: list[Missing]) -> Sources:
    from opsloop.report.alerts import Missing
    from opsloop.web import messages

    try:
        inbox = messages.read_newest(settings.state / names.INBOX_FILE, 0, MOST_MESSAGES)
    except OpsloopError as error:
        missing.append(Missing("inbox", str(error), "when people were told is not known"))
        return sources
    return replace(sources, inbox=inbox)


def _kinds(config: str) -> dict[str, tuple[str, ...]]:
    import yaml

    from opsloop.report.told import kinds

    try:
        read = yaml.load(config, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError:
        return {}
    return kinds(read) if isinstance(read, dict) else {}


def _failures(prometheus: AlertRules | None, desk: AlertDesk | None) -> dict[str, Failures]:
    """By kind of receiver; of Prometheus what is recent, else Alertmanager's own counters."""
    from opsloop.report.told import Failures

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
