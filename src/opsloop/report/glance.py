"""The first three sentences of the console: what is broken, what it costs, what is being done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from opsloop import names
from opsloop.remediation.approval import Approval
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.ladder import describe
from opsloop.remediation.plan import Run, RunState
from opsloop.report.alert_rows import told_text
from opsloop.report.alerts import BOOKKEEPING, Board, Row
from opsloop.report.runs import action_text
from opsloop.report.slo import Budget, percent, times
from opsloop.report.times import length, printable

State = Literal["healthy", "burning", "healing", "waiting", "blind"]
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the sentences are made of. Times are unix seconds.

    board: as read last, None before the first answer. budgets None: never read. blind: why
    Prometheus does not answer, empty when it does; blind_since: when it answered last.
    last_run: the newest run that ended. mode: of remediation, and objectives: how many, as the
    catalog has them.
    """

    now: float
    board: Board | None = None
    budgets: Sequence[Budget] | None = None
    approvals: Sequence[Approval] = ()
    last_run: Run | None = None
    blind: str = ""
    blind_since: float | None = None
    mode: str = ""
    objectives: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence, and the page that tells more; empty when there is none."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Glance:
    """state: the worst that is true now."""

    state: State
    broken: Line
    cost: Line
    doing: Line

    @property
    def lines(self) -> tuple[Line, Line, Line]:
        return self.broken, self.cost, self.doing


def glance(seen: Seen) -> Glance:
    """The three sentences for what is seen; each says what it does not know."""
    found = troubles(seen.board) if seen.board else []
    waiting = _waiting(seen)
    return Glance(
        _state(seen, found, waiting),
        _broken(seen, found),
        _cost(seen, found),
        _doing(seen, found, waiting),
    )


def troubles(board: Board) -> list[Row]:
    """What is broken: alerts that people hear of, or that only the loop keeps from them.

    The worst first. What the engine posts stands for its original, which is here itself.
    """
    originals = [r for r in board.rows if r.alert not in names.ENGINE_POSTS and _is_broken(r)]
    known = {(r.alert, r.service) for r in originals}
    posts = [
        r
        for r in board.rows
        if r.alert in (names.REMEDIATION_FAILED, names.APPROVAL_NEEDED)
        and r.state in ("firing", "unsent")
        and (r.labels.get(names.ORIGINAL, ""), r.service) not in known
    ]
    return sorted(originals + posts, key=lambda r: (r.severity or "P9", r.since or 0.0))


def _is_broken(row: Row) -> bool:
    if row.alert in BOOKKEEPING:
        return False
    if row.state in ("firing", "unsent"):
        return True
    by_engine = (h.labels.get("alertname") in names.ENGINE_POSTS for h in row.inhibited_by)
    return row.state == "inhibited" and any(by_engine)


def _waiting(seen: Seen) -> list[Approval]:
    return [a for a in seen.approvals if a.open and not a.approved_by and seen.now < a.expires_at]


def _state(seen: Seen, found: Sequence[Row], waiting: Sequence[Approval]) -> State:
    if seen.blind or seen.board is None:
        return "blind"
    if waiting or any(_escalated(r) for r in found):
        return "waiting"
    if any(r.run is not None and r.run.state.open for r in found):
        return "healing"
    if found or any(b.state in ("spent", "burning") for b in seen.budgets or ()):
        return "burning"
    return "healthy"


def _escalated(row: Row) -> bool:
    """Whether the loop gave it to people; its post tells so when its original is gone."""
    if row.alert == names.REMEDIATION_FAILED:
        return True
    return row.episode is not None and row.episode.state is EpisodeState.ESCALATED


# What is broken


