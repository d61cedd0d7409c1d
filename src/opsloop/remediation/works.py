"""The actions of a step that is no restart and no scale: what each is told, and its conditions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from opsloop import names
from opsloop.catalog.steps import Clean, Condition, Playbook, Script, Step, Undo, WebhookCall
from opsloop.remediation.episode import Episode
from opsloop.remediation.plan import Action, ActionKind, CleanRule, Work

CHECK_MARGIN_S: Final = 10.0  # beyond `within`, for the answer itself
TOLD: Final[Mapping[str, str]] = {
    "alertname": "OPSLOOP_ALERT",
    **{
        label: f"OPSLOOP_{label.upper()}"
        for label in (
            names.SERVICE, names.INSTANCE, names.TEAM, names.TIER, names.ENVIRONMENT,
            names.SEVERITY, names.POLICY, names.BACKUP, names.CERTIFICATE, names.MOUNTPOINT,
        )
    },
}  # fmt: skip
"""The labels of an alert that an action is told, and under which name. No others, ever."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@\[\]-]{1,200}")  # of their values


class NotPlain(ValueError):
    """A label that an action would be told holds characters that are not handed on."""


def values_of(episode: Episode) -> tuple[tuple[str, str], ...]:
    """What of the alert an action is told. Raises NotPlain for a value that is not plain."""
    found = []
    for label, name in TOLD.items():
        value = episode.labels.get(label, "")
        if not value:
            continue
        if not _PLAIN.fullmatch(value) or ".." in value:
            raise NotPlain(f"label {label} holds characters that no action is told")
        found.append((name, value))
    return tuple(sorted(found))


def action_id(episode: Episode, policy: str, attempt: int, index: int) -> str:
    """The same for the same action of a run, and of no other: a receiver may rely on it."""
    parts = (episode.fingerprint, f"{episode.starts_at:.3f}", policy, str(attempt), str(index))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def work_of(
    given: Script | Playbook | WebhookCall | Clean | None,
    values: tuple[tuple[str, str], ...],
    command: Sequence[str] = (),
) -> Work:
    """What one kind of step is told; its id comes with its place in the plan."""
    if isinstance(given, Script):
        return Work(
            command=tuple(given.command),
            environment=tuple(sorted(given.environment.items())),
            values=values,
        )
    if isinstance(given, Playbook):
        return Work(
            command=(given.path,),
            environment=tuple(sorted(given.variables.items())),
            values=values,
        )
    if isinstance(given, WebhookCall):
        return Work(
            url=given.url,
            token_file=given.token_file or "",
            ca_file=given.ca_file or "",
            values=values,
        )
    if isinstance(given, Clean):
        rules = tuple(
            CleanRule(r.folder, r.pattern, r.older_than.seconds, r.keep) for r in given.rules
        )
        return Work(rules=rules, values=values)
    return Work(command=tuple(command), values=values)


def given_of(step: Step | Undo) -> Script | Playbook | WebhookCall | Clean | None:
    clean = step.clean if isinstance(step, Step) else None
    return step.script or step.playbook or step.webhook or clean


def checks(conditions: Sequence[Condition], service: str, target: str) -> tuple[Action, ...]:
    """One action for each condition: it looks, and changes nothing."""
    return tuple(
        Action(
            kind="check",
            service=service,
            target=target,
            limit_s=c.within.seconds + CHECK_MARGIN_S,
            work=Work(query=c.query or "", probe=c.probe or "", within_s=c.within.seconds),
        )
        for c in conditions
    )


def text_of(action: Action) -> str:
    """One action in words, as `run fix.sh on api:api-0` or `delete old files in /var/log`."""
    work, target = action.work or Work(), action.target
    texts: dict[ActionKind, str] = {
        "restart": f"restart {target}",
        "start": f"start {target}",
        "scale_out": f"scale {target} out to {action.wanted} instances",
        "scale_in": f"scale {target} in to {action.wanted} instances",
        "script": f"run {' '.join(work.command)} for {target}",
        "playbook": f"run playbook {' '.join(work.command)} for {target}",
        "webhook": f"call {work.url.partition('?')[0]} for {target}",
        "clean": "delete old files in "
        + ", ".join(f"{r.folder} ({r.pattern})" for r in work.rules),
        "renew": f"renew {target} by {' '.join(work.command)}",
        "backup": f"run {target} again: {' '.join(work.command)}",
        "wait": f"wait {action.limit_s:g} s and see",
        "check": f"check that {work.query or work.probe + ' serves'}",
    }
    return texts[action.kind]
