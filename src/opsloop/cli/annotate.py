"""`opsloop annotate`: mark a deploy or the like on the charts."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError
from opsloop.settings import Settings

LONGEST = 300  # characters
_RECENT_S = 30 * 86_400.0


@click.command("annotate", short_help="Mark a deploy or the like on the charts.")
@click.argument("text", required=False)
@click.option("--service", default=None, metavar="NAME", help="Only on charts of this service.")
@click.option("--ago", default=None, metavar="AGE", help="It was so long ago, as 5m [now].")
@json_option
@with_settings
def command(
    settings: Settings, text: str | None, service: str | None, ago: str | None, as_json: bool
) -> int:
    """Mark a moment on every chart of the console: `opsloop annotate "deploy v12"`.

    Without TEXT: list the marks of 30 days, the newest first. A mark stands in the audit, so it
    cannot be changed. With --json: {"annotations": [{"at", "text", "service", "by"}]}.
    """
    from opsloop.report.times import clock
    from opsloop.store.sqlite import open_existing

    now = time.time()
    with open_existing(settings.state) as store:
        if text is None:
            if ago or service:
                raise ArgumentError(
                    "annotate", "has no text", 'write opsloop annotate "deploy v12"'
                )
            notes = store.notes("annotation", now - _RECENT_S, now)
            if as_json:
                output.print_json({"annotations": [_row(n["at"], n["body"]) for n in notes]})
            elif not notes:
                output.say("no marks in the last 30 days")
            else:
                rows = [_cells(clock(n["at"]), n["body"]) for n in notes]
                output.print_table(("AT (UTC)", "TEXT", "SERVICE", "BY"), rows)
            return 0
        at = now - _age(ago)
        body = {"text": _text(text), "service": service or "", "by": _who()}
        store.note("annotation", body, at)
    if as_json:
        output.print_json({"annotations": [_row(at, body)]})
    else:
        output.say(f"marked at {clock(at)} UTC: {body['text']}")
    return 0


def _text(text: str) -> str:
    line = " ".join(text.split())
    if not line:
        raise ArgumentError("annotate", "the text is empty", 'write opsloop annotate "deploy v12"')
    if len(line) > LONGEST:
        raise ArgumentError("annotate", f"the text has more than {LONGEST} characters")
    return line


def _age(ago: str | None) -> float:
    from opsloop.catalog.units import Duration

    if ago is None:
        return 0.0
    try:
        age = Duration.parse(ago).seconds
    except ValueError as error:
        raise ArgumentError("--ago", str(error), "write it as 5m") from None
    if age > _RECENT_S:
        raise ArgumentError("--ago", f"{ago} is more than 30 days")
    return age


def _who() -> str:
    import getpass

    return os.environ.get("SUDO_USER") or getpass.getuser()


def _row(at: float, body: dict[str, Any]) -> dict[str, Any]:
    from opsloop.report.times import stamp

    return {
        "at": stamp(at),
        "text": body.get("text", ""),
        "service": body.get("service") or None,
        "by": body.get("by", ""),
    }


def _cells(at: str, body: dict[str, Any]) -> tuple[str, ...]:
    from opsloop.report.times import printable

    words = (body.get("text", ""), body.get("service", ""), body.get("by", ""))
    return (at, *(printable(str(w)) for w in words))
