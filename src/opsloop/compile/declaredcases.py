"""The cases of alerts about what is declared one by one: probes, backups and certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile import testseries
from opsloop.compile.gaugecases import (
    Aging,
    Gauge,
    absence_cases,
    aging_cases,
    gauge_cases,
)
from opsloop.compile.testseries import INSTANCE_A, STRANGER, Case, Labels, Line, Subject, never


def _where(s: Subject, backup: str | None = None) -> Labels:
    """node-exporter of whatever machine reads them."""
    mine = {**s.target, names.INSTANCE: INSTANCE_A, "job": "node-exporter"}
    return {**mine, names.BACKUP: backup or s.rule.part}


def _probe(s: Subject) -> Iterator[Case]:
    def lines(values: str, probe: str = s.rule.part.removeprefix("probe.")) -> list[Line]:
        where = {**s.target, names.INSTANCE: INSTANCE_A, "job": f"probe/{probe}"}
        return [Line.of("probe_success", {**where, names.PROBE: probe}, values)]

    yield from gauge_cases(s, Gauge(0, 1, 0.0, lines, s.kept, lines("0x60", STRANGER)))


def _failed(s: Subject) -> Iterator[Case]:
    """The last result counts for a while after a scrape that failed."""

    def lines(values: str, backup: str | None = None) -> list[Line]:
        return [Line.of(names.BACKUP_SUCCESS, _where(s, backup), values)]

    strangers = lines("1x200", STRANGER)
    gauge = Gauge(0, 1, 0.0, lines, s.kept, strangers)
    yield from (case for case in gauge_cases(s, gauge) if case.name != "the series end")
    each, seen = int(testseries.rhythm(s)[0]), int(s.clause.window)
    tick = Duration(each * -(-seen // 30 // each))
    while seen % int(tick) == 0:  # no sample lies on the window's edge
        tick = Duration(int(tick) + each)
    ticks, held = testseries.ticks_in(s.rule.for_, tick), seen // int(tick)
    bad = ticks + 2
    gone = f"1x2 0x{bad - 1} stale _x{held + 6}"
    holds = [0.0 if 3 <= at < 3 + bad + held else None for at in range(bad + held + 8)]
    yield Case("goes on when the series end, and is forgotten after a while", tick, s.kept,
               [*lines(gone), *strangers], testseries.turns(holds, ticks))  # fmt: skip
    lost = f"1x2 0x{bad - 1} stale 0x3 1x3"
    holds = [0.0 if 3 <= at < 3 + bad + 5 else None for at in range(bad + 12)]
    yield Case("goes on after a lost scrape (restart of node-exporter), and resolves", tick, s.kept,
               [*lines(lost), *strangers], testseries.turns(holds, ticks))  # fmt: skip


def _stale(s: Subject) -> Iterator[Case]:
    limit = s.clause.threshold
    tick = Duration.of(max(1, min(600, limit // 20)))

    def lines(values: str, backup: str | None = None, success: int = 1) -> list[Line]:
        where = _where(s, backup)
        return [
            Line.of(names.BACKUP_LAST_SUCCESS, where, values),
            Line.of(names.BACKUP_SUCCESS, where, f"{success}x90"),
        ]

    long_ago = testseries.number(-9 * limit) + "x90"
    later = testseries.number(99 * limit) + "x90"
    yield from aging_cases(s, Aging(limit, 1, tick, lines, lines(later, STRANGER)))
    yield Case("is left to BackupFailed", tick, s.kept, lines(long_ago, success=0), never(20))


def _missing(s: Subject) -> Iterator[Case]:
    def lines(values: str, backup: str | None = None) -> list[Line]:
        return [Line.of(names.BACKUP_SUCCESS, _where(s, backup), values)]

    others = [b for b in (*s.catalog.backups, STRANGER) if b != s.rule.part]
    there = [line for backup in others for line in lines("1x200", backup)]
    yield from absence_cases(s, lines, strangers=there)


def _expiry(s: Subject, values: str, part: str | None = None) -> list[Line]:
    """When it is valid until, as blackbox-exporter or the engine says it."""
    kind, _, name = (part or s.rule.part).rpartition(".")
    mine = {**s.target, names.INSTANCE: INSTANCE_A}
    if kind == "probe":
        labels = {**mine, "job": f"probe/{name}", "probe": name}
        return [Line.of("probe_ssl_earliest_cert_expiry", labels, values)]
    labels = {**mine, "job": "engine", names.CERTIFICATE: name}
    return [Line.of(names.CERTIFICATE_NOT_AFTER, labels, values)]


def _expiring(s: Subject) -> Iterator[Case]:
    limit = s.clause.threshold
    tick = Duration(int(s.clause.window) // 24 * 10)  # does not divide it
    stranger = f"probe.{STRANGER}" if s.rule.part.startswith("probe.") else STRANGER
    expired = _expiry(s, "0x60", stranger)
    yield from aging_cases(s, Aging(limit, -1, tick, lambda values: _expiry(s, values), expired))
    # Read once, then not: it counts for as long as its window.
    wait = testseries.ticks_in(s.rule.for_, tick)
    seen = int(s.clause.window) // int(tick)
    last = wait + 2
    holds = [limit / 2 - at * tick.seconds if at <= last + seen else None for at in range(last + 9)]
    values = f"{testseries.number(limit / 2)}x{last} stale _x5"
    checks = testseries.turns(holds, wait)
    yield Case("is remembered for a while", tick, s.kept, _expiry(s, values), checks)


def _unreadable(s: Subject) -> Iterator[Case]:
    probes = [f"probe.{name}" for name, p in s.catalog.probes.items() if p.shows_certificate]
    others = [p for p in (*probes, *s.catalog.certificates, STRANGER) if p != s.rule.part]
    there = [line for part in others for line in _expiry(s, "1x200", part)]
    yield from absence_cases(s, lambda values: _expiry(s, values), s.clause.window, there)


CASES: Mapping[str, Callable[[Subject], Iterator[Case]]] = {
    names.PROBE_FAILING: _probe,
    names.BACKUP_FAILED: _failed,
    names.BACKUP_STALE: _stale,
    names.BACKUP_MISSING: _missing,
    names.CERTIFICATE_EXPIRING: _expiring,
    names.CERTIFICATE_UNREADABLE: _unreadable,
}
