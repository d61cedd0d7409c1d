"""The alerts about what the catalog declares one by one: probes, backups and certificates.

Each has a rule of its own that brings all its labels: their series come from wherever the
result is read, and say nothing of the service that they are about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Backup, Catalog, Probe
from opsloop.catalog.subject import subject_of
from opsloop.catalog.units import Duration
from opsloop.compile import alertrule, places, texts
from opsloop.compile.alertrule import SEVERITY, AlertRule
from opsloop.compile.conditions import NO_WINDOW, Clause
from opsloop.compile.options import Options
from opsloop.compile.prometheus import OWN_TEAM, labels_of, service_labels
from opsloop.compile.selectors import quote
from opsloop.compile.wording import Value, Wording

_AGE = Value("humanizeDuration")
STALE_FOR = 900_000  # ms; a run that is a little late ends meanwhile
PROBE_SEEN = Duration(3_600_000)  # a probe that fails now and then forgets no certificate
FILE_SEEN = Duration(900_000)  # an engine or node-exporter that restarts forgets nothing


def declared_rules(catalog: Catalog, options: Options) -> list[AlertRule]:
    """The rules of all probes, backups and certificates."""
    found = [
        rule
        for name, backup in sorted(catalog.backups.items())
        for rule in _backup(catalog, options, name, backup)
    ]
    for name, probe in sorted(catalog.probes.items()):
        if probe.fails_for is not False:
            found.append(_probe(catalog, options, name, probe, probe.fails_for))
    for certificate in _certificates(catalog, options):
        found += _certificate(catalog, options, certificate)
    return found


def _labels(catalog: Catalog, service: str | None, team: str | None, name: str) -> dict[str, str]:
    """Those of its service; where it has none, it stands for itself."""
    if service is None or service not in catalog.services:
        return labels_of(catalog, service or name, team or OWN_TEAM)
    labels = service_labels(catalog, service)
    own = {label: labels[label] for label in names.SERVICE_LABELS}
    return own | ({names.TEAM: team} if team else {})


def _rule(
    catalog: Catalog,
    alert: str,
    expr: str,
    labels: dict[str, str],
    said: dict[str, Wording],
    *,
    part: str,
    threshold: float = 0.0,
    window: Duration = NO_WINDOW,
    least: int = 0,
) -> AlertRule:
    """least: how long it must hold at least, in milliseconds, also where a policy meets it."""
    policy = catalog.policy_for(alert, subject_of(alert, labels))
    said = said | {"remediation": Wording.of(texts.in_words(catalog, policy))}
    return AlertRule(
        shape=alert,
        alert=alert,
        severity=SEVERITY[alert],
        policy=policy,
        scope="service",
        clauses=(Clause(expr, (labels[names.SERVICE],), threshold, window, window),),
        for_=alertrule.wait(catalog, None, least),
        labels={**alertrule.labels(SEVERITY[alert], policy), **labels},
        annotations={k: w.bound(labels) for k, w in said.items()},
        about="declared",
        part=part,
    )


def _backup(catalog: Catalog, options: Options, name: str, backup: Backup) -> Iterator[AlertRule]:
    """At any time at most one of the three fires."""
    labels = {names.BACKUP: name, **_labels(catalog, backup.service, backup.team, name)}
    where = f"{{{names.BACKUP}={quote(name)}}}"
    # A scrape that fails is no news of a backup.
    failed = f"max(last_over_time({names.BACKUP_SUCCESS}{where}[{FILE_SEEN}])) == 0"
    age = f"time() - max(last_over_time({names.BACKUP_LAST_SUCCESS}{where}[{FILE_SEEN}]))"
    stale = f"{age} > {backup.oldest.seconds:.15g}\nunless\n{failed}"
    absent = f"absent({names.BACKUP_SUCCESS}{where})"
    oldest = backup.oldest
    seen = FILE_SEEN
    rules: tuple[tuple[str, str, Wording, Wording, float, int, Duration], ...] = (
        (
            names.BACKUP_FAILED,
            failed,
            Wording.of(f"Backup {name} failed"),
            Wording.of(f"The last run of backup {name} failed; it runs every {backup.every}."),
            0,
            0,
            seen,
        ),
        (
            names.BACKUP_STALE,
            stale,
            Wording.of(f"Backup {name} is ", _AGE, " old"),
            Wording.of(
                f"Backup {name} succeeded last ",
                _AGE,
                f" ago; it should every {backup.every} (limit {oldest}).",
            ),
            oldest.seconds,
            min(STALE_FOR, int(oldest) // 12),
            seen,
        ),
        (
            names.BACKUP_MISSING,
            absent,
            Wording.of(f"Backup {name} left no result"),
            Wording.of(
                f"For {oldest} no result of backup {name} was seen; it runs every {backup.every}."
            ),
            0,
            int(oldest),
            NO_WINDOW,
        ),
    )
    for alert, expr, summary, description, threshold, least, window in rules:
        said = texts.page(
            catalog,
            options,
            alert,
            summary=summary,
            description=description,
            impact="What is lost now cannot be brought back, or only as it was then.",
        )
        yield _rule(
            catalog, alert, expr, labels, said,
            part=name, threshold=threshold, window=window, least=least,
        )  # fmt: skip


def _probe(
    catalog: Catalog, options: Options, name: str, probe: Probe, fails_for: Duration
) -> AlertRule:
    """What is looked at from outside does not answer as it should; the prober itself does."""
    labels = {names.PROBE: name, **_labels(catalog, probe.service, probe.team, name)}
    success = f'probe_success{{job="probe/{name}"}}'
    said = texts.page(
        catalog,
        options,
        names.PROBE_FAILING,
        summary=Wording.of(f"Probe {name} fails"),
        description=Wording.of(
            f"For {fails_for}, {places.with_ports(catalog, options, probe.target)}"
            f" did not answer the probe {name} as it should."
        ),
        impact="Whoever comes this way is not served.",
    )
    # One that fails between two others is a lost packet.
    least = max(int(fails_for), 2 * int(probe.interval or catalog.stack.scrape_interval))
    return _rule(
        catalog, names.PROBE_FAILING, f"max({success}) == 0", labels, said,
        part=f"probe.{name}", least=least,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Certificate:
    """Where an expiry is read (unix seconds), and what people call the certificate.

    seen: for how long its last reading counts; unreadable_for: how long none may be there.
    """

    series: str
    called: str
    where: str
    labels: dict[str, str]
    limit: Duration
    part: str
    seen: Duration
    unreadable_for: int


def _certificates(catalog: Catalog, options: Options) -> Iterator[_Certificate]:
    for name, probe in sorted(catalog.probes.items()):
        if probe.expires_within is False or not probe.shows_certificate:
            continue
        labels = {names.PROBE: name, **_labels(catalog, probe.service, probe.team, name)}
        yield _Certificate(
            series=f'probe_ssl_earliest_cert_expiry{{job="probe/{name}"}}',
            called=f"of probe {name}",
            where=places.with_ports(catalog, options, probe.target),
            labels=labels,
            limit=probe.expires_within,
            part=f"probe.{name}",
            seen=Duration(max(int(PROBE_SEEN), 3 * int(probe.interval or 0))),
            unreadable_for=int(PROBE_SEEN) // 4,
        )
    for name, given in sorted(catalog.certificates.items()):
        labels = {names.CERTIFICATE: name, **_labels(catalog, given.service, given.team, name)}
        yield _Certificate(
            series=f"{names.CERTIFICATE_NOT_AFTER}{{{names.CERTIFICATE}={quote(name)}}}",
            called=name,
            where=given.file,
            labels=labels,
            limit=given.expires_within,
            part=name,
            seen=FILE_SEEN,
            unreadable_for=int(FILE_SEEN) // 3,
        )


def _certificate(catalog: Catalog, options: Options, c: _Certificate) -> Iterator[AlertRule]:
    def said(alert: str, summary: Wording, description: Wording, impact: str) -> dict[str, Wording]:
        return texts.page(
            catalog,
            options,
            alert,
            summary=summary,
            description=description,
            impact=impact,
        )

    yield _rule(
        catalog,
        names.CERTIFICATE_EXPIRING,
        f"min(last_over_time({c.series}[{c.seen}])) - time() < {c.limit.seconds:.15g}",
        c.labels,
        said(
            names.CERTIFICATE_EXPIRING,
            Wording.of(f"Certificate {c.called} has ", _AGE, " left"),
            Wording.of(
                f"The certificate {c.called} ({c.where}) is valid for another ", _AGE,
                f" (limit {c.limit}); below 0 it has expired.",
            ),
            "When it has expired, clients refuse to connect.",
        ),
        part=c.part,
        threshold=c.limit.seconds,
        window=c.seen,
    )  # fmt: skip
    yield _rule(
        catalog,
        names.CERTIFICATE_UNREADABLE,
        f"max(absent_over_time({c.series}[{c.seen}]))",
        c.labels,
        said(
            names.CERTIFICATE_UNREADABLE,
            Wording.of(f"Certificate {c.called} cannot be read"),
            Wording.of(
                f"For {c.seen} nothing could be read of the certificate {c.called} ({c.where}):"
                " it is not there, is no certificate, or is not valid."
            ),
            "Nobody would be told before it expires.",
        ),
        part=c.part,
        window=c.seen,
        least=c.unreadable_for,
    )
