"""Labelled incidents: what breaks and when, which alerts must fire, and which else may."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.alert_metrics import DISK, MEMORY
from benchmarks.alert_world import DAY, HOUR, Effect, Segment

MINUTE = 60
BEGIN = 30 * MINUTE  # of every incident, in its segment
AFTER = 30  # minutes that a segment goes on after it
ALL_WINDOWS = 7 * 60  # and one of a service: until the windows of tickets are clean
KNOWN = 4500  # minutes of calm before it: the longest window of a burn rate, and some
START = 1_767_571_200  # 2026-01-05 00:00 UTC, a Monday
MOST_WEEKS = 20
APART = 30 * DAY  # segments do not see each other's past
BURNING = ("SLOBurnRateCritical", "SLOBurnRateHigh", "SLOBudgetExhausted")
SYMPTOMS = ("HighErrorRate", "HighLatency", "SLODataMissing", *BURNING)


@dataclass(frozen=True)
class Incident:
    """`minutes` from its begin to its end. must: (alert, service) pairs. may: alerts besides.

    share: of events that are bad, for alerts on rates. lead: seconds from its begin until what
    another alert looks at is beyond its limit, of that limit and its window (seconds). pages: to
    people, at most. later: alerts of a state that stays, told when it has ended. history: minutes
    of calm that alerts of objectives are shown before it.
    """

    name: str
    minutes: int
    must: tuple[tuple[str, str], ...]
    effects: tuple[Effect, ...]
    may: tuple[str, ...] = ()
    share: float = 1.0
    lead: Callable[[float, float], float] = lambda _limit, _window: 0.0
    hour: int = 11
    pages: int = 1
    later: tuple[str, ...] = ()
    history: int = KNOWN
    after: int = AFTER

    def segment(self, nth: int, seed: int) -> Segment:
        start = START + nth * APART + self.hour * HOUR
        seconds = BEGIN + (self.minutes + self.after) * MINUTE
        return Segment(self.name, start, seconds, self.effects, seed)

    @property
    def end(self) -> float:
        return BEGIN + self.minutes * MINUTE


def _while(
    minutes: float, what: str, job: str, value: float | None = 1.0, **more: object
) -> Effect:
    return Effect(what, job, BEGIN, BEGIN + minutes * MINUTE, value, **more)  # type: ignore[arg-type]


def incidents(known: Iterable[str]) -> Iterator[Incident]:
    """Those whose alerts exist. known: the alerts of the built rules."""
    names = set(known)
    burning = [replace(i, after=ALL_WINDOWS) for i in (*_services(), *_objectives())]
    for incident in (*burning, *_hosts(names), *_stack(names)):
        if all(alert in names for alert, _ in incident.must):
            yield incident


def _services() -> Sequence[Incident]:
    down, errors, slow = "ServiceDown", "HighErrorRate", "HighLatency"
    page = "SLOBurnRateCritical"

    def failing(name: str, service: str, minutes: int, share: float, hour: int = 11) -> Incident:
        return Incident(
            name, minutes, ((errors, service), (page, service)),
            (_while(minutes, "errors", service, share),), BURNING, share, hour=hour,
        )  # fmt: skip

    def lost(share: float, minutes: int) -> tuple[Effect, ...]:
        """What services that need the database answer meanwhile."""
        return tuple(_while(minutes, "errors", s, share) for s in ("api", "checkout", "search"))

    def dead(name: str, service: str, effects: tuple[Effect, ...], hour: int = 11) -> Incident:
        return Incident(name, 12, ((down, service),), effects, SYMPTOMS, hour=hour)

    return (
        dead("an instance dies", "checkout", (_while(12, "down", "checkout", nth=0),)),
        dead("all instances die", "checkout", (_while(12, "down", "checkout"),)),
        dead("an instance hangs", "checkout", (_while(12, "hang", "checkout", nth=1),)),
        dead("an instance dies in an idle night", "search",
             (_while(12, "down", "search", nth=1),), hour=2),
        dead("a slot dies", "api", (_while(12, "down", "api", nth=0),)),
        dead("all slots hang", "api", (_while(12, "hang", "api"),)),
        dead("an instance that dies on its errors", "search",
             (_while(2, "errors", "search", 0.5), _while(12, "down", "search", nth=0))),
        Incident("the database is down", 15, ((down, "orders-db"),),
                 (_while(15, "pg_up", "orders-db", 0.0), *lost(0.8, 15)), SYMPTOMS, pages=2),
        Incident("the database hangs", 15, ((down, "orders-db"),),
                 (_while(15, "hang", "orders-db"), *lost(0.95, 15)),
                 (*SYMPTOMS, "MonitoringDown", "ExporterDown", "ScrapeSlow"), pages=2),
        Incident("the database's machine is lost", 15, ((down, "orders-db"),),
                 (_while(15, "pg_up", "orders-db", 0.0), _while(15, "down", "host/db-1"),
                  *lost(0.8, 15)),
                 (*SYMPTOMS, "MonitoringDown", "ExporterDown", "HostDown"), pages=2),
        failing("a fifth of requests fails", "checkout", 20, 0.2),
        failing("all requests fail", "checkout", 12, 1.0),
        failing("one in eight fails", "search", 30, 0.125),
        failing("a bad release in slots", "api", 15, 0.4),
        failing("half of the requests fail at night", "checkout", 20, 0.5, hour=1),
        failing("requests fail in the morning", "search", 20, 0.3, hour=7),
        Incident("half of the requests are slow", 20, ((slow, "checkout"),),
                 (_while(20, "slow", "checkout", 0.5),), BURNING, 0.5),
        Incident("an eighth of requests in slots is slow", 20, ((slow, "api"),),
                 (_while(20, "slow", "api", 0.125),), BURNING, 0.125),
        Incident("too much load", 25, ((slow, "search"),),
                 (_while(25, "traffic", "search", 4.0), _while(25, "slow", "search", 0.35)),
                 BURNING, 0.35),
    )  # fmt: skip


def _objectives() -> Sequence[Incident]:
    return (
        Incident("3% of requests fail for hours", 120, (("SLOBurnRateCritical", "checkout"),),
                 (_while(120, "errors", "checkout", 0.03),), BURNING, 0.03),
        Incident("0.5% of requests fail for 16 hours", 960, (("SLOBurnRateHigh", "api"),),
                 (_while(960, "errors", "api", 0.005),), BURNING, 0.005),
        Incident("a month's budget is spent in hours", 300, (("SLOBudgetExhausted", "checkout"),),
                 (_while(300, "errors", "checkout", 0.04),), (*BURNING, "HighErrorRate"), 0.04,
                 later=("SLOBudgetExhausted",), history=7500),
        Incident("a service's metrics are gone", 30, (("SLODataMissing", "search"),),
                 (_while(30, "down", "search"),), ("ServiceDown", *BURNING)),
    )  # fmt: skip


def _hosts(names: set[str]) -> Sequence[Incident]:
    exporter = "ExporterDown" if "ExporterDown" in names else "MonitoringDown"
    free, var = "node_filesystem_avail_bytes", {"mountpoint": "/var"}
    pace = 0.017 * DISK / HOUR  # full within a day, from a third free
    first, last = 0.38 * DISK, 0.38 * DISK - pace * 7.5 * HOUR
    filling = Effect(free, "host/web-1", -2 * HOUR, 5.5 * HOUR, first, last, labels=var)
    return (
        Incident("a file system is nearly full", 40, (("DiskFull", "web-1"),),
                 (_while(40, free, "host/web-1", 0.08 * DISK, labels=var),), ("DiskWillFill",)),
        Incident("a file system fills within the hour", 40, (("DiskFull", "db-1"),),
                 (_while(40, free, "host/db-1", 0.3 * DISK, to=0.0, labels=var),),
                 ("DiskWillFill",),
                 lead=lambda limit, _: (limit - 0.7) / 0.3 * 40 * MINUTE),
        # A pace is known when the disk was seen for half of the time that it is measured over.
        Incident("a file system will be full tomorrow", 300, (("DiskWillFill", "web-1"),),
                 (filling,), lead=lambda _, window: window / 2 - BEGIN),
        Incident("memory is used up", 20, (("MemoryHigh", "local"),),
                 (_while(20, "node_memory_MemAvailable_bytes", "node-exporter", 0.05 * MEMORY),)),
        Incident("a clock is wrong", 30, (("ClockSkew", "db-1"),),
                 (_while(30, "node_timex_offset_seconds", "host/db-1", 30.0),)),
        Incident("a host's exporter is down", 20, ((exporter, "web-1"),),
                 (_while(20, "down", "host/web-1"),), ("ScrapeSlow",)),
        Incident("a service's machine is lost", 20, (("HostDown", "web-1"),),
                 (_while(20, "down", "host/web-1"), _while(20, "down", "checkout", nth=0)),
                 ("ServiceDown", exporter, *SYMPTOMS)),
        Incident("a database's exporter is down", 20, ((exporter, "orders-db"),),
                 (_while(20, "down", "orders-db"),)),
        Incident("the prober is down", 20, ((exporter, "blackbox-exporter"),),
                 (_while(20, "down", "blackbox-exporter"), _while(20, "down", "probe/front")),
                 ("CertificateUnreadable",)),
        Incident("a probe fails", 20, (("ProbeFailing", "checkout"),),
                 (_while(20, "probe_success", "probe/front", 0.0),)),
        Incident("connections run out", 20, (("ConnectionsHigh", "orders-db"),),
                 (_while(20, "pg_stat_database_numbackends", "orders-db", 93.0),)),
        Incident("a certificate runs out", 180, (("CertificateExpiring", "checkout"),),
                 (_while(180, "probe_ssl_earliest_cert_expiry", "probe/front", float(START)),)),
        Incident("a certificate's file is gone", 60, (("CertificateUnreadable", "internal"),),
                 (_while(60, "opsloop_certificate_not_after_timestamp_seconds", "engine", None),),
                 lead=lambda _, window: window),
        Incident("a backup fails", 60, (("BackupFailed", "orders-db"),),
                 (_while(60, "opsloop_backup_success", "node-exporter", 0.0),)),
        Incident("a backup does not run", 120, (("BackupStale", "orders-db"),),
                 (_while(120, "opsloop_backup_last_success_timestamp_seconds", "node-exporter",
                         float(START)),)),
        Incident("a backup was never set up", 33 * 60, (("BackupMissing", "orders-db"),),
                 tuple(_while(33 * 60, f"opsloop_backup_{what}", "node-exporter", None)
                       for what in ("success", "last_success_timestamp_seconds"))),
    )  # fmt: skip


def _stack(names: set[str]) -> Sequence[Incident]:
    engine = "EngineDown" if "EngineDown" in names else "MonitoringDown"

    def counted(
        name: str, alert: str, job: str, metric: str, often: float = 0.1, **labels: str
    ) -> Incident:
        """Something that fails so often in a second; a share of all that passes its limit later."""
        return Incident(
            name, 40, ((alert, job),), (_while(40, metric, job, often, labels=labels),),
            lead=lambda limit, window: max(1 / often, limit * window * 0.1 / often),
        )  # fmt: skip

    return (
        Incident("the engine is down", 20, ((engine, "engine"),),
                 (_while(20, "down", "engine"),), ("CertificateUnreadable", "EngineStuck")),
        Incident("the engine hangs", 20, ((engine, "engine"),),
                 (_while(20, "hang", "engine"),),
                 ("CertificateUnreadable", "EngineStuck", "ScrapeSlow")),
        Incident("the engine decides nothing", 20, (("EngineStuck", "engine"),),
                 (_while(20, "opsloop_loop_silent_seconds", "engine", 3600.0),)),
        Incident("alertmanager is down", 20, (("MonitoringDown", "alertmanager"),),
                 (_while(20, "down", "alertmanager"),), ("NotificationsFailing",)),
        Incident("a target answers late", 40, (("ScrapeSlow", "web-1"),),
                 (_while(40, "scrape_duration_seconds", "host/web-1", 9.5),)),
        counted("a target tells samples twice", "SamplesDropped", "prometheus",
                "prometheus_target_scrapes_sample_duplicate_timestamp_total"),
        counted("a rule fails", "RuleEvaluationFailing", "prometheus",
                "prometheus_rule_evaluation_failures_total"),
        counted("rules are too slow", "RuleEvaluationMissed", "prometheus",
                "prometheus_rule_group_iterations_missed_total"),
        counted("no message reaches Slack", "NotificationsFailing", "alertmanager",
                "alertmanager_notifications_failed_total", integration="slack"),
        counted("compactions fail", "TSDBTrouble", "prometheus",
                "prometheus_tsdb_compactions_failed_total", 1 / 60),
        Incident("a configuration is refused", 30, (("ConfigReloadFailed", "prometheus"),),
                 (_while(30, "prometheus_config_last_reload_successful", "prometheus", 0.0),)),
    )  # fmt: skip


def quiet_week(nth: int, seed: int, seldom: int) -> Segment:
    """A week with nothing to tell people: deploys, one-off spikes, restarts of the stack's parts."""
    chance = random.Random(f"{seed} week {nth}")
    effects = [e for day in range(7) for e in _day(day, chance)]
    start = START - (MOST_WEEKS - nth) * 14 * DAY
    return Segment(f"week {nth}", start, 7 * DAY, tuple(effects), seed, seldom)


