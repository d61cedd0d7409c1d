"""`opsloop silence`: mute alerts for a while; list what is muted, and end it."""

from __future__ import annotations

import getpass
import os
import time
from typing import TYPE_CHECKING, Any

import click

from opsloop import names
from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError, SourceError
from opsloop.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opsloop.drivers.listed import Listed, Matcher, Silence
    from opsloop.drivers.silences import AlertDesk

LONG_S = 86_400.0
LONGEST_S = 366 * 86_400.0
KNOWN_FOR_S = 86_400.0  # a label's values of the last day are those that there are
MOST_SHOWN = 20
MOST_WHY = 1000  # characters


@click.group("silence", invoke_without_command=True, short_help="Mute alerts for a while.")
@json_option
@with_settings
@click.pass_context
def command(context: click.Context, settings: Settings, as_json: bool) -> int:
    """Without a command: list the silences, as `silence list` does.

    A silence binds people and loop: nobody is told of an alert that it mutes, and no policy acts
    on it.

    \b
    opsloop silence add alertname=ServiceDown service=api --for 2h --why "moved to new racks"
    opsloop silence end 1fc6f577
    """
    context.obj = settings
    return 0 if context.invoked_subcommand else _list(settings, ended=False, as_json=as_json)


@command.command("list", short_help="List silences, those in force first.")
@click.option("--ended", is_flag=True, help="Those that ended of late, too.")
@json_option
@with_settings
@click.pass_context
def list_(context: click.Context, settings: Settings, ended: bool, as_json: bool) -> int:
    """List silences, those in force first.

    With --json: {"silences": [{"id", "state", "matchers", "starts_at", "ends_at", "by", "why",
    "mutes"}]}; state is active, pending or expired, mutes how many alerts it mutes now.
    """
    return _list(_settings(context, settings), ended=ended, as_json=as_json)


