"""`opsloop inbox`: what people would have been sent where no Slack or PagerDuty is configured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from opsloop import names
from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError, NotRunning
from opsloop.settings import Ports, Settings

if TYPE_CHECKING:
    from opsloop.web.messages import Message

_POLL_S = 0.5
_MOST = 1000


@click.group(
    "inbox", invoke_without_command=True, short_help="Show what people would have been sent."
)
@click.option("--since", type=click.IntRange(min=0), default=0, metavar="ID", help="Only newer.")
@click.option("-n", "--limit", type=click.IntRange(1, _MOST), default=100, help="At most so many.")
@click.option("-f", "--follow", is_flag=True, help="Go on and show what comes, until Ctrl-C.")
@json_option
@with_settings
@click.pass_context
def command(
    context: click.Context, settings: Settings, since: int, limit: int, follow: bool, as_json: bool
) -> int:
    """List the newest messages to Slack, PagerDuty and webhooks, oldest first.

    With --json: {"messages": [{"id", "received_at", "vendor", "path", "accepted", "reason",
    "status", "title", "body"}]}; with --follow one object a line.
    """
    context.obj = settings
    if context.invoked_subcommand:
        return 0
    from opsloop.web import messages

    path = settings.state / names.INBOX_FILE
    if not path.exists() and not follow:
        if not (settings.state / "stack.json").exists():
            raise NotRunning(str(settings.state), "holds no stack", "start one with `opsloop up`")
        found: list[Message] = []
    else:
        found = messages.read_newest(path, since, limit)
    if follow:
        last = found[-1].id if found else since
        for message in found:
            _line(message, as_json)
        while True:
            for message in messages.read(path, last, _MOST):
                _line(message, as_json)
                last = message.id
            time.sleep(_POLL_S)
    if as_json:
        output.print_json({"messages": [m.as_json() for m in found]})
    elif not found:
        output.say("nothing yet: nobody was told anything")
    else:
        output.print_table(
            ["id", "received", "to", "status", "title"],
            [(m.id, _when(m.received_at), m.vendor, _status(m), m.title) for m in found],
        )
    return 0


@command.command("misbehave", short_help="Let a vendor fail on purpose.")
@click.argument("vendor", type=click.Choice(["slack", "pagerduty", "webhook"]))
@click.argument("how", metavar="STATUS|hang")
@click.option(
    "--for",
    "times",
    type=click.IntRange(0, 100_000),
    default=1,
    metavar="N",
    help="For so many messages; 0 ends it.",
)
@click.pass_context
def misbehave(context: click.Context, vendor: str, how: str, times: int) -> int:
    """Let a vendor fail on purpose, to see what Alertmanager does then: nothing may be lost.

    HOW is the status to answer with, as 500, 429 or 404, or `hang`: no answer at all.

    \b
    opsloop inbox misbehave slack 500 --for 3
    """
    from opsloop.drivers import inbox
    from opsloop.stack.state import StateFolder

    settings: Settings = context.obj
    if how != "hang" and not (how.isdecimal() and 200 <= int(how) <= 599):
        raise ArgumentError("HOW", f"{how!r} is no status in 200..599, nor hang", "write 500")
    state = StateFolder(settings.state)
    info = state.read()
    if info is None:
        raise NotRunning(str(settings.state), "holds no stack", "start one with `opsloop up`")
    token = state.secrets / names.SECRET_FAULT_TOKEN
    try:
        secret = token.read_text().strip()
    except OSError as error:
        raise NotRunning(str(token), f"{error.strerror}", "run `opsloop up`") from error
    inbox.misbehave(Ports(info.port_base).inbox, secret, vendor, how, times)
    what = "does not answer" if how == "hang" else f"answers {how} to"
    output.say(f"{vendor}: the inbox {what} the next {times}" if times else f"{vendor}: behaves")
    return 0


def _line(message: Message, as_json: bool) -> None:
    if as_json:
        output.print_json(message.as_json(), one_line=True)
    else:
        when = _when(message.received_at)
        output.say(f"{message.id}  {when}  {message.vendor}  {_status(message)}  {message.title}")


def _status(message: Message) -> str:
    return message.status if message.accepted else f"refused: {message.reason}"


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
