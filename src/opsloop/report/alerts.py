"""What fires and what keeps it from people: Prometheus, Alertmanager, inbox and store, joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.drivers.listed import Listed, Rule, RuleAlert, Silence
from opsloop.remediation.episode import Episode
from opsloop.remediation.maintenance import in_force
from opsloop.remediation.plan import Run
from opsloop.report.told import Failures, Heard, Sent, Told, heard, told

# Worst first: what people should look at, then what they are kept from.
STATES: Final = ("unsent", "firing", "pending", "muted", "inhibited", "silenced", "quiet")
BOOKKEEPING: Final = (names.WATCHDOG, *names.ONLY_INHIBITS)
STORE: Final = "the engine's store"  # as a missing part
UNSENT_AFTER_S: Final = 90.0  # Prometheus tells again each minute: by then it is lost


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that did not answer, and what is not known therefore."""

    part: str
    reason: str
    effect: str


@dataclass(frozen=True, slots=True)
class Sources:
    """All that was read. rules or listed None: that half did not answer. now: unix seconds."""

    now: float
    rules: Sequence[Rule] | None = None
    listed: Sequence[Listed] | None = None
    silences: Sequence[Silence] = ()
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failures: Mapping[str, Failures] = field(default_factory=dict)
    inbox: Sequence[Sent] = ()
    episodes: Sequence[Episode] = ()
    runs: Mapping[int, Run] = field(default_factory=dict)  # the last one, by episode
    paused: bool = False
    paused_why: str = ""
    engine: EngineInput | None = None
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """What inhibits an alert."""

    fingerprint: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One alert. since: when it began to be in its state; fires_at: of a pending one;
    told_after: until then people are not told, while the loop acts. Times are unix seconds."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    since: float | None = None
    fires_at: float | None = None
    value: float | None = None
    fingerprint: str = ""
    silenced_by: tuple[Silence, ...] = ()
    inhibited_by: tuple[Held, ...] = ()
    muted_by: tuple[str, ...] = ()
    told: tuple[Told, ...] = ()
    told_after: float | None = None
    episode: Episode | None = None
    run: Run | None = None

    @property
    def alert(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> str:
        return self.labels.get(names.SEVERITY, "")

    @property
    def service(self) -> str | None:
        return self.labels.get(names.SERVICE)

    @property
    def instance(self) -> str | None:
        return self.labels.get(names.INSTANCE)

    @property
    def policy(self) -> str | None:
        return self.labels.get(names.POLICY)


@dataclass(frozen=True, slots=True)
class Board:
    """Every row, worst first, and what they were made of."""

    rows: tuple[Row, ...]
    sources: Sources

    def shown(self, everything: bool) -> list[Row]:
        """Without bookkeeping and quiet rules, unless asked for."""
        if everything:
            return list(self.rows)
        return [r for r in self.rows if r.alert not in BOOKKEEPING and r.state != "quiet"]

    @property
    def watchdog_lost(self) -> bool:
        """Whether both halves answer, but what always fires does not come through."""
        return any(r.alert == names.WATCHDOG and r.state == "unsent" for r in self.rows)

    @property
    def broken_rules(self) -> list[Rule]:
        return [r for r in self.sources.rules or () if r.error]

    @property
    def failing(self) -> dict[str, Failures]:
        """Kinds of receivers that fail now, or (where Prometheus cannot say) ever did."""
        found = self.sources.failures.items()
        return {k: f for k, f in found if f.now or (f.recent is None and f.total > 0)}


def board(sources: Sources) -> Board:
    """Join the halves: an alert of Prometheus is Alertmanager's when all its labels are there."""
    rest = list(sources.listed or ())
    inbox = heard(sources.inbox)
    rows = []
    for rule in sources.rules or ():
        if not rule.alerts:
            labels = {**_plain(rule.labels), "alertname": rule.name}
            rows.append(Row(labels, {}, "quiet"))
        for alert in rule.alerts:
            found = None if alert.state == "pending" else _take(rest, alert.labels)
            rows.append(_row(sources, inbox, found, rule, alert))
    rows += [_row(sources, inbox, listed, None, None) for listed in rest]
    return Board(tuple(sorted(rows, key=_order)), sources)


def _plain(labels: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in labels.items() if "{{" not in v}


def _order(row: Row) -> tuple[Any, ...]:
    severity = row.severity if row.severity in names.SEVERITIES else "P9"
    # A lost alert is the worst of its severity: nobody hears of it.
    rank = max(STATES.index(row.state), 1)
    where = (row.service or "", row.instance or "")
    return (rank, severity, STATES.index(row.state), row.since or 0.0, row.alert, where)


def _take(rest: list[Listed], labels: Mapping[str, str]) -> Listed | None:
    """Take out of `rest` the alert with these labels and the fewest others."""
    items = labels.items()
    found = [a for a in rest if items <= a.alert.labels.items()]
    if not found:
        return None
    best = min(found, key=lambda a: len(a.alert.labels))
    rest.remove(best)
    return best


def _row(
    sources: Sources,
    inbox: Sequence[Heard],
    listed: Listed | None,
    rule: Rule | None,
    alert: RuleAlert | None,
) -> Row:
    labels = listed.alert.labels if listed else alert.labels if alert else {}
    annotations = listed.alert.annotations if listed else alert.annotations if alert else {}
    fires_at = alert.active_at + rule.for_s if alert and rule else None
    pending = alert is not None and alert.state == "pending"
    since = alert.active_at if alert and pending else fires_at
    if listed is not None:
        since = listed.alert.starts_at
    episode = _episode(sources.episodes, listed, labels)
    silenced, inhibited, muted = _held(sources, listed, labels)
    state = "firing"
    if pending:
        state = "pending"
    elif listed is None:
        lost = sources.listed is not None and sources.now - (since or 0.0) > UNSENT_AFTER_S
        state = "unsent" if lost else "firing"
    elif silenced:
        state = "silenced"
    elif inhibited:
        state = "inhibited"
    elif muted:
        state = "muted"
    return Row(
        labels=labels,
        annotations=annotations,
        state=state,
        since=since,
        fires_at=fires_at if pending else None,
        value=alert.value if alert else None,
        fingerprint=listed.alert.fingerprint if listed else "",
        silenced_by=silenced,
        inhibited_by=inhibited,
        muted_by=muted,
        told=tuple(
            told(labels, since or 0.0, listed.receivers, sources.kinds, inbox) if listed else ()
        ),
        told_after=_told_after(sources.engine, labels, since) if listed else None,
        episode=episode,
        run=sources.runs.get(episode.id) if episode else None,
    )


def _held(
    sources: Sources, listed: Listed | None, labels: Mapping[str, str]
) -> tuple[tuple[Silence, ...], tuple[Held, ...], tuple[str, ...]]:
    """(silences, what inhibits, time intervals) that keep an alert from people."""
    if listed is None:
        return (), (), ()
    known = {s.id: s for s in sources.silences}
    firing = {a.alert.fingerprint: a.alert.labels for a in sources.listed or ()}
    silenced = tuple(
        known.get(i) or Silence(i, "active", (), "", "", 0.0, 0.0) for i in listed.alert.silenced_by
    )
    inhibited = tuple(Held(f, firing.get(f, {})) for f in listed.alert.inhibited_by)
    muted = listed.muted_by
    if not muted and sources.engine is not None:
        # Alertmanager before 0.28 does not tell; the windows are those of the catalog.
        windows = sources.engine.catalog.notifications.maintenance
        window = in_force(windows, labels.get(names.SERVICE), sources.now)
        muted = (window.name,) if window else ()
    return silenced, inhibited, muted


def _episode(
    episodes: Iterable[Episode], listed: Listed | None, labels: Mapping[str, str]
) -> Episode | None:
    if listed is not None:
        same = [e for e in episodes if e.fingerprint == listed.alert.fingerprint]
    else:
        same = [e for e in episodes if labels.items() <= e.labels.items()]
    return max(same, key=lambda e: e.starts_at, default=None)


def _told_after(
    engine: EngineInput | None, labels: Mapping[str, str], since: float | None
) -> float | None:
    """When the grace of an alert that the loop acts on is over."""
    policy = labels.get(names.POLICY)
    if engine is None or since is None or not policy:
        return None
    facts = engine.facts_for(labels.get("alertname", ""), policy)
    return since + facts.grace_s if facts and facts.grace_s else None
