"""`opsloop status`: each part of the stack and its health."""

from __future__ import annotations

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import NotRunning
from opsloop.settings import Settings

EXIT_NOT_HEALTHY = 1


@click.command(short_help="Show each part of the stack and its health.")
@with_settings
@json_option
def command(settings: Settings, as_json: bool) -> int:
    """Show each part: state, pid, uptime, memory (PSS), address; whether data flows; and whether
    the loop is paused.

    Exit code 0 when everything is healthy, 1 when something is not or nothing runs.
    """
    from opsloop.cli.progress import flow_text
    from opsloop.stack import status
    from opsloop.stack.state import StateFolder
    from opsloop.store.sqlite import open_existing

    state = StateFolder(settings.state)
    try:
        report = status.report(state)
    except NotRunning:
        if not as_json:
            raise
        output.print_json({"running": False, "healthy": False, "state": str(state.root)})
        return EXIT_NOT_HEALTHY
    with open_existing(settings.state) as store:
        paused, why = store.paused()
    if as_json:
        output.print_json(report.as_json(state) | {"paused": paused, "paused_why": why})
        return 0 if report.healthy else EXIT_NOT_HEALTHY
    rows = [
        (
            p.status.part.name,
            p.status.health,
            p.status.state.lower(),
            p.status.pid or "",
            _duration(p.uptime_s) if p.status.pid else "",
            f"{p.memory_mib:.0f} MiB" if p.status.pid else "",
            p.status.part.address,
            p.status.detail,
        )
        for p in report.parts
    ]
    output.print_table(
        ("PART", "HEALTH", "STATE", "PID", "UPTIME", "MEMORY", "ADDRESS", "DETAIL"), rows
    )
    output.say(flow_text(report.flow))
    for target in (*report.flow.own_down, *report.flow.others_down):
        output.say(f"down: {target}")
    if paused:
        output.say(f"the loop is paused{f': {why}' if why else ''}; `opsloop resume` ends it")
    output.say(f"{report.flow.firing} alerts firing, {report.memory_mib:.0f} MiB in all")
    return 0 if report.healthy else EXIT_NOT_HEALTHY


def _duration(seconds: float) -> str:
    """`42s`, `3m10s`, `5h02m`, `2d04h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
