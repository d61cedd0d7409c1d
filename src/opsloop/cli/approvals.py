"""`opsloop approvals`, `approve` and `reject`: what waits for a person."""

from __future__ import annotations

import os
import time

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import Settings

LONGEST_WHY, LONGEST_NAME = 1000, 150


@click.command("approvals", short_help="List the plans that wait for a person.")
@click.option("--all", "every", is_flag=True, help="Also those that were answered or are over.")
@json_option
@with_settings
def command(settings: Settings, every: bool, as_json: bool) -> int:
    """List what policies of mode `approve` want to do, and wait with.

    With --json: {"approvals": [{"id", "episode", "policy", "service", "plan", "plan_hash",
    "state", "asked_at", "expires_at", "approved_by", "why", "answered_at", "ended_at"}]}.
    """
    from opsloop.report import approvals as report
    from opsloop.store.sqlite import open_existing

    with open_existing(settings.state) as store:
        found = store.all_approvals(1000) if every else store.approvals()
    now = time.time()
    if as_json:
        output.print_json({"approvals": report.rows(found, now)})
    elif found:
        output.print_table(report.HEADERS, [report.cells(a, now) for a in found])
    else:
        output.say("no plan waits for a person")
    return 0


def _who(claimed: str | None) -> str:
    """The name that is kept. --by and sudo's SUDO_USER are claims of whoever runs the command, so
    the account that the operating system knows stands beside another name than its own."""
    import pwd

    uid = os.getuid()
    try:
        account = pwd.getpwuid(uid).pw_name
    except KeyError:
        account = f"uid {uid}"
    name = " ".join((claimed or os.environ.get("SUDO_USER") or account).split())[:LONGEST_NAME]
    return name if name == account else f"{name} (account {account})"


_ID = click.argument("approval_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
_BY = click.option(
    "--by",
    default=None,
    metavar="NAME",
    help="Who says so [your account]; another name is kept with the account beside it.",
)


@click.command("approve", short_help="Let the loop do a plan that waits, once.")
@_ID
@click.option("--why", default="", metavar="TEXT", help="The reason, kept with the run.")
@_BY
@json_option
@with_settings
def approve(settings: Settings, approval_id: int, why: str, by: str | None, as_json: bool) -> int:
    """Approve the plan that was shown under this ID: it is done once, within seconds.

    When the world has changed since, so that another plan would be made, nothing is done and the
    new plan waits under a new ID. All guards are asked again before it begins. With --json: the
    approval as in `approvals --json`.
    """
    return _answer(settings, approval_id, by, why, agreed=True, as_json=as_json)


@click.command("reject", short_help="Forbid a plan that waits.")
@_ID
@click.option("--why", default="", metavar="TEXT", help="The reason, kept with the episode.")
@_BY
@json_option
@with_settings
def reject(settings: Settings, approval_id: int, why: str, by: str | None, as_json: bool) -> int:
    """Reject the plan: the loop leaves this episode to people and does not ask again.

    With --json: the approval as in `approvals --json`.
    """
    return _answer(settings, approval_id, by, why, agreed=False, as_json=as_json)


def _answer(
    settings: Settings, approval_id: int, by: str | None, why: str, *, agreed: bool, as_json: bool
) -> int:
    from opsloop.remediation.ladder import describe
    from opsloop.report import approvals as report
    from opsloop.store.sqlite import open_existing

    who = _who(by)
    reason = " ".join(why.split())[:LONGEST_WHY]
    now = time.time()
    with open_existing(settings.state) as store:
        found = store.answer_approval(approval_id, who, reason, now, agreed=agreed)
        paused, _ = store.paused()
    if as_json:
        output.print_json(report.row(found, now))
        return 0
    what = describe(found.plan)
    output.say(f"{who} {'approved' if agreed else 'rejected'}: {what}")
    if agreed and paused:
        output.warn("the loop is paused: nothing begins until `opsloop resume`")
    return 0