def _broken(seen: Seen, found: Sequence[Row]) -> Line:
    if seen.blind or seen.board is None:
        return Line(_unseen(seen, found), "/targets")
    if not found:
        quiet = sum(r.state == "quiet" for r in seen.board.rows)
        pending = [r for r in seen.board.rows if r.state == "pending"]
        if pending:
            soon = "an alert" if len(pending) == 1 else f"{len(pending)} alerts"
            text = f"Nothing is broken; {soon} may fire soon: {_subject(pending[0])}."
            return Line(text, "/alerts")
        are = "is" if quiet == 1 else "are"
        return Line(f"Nothing is broken: {_count(quiet, 'alert rule')} {are} quiet.", "/alerts")
    worst = found[0]
    text = f"{_subject(worst)}{_since(worst.since, seen.now)}"
    if len(found) > 1:
        text += f", and {_count(len(found) - 1, 'more alert')} fire{'s' * (len(found) == 2)}"
    if worst.state == "unsent":
        text += "; Alertmanager does not know it, so nobody is told"
    return Line(f"{text}.", "/alerts")


def _unseen(seen: Seen, found: Sequence[Row]) -> str:
    if seen.board is None and not seen.blind:
        return "What is broken is not known yet: nothing has been read so far."
    since = ""
    if seen.blind_since is not None:
        since = (
            f" since {_moment(seen.blind_since, seen.now)} ({length(seen.now - seen.blind_since)})"
        )
    text = f"Prometheus does not answer{since}, so what is broken now is not known"
    if found:
        return f"{text}; the last that was seen: {_subject(found[0])}."
    return f"{text}; the last that was seen: nothing fired."


def _subject(row: Row) -> str:
    """What an alert says of itself, else its name and place."""
    summary = printable(row.annotations.get("summary", "")).rstrip(".")
    if summary:
        return summary[:200]
    where = row.service or row.instance
    return printable(f"{row.alert} of {where}" if where else row.alert)


def _since(moment: float | None, now: float) -> str:
    if moment is None:
        return ""
    return f", since {_moment(moment, now)} ({length(now - moment)})"


