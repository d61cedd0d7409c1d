"""`opsloop replay`: a recorded decision under the catalog of today."""

from __future__ import annotations

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError
from opsloop.settings import Settings


@click.command("replay", short_help="Decide again what was decided, as of today.")
@click.argument("run_id", metavar="[RUN]", required=False, type=click.IntRange(1, 2**63 - 1))
@click.option(
    "--episode",
    type=click.IntRange(1, 2**63 - 1),
    metavar="ID",
    help="The last decision about an episode, also one that did nothing.",
)
@click.option("--as-case", is_flag=True, help="Print a case file of it, for `opsloop policy test`.")
@json_option
@with_settings
def command(
    settings: Settings, run_id: int | None, episode: int | None, as_case: bool, as_json: bool
) -> int:
    """Decide again from the facts that were recorded, with the policies of the catalog now.

    Nothing is done and nobody is asked: it shows what a changed policy would have made of what
    happened. RUN is a number of `opsloop runs`. With --json: {"decided_at", "alert", "service",
    "same", "then": {"kind", "reason", "guards"}, "now": {"kind", "reason", "plan", "guards"}}.
    """
    from opsloop.cli.policy import given
    from opsloop.remediation import replay
    from opsloop.remediation.decide import decide
    from opsloop.report import replay as report
    from opsloop.store.sqlite import open_existing

    if (run_id is None) == (episode is None):
        raise ArgumentError(
            "replay", "takes one RUN, or --episode ID", "`opsloop runs` lists the runs"
        )
    with open_existing(settings.state) as store:
        then = report.recorded(store, run=run_id, episode=episode)
    engine_input, _ = given(settings)
    situation = replay.today(then.situation, engine_input)
    now = decide(situation)
    if as_case:
        name = f"{situation.episode.alert} of {situation.episode.service}, from the audit"
        output.say(replay.as_case(name, situation, now).rstrip("\n"))
    elif as_json:
        output.print_json(report.as_json(then, now))
    else:
        for line in report.lines(then, now):
            output.say(line)
    return 0
