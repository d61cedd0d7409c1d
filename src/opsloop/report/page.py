"""One run as a page of text that an engineer understands at two in the morning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opsloop.remediation.episode import Episode
from opsloop.remediation.guards import GUARDS, Guard
from opsloop.remediation.plan import Run
from opsloop.report.runs import Story, action_text, plain, what
from opsloop.report.times import clock, length, printable, since, stamp


def _sentence(guard: Guard) -> str:
    """The first sentence of a guard's docstring: what is true when it passes."""
    return (guard.__doc__ or "").partition(". ")[0].splitlines()[0].rstrip(".")


_EVIDENCE: Final = {
    "condition": "the fault is there",
    "value": "value of the alert",
    "sli": "service level",
    "answering": "it answers",
    "fresh_at": "newest sample",
}
_HOLDS: Final = {name: _sentence(guard) for name, guard in GUARDS}
_WORDS: Final = ("summary", "description", "runbook_url", "runbook", "dashboard")
_WIDTH: Final = 20


def page(told: Story) -> str:
    """What fired, what was decided and why, what was done, the evidence, the verdict, what is
    left; then all of it in order of time. Times are UTC."""
    run = told.run
    head = f"Run {run.id}: {run.policy} on {run.service}, attempt {run.attempt + 1}: {run.state}"
    parts = [
        [head, run.reason],
        _fired(told.episode),
        _decided(told),
        _done(told),
        _evidence(run),
        _verdict(told),
        _timeline(told),
    ]
    blocks = ["\n".join(_clean(line) for line in part if line.strip()) for part in parts]
    return "\n\n".join(blocks) + "\n"


def _clean(line: str) -> str:
    """Keeps the indentation; the text itself comes from anywhere."""
    indent = len(line) - len(line.lstrip(" "))
    body = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in line)
    return (" " * indent + body[indent:]).rstrip()


def _fired(episode: Episode) -> list[str]:
    where = f" of {episode.service}" if episode.service else ""
    labels = [f"{k}={v}" for k, v in sorted(episode.labels.items()) if k != "alertname"]
    found = [
        "What fired",
        f"  {episode.alert}{where}, {episode.severity or 'no severity'}, episode {episode.id}",
        f"  fires since {stamp(episode.starts_at)}, received {stamp(episode.first_seen)}",
        f"  labels: {', '.join(labels)}",
    ]
    for name in _WORDS:
        lines = episode.annotations.get(name, "").splitlines()
        found += [f"  {name}: {line}" if n == 0 else f"    {line}" for n, line in enumerate(lines)]
    return found


def guard_rows(told: Story) -> list[tuple[str, str, str]]:
    """(answer, guard, reason) of each guard that was asked, in order."""
    found = []
    for guard in told.decision.get("guards", []):
        name, answer = guard.get("guard", ""), guard.get("answer", "")
        # A guard that passed says what holds: "pass paused" alone would read as its opposite.
        reason = guard.get("reason") or (_HOLDS.get(name, "") if answer == "pass" else "")
        found.append((answer, name, reason))
    return found


def _decided(told: Story) -> list[str]:
    found = ["What was decided", f"  {told.decision.get('reason', 'it is not in the audit')}"]
    for answer, name, reason in guard_rows(told):
        found.append(f"  {answer:>6}  {name}{f': {reason}' if reason else ''}")
    return found


def action_rows(told: Story) -> list[tuple[str, str, str]]:
    """(what, how it ended, what it printed) of each action of the plan, in order."""
    known = {a.index: a for a in told.actions}
    found = []
    for index, action in enumerate(told.run.plan.actions):
        record, output = known.get(index), ""
        if record is None:
            word = "not begun"
        elif record.result is None or record.ended_at is None:
            word = f"began {stamp(record.began_at)}, its end is not known"
        else:
            word = "done" if record.result.ok else "failed"
            word += "" if record.result.started else ", nothing was started"
            word += f", took {length(record.ended_at - record.began_at)}"
            output = record.result.output
        undo = "undo: " if index >= len(told.run.plan.forward) else ""
        found.append((undo + action_text(action), word, output))
    return found


def _done(told: Story) -> list[str]:
    plan = told.run.plan
    found = [f"What was done (plan {plan.hash[:12]}, holds {', '.join(plan.resources)})"]
    for number, (what_, word, output) in enumerate(action_rows(told), 1):
        found.append(f"  {number}. {what_}: {word}")
        found += [f"       {text}" for text in output.splitlines()]
    return found


def evidence_rows(run: Run) -> list[tuple[str, str, str]]:
    """(what, before, after) of what was seen around the actions; empty when nothing was."""
    sides = {k: v for k, v in run.detail.items() if isinstance(v, Mapping)}
    before, after = sides.get("before", {}), sides.get("after", {})
    others = (set(before) | set(after)) - set(_EVIDENCE) - {"reason"}
    return [
        (_EVIDENCE.get(name, name), _value(name, before.get(name)), _value(name, after.get(name)))
        for name in (*_EVIDENCE, *sorted(others), "reason")
        if name in before or name in after
    ]


def _evidence(run: Run) -> list[str]:
    rows = evidence_rows(run)
    if not rows:
        return ["Evidence: none was recorded"]
    found = [f"{'Evidence':<{_WIDTH + 2}}  {'before':<{_WIDTH}}  after"]
    for name, before, after in rows:
        if name != "reason":
            found.append(f"  {name:<{_WIDTH}}  {before:<{_WIDTH}}  {after}")
    for name, before, after in rows:
        if name == "reason":
            sides = (("before", before), ("after", after))
            found += [f"  {side}: {text}" for side, text in sides if text != "-"]
    return found


def _value(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_at") and isinstance(value, (int, float)):
        return clock(value) or "-"
    return printable(plain(value))


def _verdict(told: Story) -> list[str]:
    run, episode = told.run, told.episode
    found = [f"Verdict: {run.state}"]
    if run.good_since is not None:
        found.append(f"  good since {stamp(run.good_since)}")
    if told.escalation is not None:
        found.append(f"  people were told at {stamp(told.escalation.starts_at)}")
    state = f"the episode is {episode.state}"
    if episode.reason:
        state += f" ({episode.reason})"
    if episode.firing:
        found.append(f"  the alert still fires; {state}")
    else:
        found.append(f"  the alert ended {stamp(episode.ended_at)}; {state}")
    return found


def moments(told: Story) -> list[tuple[float, str, str]]:
    """(unix seconds, since the engine received the alert, what) in order of time."""
    begin = told.episode.first_seen
    found = [
        (told.episode.starts_at, "the alert began to fire"),
        (begin, "the engine received it"),
        *((a["at"], what(a)) for a in told.audit),
    ]
    if told.episode.ended_at is not None:
        found.append((told.episode.ended_at, "the alert ended"))
    found.sort(key=lambda m: m[0])
    return [(at, since(at, begin) if at >= begin else "", text) for at, text in found]


def _timeline(told: Story) -> list[str]:
    found = ["Timeline (UTC, and seconds since the engine received the alert)"]
    for at, later, text in moments(told):
        found.append(f"  {(stamp(at) or '')[11:23]}  {later:>10}  {text}")
    return found