def _day(day: int, chance: random.Random) -> Iterator[Effect]:
    base = day * DAY
    for service in ("api", "checkout", "search"):
        # One-off spikes: a dependency hiccups, or garbage is collected.
        for what, most in (("errors", 0.15), ("slow", 0.3)):
            at = base + chance.uniform(6, 23) * HOUR
            yield Effect(what, service, at, at + chance.uniform(5, 15), chance.uniform(0.02, most))
        if day < 5:
            yield from _deploy(service, base + chance.uniform(9, 17) * HOUR, chance)
    part = chance.choice(("alertmanager", "engine", "blackbox-exporter", "host/web-1", "host/db-1"))
    at = base + chance.uniform(0, 23) * HOUR
    yield Effect("down", part, at, at + chance.uniform(5, 25))
    if chance.random() < 0.3:  # a machine too busy to evaluate in time, once
        at = base + chance.uniform(0, 23) * HOUR
        metric = "prometheus_rule_group_iterations_missed_total"
        yield Effect(metric, "prometheus", at, at + 60, 1 / 60)


def _deploy(service: str, at: float, chance: random.Random) -> Iterator[Effect]:
    """One instance after the other: away, then slow while it warms up."""
    for nth in range(2):
        away = chance.uniform(5, 25)
        yield Effect("down", service, at, at + away, nth=nth)
        warm = at + away
        yield Effect("slow", service, warm, warm + 30, 0.15, nth=nth)
        yield Effect("errors", service, at, at + 5, 0.02)
        at += away + 60