@command.command("add", short_help="Mute the alerts that match.")
@click.argument("matchers", metavar="MATCHER...", nargs=-1)
@click.option("--for", "length", required=True, metavar="TIME", help="How long, as 30m or 2h.")
@click.option("--why", required=True, metavar="TEXT", help="The reason, shown wherever it matters.")
@click.option("--all", "everything", is_flag=True, help="Allow it to mute every alert.")
@click.option("--long", "allow_long", is_flag=True, help="Allow more than 24 hours.")
@click.option("--dry-run", is_flag=True, help="Show what it would mute, and create nothing.")
@json_option
@with_settings
@click.pass_context
def add(
    context: click.Context,
    settings: Settings,
    matchers: tuple[str, ...],
    length: str,
    why: str,
    everything: bool,
    allow_long: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Mute, from now on, every alert for which all MATCHERs hold.

    A MATCHER is LABEL=VALUE, !=, or =~ and !~ with a regular expression for the whole value
    (RE2, as Alertmanager reads it). --all without one mutes all but the Watchdog. The author is
    $USER. What it mutes now is shown first.

    With --json: {"silence": as in `silence list --json` (null with --dry-run), "mutes":
    [{"alert", "severity", "service", "instance", "policy", "since", "fingerprint"}],
    "loop_bound": [{"alert", "service", "policy"}] (what the loop will not act on; null when the
    stack's catalog cannot be read)}.
    """
    from opsloop.report import silences as report
    from opsloop.stack.reach import alertmanager_of, engine_input_of

    settings = _settings(context, settings)
    seconds = _seconds(length, allow_long)
    why = " ".join(why.split())[:MOST_WHY]
    if not why:
        raise ArgumentError("--why", "is empty", "say why, for who wonders that nobody was told")
    wanted = _wanted(matchers, everything)
    desk = alertmanager_of(settings.state)
    muted = report.worst_first(desk.listed(wanted))
    if not everything and (reason := report.matches_everything(wanted, _known(settings, wanted))):
        raise ArgumentError(
            "this silence",
            f"would mute every alert, or nearly: {reason}",
            "name what it is about, or give --all",
        )
    engine = engine_input_of(settings.state)
    bound = None if engine is None else report.loop_bound(wanted, engine)
    if not as_json:
        _show_muted(muted, bound)
    made = None if dry_run else _create(desk, wanted, seconds, why)
    if as_json:
        output.print_json(
            {
                "silence": None if made is None else report.row(made, len(muted)),
                "mutes": [report.alert_row(a) for a in muted],
                "loop_bound": bound,
            }
        )
    elif made is None:
        output.say("nothing was created: --dry-run")
    else:
        (line,) = [report.cells(made, len(muted), time.time())]
        output.say(
            f"silenced until {line[3]} UTC: {line[2]}; `opsloop silence end {line[0]}` ends it"
        )
    return 0


@command.command("end", short_help="End silences before their time.")
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all-mine", "mine", is_flag=True, help="All that $USER created.")
@json_option
@with_settings
@click.pass_context
def end(
    context: click.Context, settings: Settings, ids: tuple[str, ...], mine: bool, as_json: bool
) -> int:
    """End the silences with these IDs; the start of one is enough where no other starts so.

    All are looked up before one is ended. With --json: {"ended": [as in `silence list --json`]}.
    """
    from opsloop.report import silences as report
    from opsloop.stack.reach import alertmanager_of

    if bool(ids) is mine:
        raise ArgumentError("silence end", "takes IDs or --all-mine", "`opsloop silence` lists")
    desk = alertmanager_of(_settings(context, settings).state)
    known = desk.every_silence()
    if mine:
        author = _author(os.environ)
        chosen = [s for s in known if s.created_by == author and s.state != "expired"]
    else:
        chosen = list({s.id: s for text in ids for s in [_find(text, known)]}.values())
    counts = report.muted_counts(desk.listed())
    for silence in chosen:
        if silence.state != "expired":
            desk.end_silence(silence.id)
    if as_json:
        output.print_json({"ended": [report.row(s, counts.get(s.id, 0)) for s in chosen]})
        return 0
    for silence in chosen:
        word = "had ended already" if silence.state == "expired" else "ended"
        output.say(f"{word}: {silence.id[: report.SHORT_ID]} {report.text_of(silence.matchers)}")
    if not chosen:
        output.say(f"{_author(os.environ)} has no silence in force")
    return 0


def _list(settings: Settings, *, ended: bool, as_json: bool) -> int:
    from opsloop.report import silences as report
    from opsloop.stack.reach import alertmanager_of

    desk = alertmanager_of(settings.state)
    found = [s for s in report.ordered(desk.every_silence()) if ended or s.state != "expired"]
    counts = report.muted_counts(desk.listed()) if found else {}
    if as_json:
        output.print_json({"silences": [report.row(s, counts.get(s.id, 0)) for s in found]})
    elif not found:
        output.say("nothing is silenced" + ("" if ended else "; --ended lists what was"))
    else:
        now = time.time()
        rows = [report.cells(s, counts.get(s.id, 0), now) for s in found]
        output.print_table(report.HEADERS, rows)
    return 0


def _wanted(matchers: Sequence[str], everything: bool) -> list[Matcher]:
    from opsloop.drivers.listed import Matcher

    if matchers:
        return [Matcher.parse(text) for text in matchers]
    if not everything:
        raise ArgumentError("silence", "has no matcher", "give LABEL=VALUE, or --all")
    return [Matcher("alertname", "!=", names.WATCHDOG)]


def _seconds(length: str, allow_long: bool) -> float:
    from opsloop.catalog.units import Duration

    try:
        seconds = Duration.parse(length).seconds
    except ValueError as error:
        raise ArgumentError("--for", str(error)) from None
    if seconds < 1:
        raise ArgumentError("--for", f"{length} is less than a second")
    if seconds > LONGEST_S:
        raise ArgumentError(
            "--for", f"{length} is more than a year", "take the alert out of the catalog instead"
        )
    if seconds > LONG_S and not allow_long:
        raise ArgumentError(
            "--for",
            f"{length} is more than 24 hours, and a forgotten silence hides what breaks",
            "give --long if it is meant so, or declare a maintenance window in the catalog",
        )
    return seconds


def _known(settings: Settings, matchers: Sequence[Matcher]) -> Mapping[str, set[str]]:
    """The values of the matchers' labels; those of Prometheus are missing when it is away."""
    from opsloop.report.silences import ALWAYS_THERE
    from opsloop.stack.reach import rules_of

    found: dict[str, set[str]] = {names.SEVERITY: set(names.SEVERITIES)}
    try:
        prometheus = rules_of(settings.state)
        for label in {m.name for m in matchers} & set(ALWAYS_THERE):
            values = set(prometheus.label_values(label, time.time() - KNOWN_FOR_S))
            if label == "alertname":
                values = {r.name for r in prometheus.rules()} - {names.WATCHDOG}
            found[label] = found.get(label, set()) | values
    except SourceError as error:
        output.warn(f"whether it mutes every alert is judged by its words alone: {error}")
    return found


def _show_muted(muted: Sequence[Listed], bound: list[dict[str, Any]] | None) -> None:
    from opsloop.report import silences as report

    if not muted:
        output.say("of what fires now it mutes nothing")
    else:
        count = len(muted)
        output.say(
            f"it mutes {count} alert{'s' if count != 1 else ''} that fire{'s' * (count == 1)} now:"
        )
        shown = muted[:MOST_SHOWN]
        output.print_table(report.MUTED_HEADERS, [report.alert_cells(a) for a in shown])
        if count > MOST_SHOWN:
            output.say(f"and {count - MOST_SHOWN} more; --json has all")
    if any(a.alert.name == names.WATCHDOG for a in muted):
        output.warn("it mutes the Watchdog: the engine will believe that no alert reaches it")
    if bound is None:
        output.say("the loop is bound by it as well: it does not act on what is silenced")
    elif bound:
        words = list(dict.fromkeys(f"{b['alert']} of {b['service']}" for b in bound))
        more = f" and {len(words) - 5} more" if len(words) > 5 else ""
        output.say(
            f"the loop is bound by it as well: it will not act on {', '.join(words[:5])}{more}"
        )


def _create(desk: AlertDesk, matchers: Sequence[Matcher], seconds: float, why: str) -> Silence:
    from opsloop.drivers.listed import Silence

    now, author = time.time(), _author(os.environ)
    silence_id = desk.silence(matchers, now, now + seconds, author, why)
    return Silence(silence_id, "active", tuple(matchers), why, author, now, now + seconds)


def _author(environ: Mapping[str, str]) -> str:
    """$USER; where there is none, whom the system knows."""
    name = environ.get("USER", "").strip()
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = f"user {os.getuid()}"
    return name


def _find(text: str, known: Sequence[Silence]) -> Silence:
    exact = [s for s in known if s.id == text]
    found = exact or [s for s in known if len(text) >= 4 and s.id.startswith(text)]
    if not found:
        raise ArgumentError(f"silence {text}", "there is none", "`opsloop silence` lists them")
    if len(found) > 1:
        raise ArgumentError(f"silence {text}", f"may be any of {len(found)}", "give more of its ID")
    return found[0]


def _settings(context: click.Context, own: Settings) -> Settings:
    """Options may stand before or behind the subcommand; behind wins."""
    outer: Settings = context.obj
    return own if own.state != Settings().state else outer
