"""The situation: all that a decision may look at, as one value that can be written down."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from opsloop import names
from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.model import Catalog
from opsloop.catalog.policy import Mode, Policy
from opsloop.catalog.subject import Subject, SubjectKind, subject_of
from opsloop.remediation.approval import Approval
from opsloop.remediation.episode import Alert, Episode
from opsloop.remediation.ports import Inventory, PastRun

OWN_ALERTS = frozenset(names.ENGINE_POSTS)
"""Alerts that the engine posts itself: never an episode to act on."""

TELLING_S = 1.0  # from Prometheus through Alertmanager to the engine, generously

Intent = Literal["remedy", "scale_in"]


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What the catalog says of what the episode is about, as far as a decision needs it.

    name: the service, or what stands for one on the alert of a host, certificate or backup.
    wanted: instances declared; health: path that answers 200, empty for a TCP connect;
    stale_after_s: a newest sample older than this is no fresh data. dependencies_speak_s: how
    long after its fault a dependency that is down may still look up.
    """

    name: str
    wanted: int = 1
    depends_on: tuple[str, ...] = ()
    health: str = ""
    stale_after_s: float = 60.0
    dependencies_speak_s: float = 0.0
    kind: SubjectKind = "service"
    subject_name: str = ""  # of a host, certificate or backup
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # step kind -> argv

    @property
    def subject(self) -> Subject:
        return Subject(self.kind, self.subject_name or self.name)


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """Whether Alertmanager mutes the episode's alert now. `known` False: it did not say.

    Inhibition by the engine's own alerts about this episode is left out.
    """

    known: bool = True
    reason: str = ""
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Whether Prometheus, asked just now, says that the fault is there.

    fresh_at: unix time of the newest sample that the answer rests on.
    """

    answer: Literal["yes", "no", "unknown"]
    reason: str = ""
    fresh_at: float | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The maintenance window that holds now. until: unix seconds."""

    name: str
    until: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """An episode of a service that this one depends on, open or ended a short while ago."""

    service: str
    alert: str
    severity: str
    firing: bool
    ended_at: float | None = None

    @property
    def serious(self) -> bool:
        """Whether it means that the service cannot be relied on."""
        return self.severity == "P0" or self.alert == names.SERVICE_DOWN


@dataclass(frozen=True, slots=True)
class Situation:
    """The input of `decide`. Times are unix seconds; `now` is when all of it was read.

    intent: to remedy the episode's fault, or to scale in after one has been quiet.
    history: runs that are open, recent or of this episode, in any order.
    inventory: None when unknown, with the reason. unknown_since: since when something that
    a decision needs could not be read, None while everything can. approval: the newest of the
    episode, open or not.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    now: float
    episode: Episode
    policy_name: str | None
    policy: Policy | None
    mode: Mode
    facts: AlertFacts | None
    service: ServiceFacts | None
    history: tuple[PastRun, ...] = ()
    inventory: Inventory | None = None
    inventory_reason: str = ""
    paused: bool = False
    paused_reason: str = ""
    status: AlertStatus = AlertStatus(known=False, reason="not asked")
    maintenance: Maintenance | None = None
    confirmation: Confirmation = Confirmation("unknown", "not asked")
    troubles: tuple[Trouble, ...] = ()
    unknown_since: float | None = None
    intent: Intent = "remedy"
    approval: Approval | None = None

    def to_json(self) -> str:
        return _adapter().dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Situation:
        """Raises ValueError (pydantic's) that names the field."""
        return _adapter().validate_json(text)

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> Situation:
        return _adapter().validate_python(raw)

    @property
    def own_runs(self) -> list[PastRun]:
        """The runs of this policy on this episode, oldest first."""
        mine = [
            r
            for r in self.history
            if r.episode_id == self.episode.id and r.policy == self.policy_name
        ]
        return sorted(mine, key=lambda r: r.attempt)


@functools.cache
def _adapter() -> TypeAdapter[Situation]:
    return TypeAdapter(Situation)


def subject_facts(given: EngineInput, alert: str, labels: Mapping[str, str]) -> ServiceFacts | None:
    """The catalog's word on what an alert with these labels is about; None when it has none."""
    subject = subject_of(alert, labels)
    if subject is None or subject.kind == "service":
        return service_facts(given, subject.name if subject else None)
    catalog, name = given.catalog, subject.name
    interval, commands = catalog.stack.scrape_interval, dict[str, tuple[str, ...]]()
    if subject.kind == "host":
        host = catalog.hosts.get(name)
        interval = (host.scrape.interval if host else None) or interval
    elif subject.kind == "certificate" and name in catalog.certificates:
        commands = {"renew": tuple(catalog.certificates[name].renew or ())}
    elif subject.kind == "backup" and name in catalog.backups:
        commands = {"backup": tuple(catalog.backups[name].command or ())}
    there: Mapping[str, object] = getattr(catalog, f"{subject.kind}s")
    if name not in there:
        return None
    return ServiceFacts(
        name=labels.get(names.SERVICE) or name,
        stale_after_s=3 * interval.seconds + 5,
        kind=subject.kind,
        subject_name=name,
        commands=commands,
    )


def service_facts(given: EngineInput, service: str | None) -> ServiceFacts | None:
    """The catalog's word on a service; None when it is not in the catalog."""
    catalog = given.catalog
    if service is None or service not in catalog.services:
        return None
    declared = catalog.services[service]
    process = catalog.process_of(service)
    interval = (declared.scrape.interval or catalog.stack.scrape_interval).seconds
    return ServiceFacts(
        name=service,
        wanted=declared.instances.wanted,
        depends_on=tuple(declared.depends_on),
        health=(process.health or "") if process else "",
        stale_after_s=3 * interval + 5,
        dependencies_speak_s=max(
            (_speaks_after(catalog, d) for d in declared.depends_on), default=0.0
        ),
    )


def _speaks_after(catalog: Catalog, service: str) -> float:
    """Seconds within which a service that is down is scraped, evaluated and told of."""
    stack, scrape = catalog.stack, catalog.services[service].scrape
    interval = (scrape.interval or stack.scrape_interval).seconds
    timeout = (scrape.timeout or stack.effective_scrape_timeout).seconds
    return interval + timeout + stack.loop_interval.seconds + TELLING_S


def alert_status(episode: Episode, listed: Sequence[Alert]) -> AlertStatus:
    """What the list of Alertmanager says of an episode's alert.

    An alert that is not listed is not muted: Alertmanager forgets on restart.
    """
    alert = next((a for a in listed if a.fingerprint == episode.fingerprint), None)
    if alert is None:
        return AlertStatus()
    sources = {a.fingerprint: a for a in listed}
    inhibited = tuple(
        _named(sources, fingerprint)
        for fingerprint in alert.inhibited_by
        if not _own_word_about(episode, sources.get(fingerprint))
    )
    return AlertStatus(silenced_by=tuple(alert.silenced_by), inhibited_by=inhibited)


def _named(sources: Mapping[str, Alert], fingerprint: str) -> str:
    source = sources.get(fingerprint)
    return source.name if source is not None and source.name else fingerprint


def _own_word_about(episode: Episode, source: Alert | None) -> bool:
    """Whether `source` is the engine's own alert about this very episode."""
    if source is None or source.name not in OWN_ALERTS:
        return False
    return source.labels.get(names.ORIGINAL) == episode.alert and all(
        source.labels.get(label, "") == episode.labels.get(label, "")
        for label in names.EPISODE_LABELS
    )
