"""The board of alerts as rows for JSON, as lines of a table, and as one sentence."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from opsloop import names
from opsloop.remediation.episode import EpisodeState
from opsloop.report.alerts import BOOKKEEPING, STORE, Board, Held, Row
from opsloop.report.times import clock, length, printable, stamp
from opsloop.report.told import Failures, Told

HEADERS: Final = ("SEV", "ALERT", "SERVICE", "INSTANCE", "STATE", "SINCE", "TOLD", "LOOP")
RECENT: Final = "15 min"  # over which failures of notifications are counted
_COLOURS: Final = {
    "unsent": "red",
    "firing": "yellow",
    "pending": "cyan",
    "quiet": "bright_black",
}


def as_json(board: Board, everything: bool) -> dict[str, Any]:
    """The object of `opsloop alerts --json`; its fields stay. Times are RFC 3339 in UTC."""
    sources = board.sources
    return {
        "summary": sentence(board),
        "complete": not sources.missing,
        "missing": [
            {"part": m.part, "reason": m.reason, "effect": m.effect} for m in sources.missing
        ],
        "alerts": [row(r) for r in board.shown(everything)],
        "failing_receivers": [
            {
                "kind": kind,
                "receivers": sorted(n for n, kinds in sources.kinds.items() if kind in kinds),
                "failed_recently": None if f.recent is None else round(f.recent, 3),
                "failed_total": f.total,
            }
            for kind, f in sorted(board.failing.items())
        ],
        "broken_rules": [{"rule": r.name, "error": r.error} for r in board.broken_rules],
        "paused": sources.paused,
        "paused_why": sources.paused_why,
    }


def row(found: Row) -> dict[str, Any]:
    """One alert of it."""
    labels = found.labels
    return {
        "alert": found.alert,
        "severity": found.severity,
        "service": found.service,
        "instance": found.instance,
        "team": labels.get(names.TEAM),
        "policy": found.policy,
        "state": found.state,
        "since": stamp(found.since),
        "fires_at": stamp(found.fires_at),
        "value": found.value,
        "silenced_by": [
            {"id": s.id, "by": s.created_by, "why": s.comment, "until": stamp(s.ends_at)}
            for s in found.silenced_by
        ],
        "inhibited_by": [
            {
                "fingerprint": h.fingerprint,
                "alert": h.labels.get("alertname"),
                "service": h.labels.get(names.SERVICE),
                "instance": h.labels.get(names.INSTANCE),
            }
            for h in found.inhibited_by
        ],
        "muted_by": list(found.muted_by),
        "told": [
            {
                "receiver": t.receiver,
                "via": t.via,
                "status": t.status,
                "at": stamp(t.at),
                "reason": t.reason,
            }
            for t in found.told
        ],
        "told_after": stamp(found.told_after),
        "loop": _loop_json(found),
        "fingerprint": found.fingerprint,
        "labels": dict(labels),
        "annotations": dict(found.annotations),
    }


def _loop_json(found: Row) -> dict[str, Any] | None:
    if found.episode is None:
        return None
    run = found.run
    return {
        "episode": found.episode.id,
        "state": str(found.episode.state),
        "reason": found.episode.reason,
        "next_decision_at": stamp(found.episode.due_at),
        "run": run.id if run else None,
        "run_state": str(run.state) if run else None,
        "run_reason": run.reason if run else None,
    }


def cells(board: Board, found: Row) -> tuple[str, ...]:
    """A line under HEADERS."""
    now = board.sources.now
    words = (
        found.severity,
        found.alert if names.ORIGINAL not in found.labels else _name(found),
        found.service or "",
        found.instance or "",
        state_text(found, now),
        clock(found.since),
        told_text(board, found),
        loop_text(board, found),
    )
    return tuple(printable(w) for w in words)


def colour(found: Row) -> str:
    if found.state in ("unsent", "firing") and found.severity == "P0":
        return "red"
    return _COLOURS.get(found.state, "default")


def _name(found: Row) -> str:
    """What fires; what the engine posts tells of another alert."""
    original = found.labels.get(names.ORIGINAL)
    return f"{found.alert} ({original})" if original else found.alert


def state_text(found: Row, now: float) -> str:
    """Its state with what keeps it from people."""
    if found.state == "pending" and found.fires_at is not None:
        return f"pending, fires in {length(found.fires_at - now)}"
    if found.state == "unsent":
        return "fires, but Alertmanager does not know it"
    if found.silenced_by:
        first = max(found.silenced_by, key=lambda s: s.ends_at)
        by = f" by {first.created_by}" if first.created_by else ""
        why = f": {first.comment}" if first.comment else ""
        return f"silenced{by} until {clock(first.ends_at)}{why} ({first.id[:8]})"
    if found.inhibited_by:
        return f"inhibited by {', '.join(dict.fromkeys(map(_source, found.inhibited_by)))}"
    if found.muted_by:
        return f"muted in {', '.join(found.muted_by)}"
    return found.state


def _source(held: Held) -> str:
    alert = held.labels.get("alertname")
    if not alert:
        return f"an alert that is gone ({held.fingerprint})"
    where = held.labels.get(names.SERVICE) or held.labels.get(names.INSTANCE)
    return f"{alert} of {where}" if where else alert


def told_text(board: Board, found: Row) -> str:
    """Who was told, and when that is recorded; empty when nobody is to be."""
    if found.state in ("pending", "quiet", "unsent"):
        return ""
    said = [_way(t, board.failing.get(t.via)) for t in found.told if t.status == "told"]
    if found.state != "firing":
        return ", ".join(said)
    now = board.sources.now
    if not said and found.told_after is not None and found.told_after > now:
        return f"in {length(found.told_after - now)}, unless it is healed"
    return ", ".join(_way(t, board.failing.get(t.via)) for t in found.told)


def _way(told: Told, failures: Failures | None) -> str:
    text = {
        "told": f"{told.via} {clock(told.at)}",
        "refused": f"{told.via} REFUSED it: {told.reason}",
        "not yet": f"{told.via} not yet",
    }.get(told.status, f"{told.via} (when is not recorded)")
    if failures is None or told.status == "told":
        return text
    return f"{text}, FAILS ({_count(failures)})"


def failing(board: Board, kind: str, failures: Failures) -> str:
    """A warning about a kind of receiver that fails."""
    receivers = sorted(n for n, kinds in board.sources.kinds.items() if kind in kinds)
    whose = f" ({', '.join(receivers)})" if receivers else ""
    return f"notifications by {kind}{whose} fail: {_count(failures)}; `opsloop logs alertmanager`"


def _count(failures: Failures) -> str:
    if failures.recent is None:
        return f"{failures.total:.0f} since its start"
    return f"{max(1, round(failures.recent))} in {RECENT}"


def loop_text(board: Board, found: Row) -> str:
    """What the loop does about an alert, or why not."""
    episode, run = found.episode, found.run
    if episode is None:
        if found.policy is None or found.alert in names.ENGINE_POSTS:
            return ""
        if found.state in ("pending", "quiet"):
            return f"{found.policy} when it fires"
        if any(m.part == STORE for m in board.sources.missing):
            return "not known"
        return f"{found.policy}: the engine has not received it"
    if found.policy is None and run is None:
        return "" if found.alert in names.ENGINE_POSTS else "no policy"
    about = f"episode {episode.id}"
    if run is not None:
        about += f", run {run.id} {run.state}"
    reason = run.reason if run is not None and run.state.open else episode.reason
    word = {
        EpisodeState.NEW: "waits" if episode.reason else "to be decided",
        EpisodeState.RUNNING: "acts",
        EpisodeState.HEALED: "healed it",
        EpisodeState.ESCALATED: "gave it to people",
        EpisodeState.ASKED: "waits for approval",
        EpisodeState.WATCHED: "watches",
        EpisodeState.CLOSED: "closed it",
    }[episode.state]
    return f"{word}: {reason} ({about})" if reason else f"{word} ({about})"


def sentence(board: Board) -> str:
    """What is going on, in one sentence."""
    rows = [r for r in board.rows if r.alert not in BOOKKEEPING]
    firing = [r for r in rows if r.state in ("firing", "unsent")]
    parts = [_lead(board, firing)] if firing else []
    if len(firing) > 1:
        rest = Counter(r.severity or "other" for r in firing[1:])
        counted = ", ".join(f"{n} {severity}" for severity, n in sorted(rest.items()))
        parts.append(f"{len(firing) - 1} more fire{'s' if len(firing) == 2 else ''} ({counted})")
    states = Counter(r.state for r in rows)
    for state in ("inhibited", "silenced", "muted", "pending"):
        if states[state]:
            verb = "is" if states[state] == 1 else "are"
            parts.append(f"{states[state]} {verb} {state}")
    parts = parts or ["nothing fires"]
    if not firing and states.total() > states["quiet"]:
        parts.insert(0, "nothing fires that people should know of")
    acting = [r for r in rows if r not in firing and r.run is not None and r.run.state.open]
    if acting:  # which keeps them from people meanwhile
        parts.insert(1, f"the loop acts on {_acting(acting)}")
    if board.watchdog_lost:
        parts.append("alerts of Prometheus do not reach Alertmanager")
    if board.failing:
        kinds = ", ".join(sorted(board.failing))
        parts.append(f"notifications by {kinds} fail")
    if board.sources.paused:
        parts.append("the loop is paused")
    if board.sources.missing:
        parts.append("; ".join(f"{m.part} does not answer" for m in board.sources.missing))
    text = printable("; ".join(parts))
    return text[0].upper() + text[1:] + "."


def _acting(rows: list[Row]) -> str:
    first, more = rows[0], len(rows) - 1
    where = first.service or first.instance
    run = f" (run {first.run.id}, {first.run.state})" if first.run else ""
    text = f"{first.severity} {_name(first)}{f' of {where}' if where else ''}{run}"
    return f"{text} and {more} more" if more else text


def _lead(board: Board, firing: list[Row]) -> str:
    worst = firing[0]
    where = worst.service or worst.instance
    text = " ".join(w for w in (worst.severity, _name(worst)) if w)
    text += f" of {where} fires" if where else " fires"
    if worst.since is not None:
        text += f" since {length(board.sources.now - worst.since)}"
    run, episode = worst.run, worst.episode
    if run is not None and run.state.open:
        text += f" and the loop acts on it (run {run.id}, {run.state})"
    elif episode is not None and episode.state is EpisodeState.NEW and episode.reason:
        text += f" and the loop waits ({episode.reason})"
    elif episode is not None and episode.state is EpisodeState.ASKED:
        text += " and the loop waits for approval (`opsloop approvals`)"
    elif episode is not None and episode.state is EpisodeState.ESCALATED:
        text += " and the loop has given it to people"
    return text
