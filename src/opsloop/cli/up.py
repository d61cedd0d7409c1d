"""`opsloop up`: start the stack, or apply a changed catalog to it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.settings import DEFAULT_STATE, Settings

if TYPE_CHECKING:
    from opsloop.stack.native import Applied, Running
    from opsloop.stack.ready import PartStatus

_TITLES = {  # the first is what a person opens first
    "console": "console",
    "prometheus": "Prometheus",
    "alertmanager": "Alertmanager",
    "engine": "engine",
    "inbox": "inbox",
}


@click.command(short_help="Start the stack, or apply a changed catalog to it.")
@with_settings
@click.option(
    "--deadline",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the stack may take to become healthy.",
)
@click.option(
    "--runtime", type=click.Choice(["native"]), default="native", help="What runs the parts."
)
@json_option
def command(settings: Settings, deadline: float, runtime: str, as_json: bool) -> int:
    """Start every part, and end when each is healthy and data flows through them.

    On a running stack it applies what changed in the catalog and restarts nothing else; when
    nothing changed it says so. When a start fails or is interrupted, everything that it
    started is stopped.
    """
    del runtime  # one there is
    running = bring_up(settings, deadline)
    if as_json:
        output.print_json(as_dict(running))
    else:
        tell(running, settings)
    return 0


def bring_up(settings: Settings, deadline_s: float, *, must_run: bool = False) -> Running:
    """`up` (or, with must_run, `reload`) with its progress shown."""
    from opsloop.cli.progress import showing
    from opsloop.stack import native

    with showing() as progress:
        return native.up(settings, os.environ, progress, deadline_s=deadline_s, must_run=must_run)


def tell(running: Running, settings: Settings) -> None:
    """What a person wants to know now: where, the passwords, what is stood in for, what next."""
    for warning in running.warnings:
        output.warn(warning)
    for target in running.flow.others_down:
        output.warn(f"target {target} is down")
    output.say(headline(running.applied, running.seconds))
    for title, address in addresses(running.statuses):
        output.say(f"  {title:<14} {address}")
    password = running.state.secrets / "scrape_password"
    output.say(f"user opsloop, password in {password}")
    if running.vendors.stand_ins:
        output.say(f"the inbox stands in for {', '.join(running.vendors.stand_ins)}")
    if running.vendors.kept:
        output.say(f"kept from an earlier up: {', '.join(running.vendors.kept)}")
    where = state_option(settings)
    slots = any(s.part.process for s in running.statuses)
    first = [f"opsloop drill service-kill{where}"] if slots else []
    rest = [f"opsloop status{where}", f"opsloop down{where}"]
    output.say(f"next: {' | '.join([*first, *rest])}")


def state_option(settings: Settings) -> str:
    """What a further command needs to find this stack, as a shell reads it."""
    state = str(settings.state)
    return "" if state == DEFAULT_STATE else f" --state {shlex.quote(state)}"


def headline(applied: Applied, seconds: float) -> str:
    """What this call did, as one sentence."""
    if applied.fresh:
        return f"the stack is up: all parts are healthy and data flows ({seconds:.1f} s)"
    if applied.nothing:
        return "already up, and nothing changed"
    did = []
    if applied.updated.added:
        did.append(f"added {', '.join(applied.updated.added)}")
    if applied.updated.changed:
        did.append(f"restarted {', '.join(applied.updated.changed)}")
    if applied.updated.removed:
        did.append(f"removed {', '.join(applied.updated.removed)}")
    if applied.reread:
        did.append(f"reloaded {', '.join(applied.reread)}")
    if applied.started:
        did.append(f"started {', '.join(applied.started)}")
    return (
        f"applied: {'; '.join(did) or 'files that nothing reads while it runs'} ({seconds:.1f} s)"
    )


def addresses(statuses: Sequence[PartStatus]) -> list[tuple[str, str]]:
    """(name, address) of what a person opens: the stack's pages, and each process's slots."""
    found: dict[str, list[str]] = {}
    for status in statuses:
        part = status.part
        if part.name in _TITLES:
            found[_TITLES[part.name]] = [f"http://{part.address}"]
        elif part.process and part.address and status.health == "healthy":
            scheme = "http://" if part.url else ""
            found.setdefault(part.process, []).append(f"{scheme}{part.address}")
    own = [title for title in _TITLES.values() if title in found]
    titles = [*own, *(title for title in found if title not in own)]
    return [(title, ", ".join(found[title])) for title in titles]


def as_dict(running: Running) -> dict[str, object]:
    """The stable form of `opsloop up --json`."""
    applied = running.applied
    return {
        "up": True,
        "fresh": applied.fresh,
        "seconds": round(running.seconds, 2),
        "state": str(running.state.root),
        "port_base": running.info.port_base,
        "addresses": {s.part.name: s.part.address for s in running.statuses if s.part.address},
        "changed_files": list(applied.changes.paths),
        "added": list(applied.updated.added),
        "restarted": list(applied.updated.changed),
        "removed": list(applied.updated.removed),
        "reloaded": list(applied.reread),
        "started": list(applied.started),
        "targets_up": running.flow.targets_up,
        "targets": running.flow.targets,
        "stood_in_for": running.vendors.stand_ins,
        "secrets": str(running.state.secrets),
        "warnings": list(running.warnings),
    }