def _moment(at: float, now: float) -> str:
    """`14:02:11 UTC`, with the day when it is not within a day."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%H:%M:%S UTC" if abs(now - at) < _DAY_S else "%d %b %H:%M UTC")


# What it costs


def _cost(seen: Seen, found: Sequence[Row]) -> Line:
    if seen.budgets is None:
        return Line("What it costs is not known: no error budget has been read yet.", "/slo")
    if not seen.budgets:
        if seen.objectives:
            return Line("What it costs is not measured yet: the first budgets come soon.", "/slo")
        return Line("No objective is declared, so no error budget can be spent.", "/slo")
    past = " when Prometheus answered last" if seen.blind else ""
    services = {r.service for r in found}
    hit = [b for b in seen.budgets if b.service in services and b.left is not None]
    burning = [b for b in hit or seen.budgets if b.state in ("spent", "burning")]
    if burning:
        row = max(burning, key=_pace)
        return Line(_spending(row, past), _objective(row))
    if found and not hit:
        named = ", ".join(sorted(s for s in services if s)) or "what is broken"
        return Line(f"No error budget counts {named}, so none is spent by it.", "/slo")
    measured = [b for b in hit or seen.budgets if b.left is not None]
    if not measured:
        return Line("What it costs is not measured yet: the first budgets come soon.", "/slo")
    least = min(measured, key=lambda b: b.left or 0.0)
    lead = "No budget burns faster than it may" if found else "Every objective is within its budget"
    if len(seen.budgets) == 1 and not found:
        lead = "The one objective is within its budget"
    name = f"{least.service}/{least.slo}"
    return Line(
        f"{lead}: {percent(least.left, 1)} of {name} is left{past}.",
        _objective(least),
    )


def _pace(row: Budget) -> tuple[bool, float]:
    return row.left is not None and row.left <= 0, max(row.burn.values(), default=0.0)


def _spending(row: Budget, past: str) -> str:
    name = f"{row.service}/{row.slo}"
    if row.left is not None and row.left <= 0:
        return f"The error budget of {name} ({row.objective} over {row.period}) is spent{past}."
    text = (
        f"It costs {name}: {times(max(row.burn.values(), default=None))} as fast as its budget"
        f" allows, {percent(row.left, 1)} is left{past}"
    )
    if row.spent_in_s is not None:
        text += f", and at this pace nothing in {length(row.spent_in_s)}"
    return f"{text}."


def _objective(row: Budget) -> str:
    return f"/slo/{row.service}/{row.slo}"


# What is being done


def _doing(seen: Seen, found: Sequence[Row], waiting: Sequence[Approval]) -> Line:
    paused = _paused(seen)
    if waiting:
        return Line(f"{paused}{_asking(waiting, seen.now)}", "/runs")
    acting = [r for r in found if r.run is not None and r.run.state.open]
    if acting:
        run = acting[0].run
        if run is not None:
            return Line(f"{paused}{_running(run, acting[0], seen.now)}", f"/runs/{run.id}")
    given = [r for r in found if _escalated(r)]
    if given:
        return Line(f"{paused}{_given(given[0])}", _run_page(given[0]))
    if seen.blind or seen.board is None:
        return Line(
            f"{paused}The loop does not act on what it cannot see; look at Prometheus first"
            " (opsloop logs prometheus).",
            "/targets",
        )
    if found:
        return Line(f"{paused}{_unhandled(seen, found[0])}", "/alerts")
    return Line(f"{paused}{_idle(seen)}", "/runs")


def _paused(seen: Seen) -> str:
    if seen.board is None or not seen.board.sources.paused:
        return ""
    why = printable(seen.board.sources.paused_why)
    return f"The loop is paused{f' ({why})' if why else ''}. "


def _asking(waiting: Sequence[Approval], now: float) -> str:
    first = min(waiting, key=lambda a: a.expires_at)
    more = f" ({len(waiting) - 1} more wait)" if len(waiting) > 1 else ""
    return (
        f"It waits for a person: may the loop {describe(first.plan)}?"
        f" Answer within {length(first.expires_at - now)}{more}."
    )


def _running(run: Run, row: Row, now: float) -> str:
    what = ", ".join(action_text(a) for a in run.plan.actions)
    if run.state is RunState.VERIFYING:
        good = f", good for {length(now - run.good_since)}" if run.good_since else ""
        text = f"The loop did it ({what}) and checks whether it helped{good} (run {run.id})"
    elif run.state is RunState.UNKNOWN:
        text = f"The loop looks whether {what} took effect before it crashed (run {run.id})"
    else:
        began = run.acting_at or run.created_at
        text = f"The loop acts since {length(now - began)}: {what} (run {run.id})"
    if row.told_after is not None and row.told_after > now:
        text += f"; people are told in {length(row.told_after - now)} if it does not help"
    return f"{text}."


def _given(row: Row) -> str:
    reason = printable(row.episode.reason) if row.episode else ""
    told = f": {reason}" if reason else ""
    alert = printable(row.labels.get(names.ORIGINAL, row.alert))
    return f"It waits for a person: the loop could not fix {alert}{told}."


def _run_page(row: Row) -> str:
    return f"/runs/{row.run.id}" if row.run is not None else "/alerts"


def _unhandled(seen: Seen, row: Row) -> str:
    told = told_text(seen.board, row) if seen.board else ""
    people = f"; people were told: {told}" if told else ""
    if row.policy is None:
        return f"Nothing acts on {row.alert} by itself: no policy covers it{people}."
    if row.episode is not None and row.episode.reason:
        return f"The loop waits: {printable(row.episode.reason)}{people}."
    return f"The loop is about to decide on {row.alert} (policy {row.policy}){people}."


def _idle(seen: Seen) -> str:
    modes = {"off": "is off", "dry-run": "only watches (dry-run)", "approve": "asks before it acts"}
    lead = f"The loop {modes.get(seen.mode, 'stands ready')}"
    run = seen.last_run
    if run is None or run.finished_at is None:
        return f"{lead}; it has done nothing yet."
    word = {RunState.VERIFIED: "healed", RunState.FAILED: "could not heal"}.get(
        run.state, "gave up on"
    )
    return (
        f"{lead}; last it {word} {run.service} at {_moment(run.finished_at, seen.now)}"
        f" (run {run.id}, {length(run.finished_at - run.created_at)})."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
