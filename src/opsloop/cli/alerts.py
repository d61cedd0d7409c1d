"""`opsloop alerts`: what fires, what keeps it from people, who was told, what the loop does."""

from __future__ import annotations

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings

EXIT_INCOMPLETE = 1


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
    from opsloop.stack.reach import alertmanager_of, engine_input_of, rules_of
    from opsloop.web.board import gather

    state = settings.state
    engine = engine_input_of(state)
    found = board(gather(state, rules_of(state), alertmanager_of(state), engine))
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
