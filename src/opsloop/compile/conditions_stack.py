"""The conditions of the alerts about the stack itself: its parts, its exporters, what they do."""

from __future__ import annotations

from typing import Any, Final

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.conditions import Clause
from opsloop.compile.options import Options
from opsloop.compile.prometheus import has_targets, jobs, up_jobs
from opsloop.compile.selectors import BY_INSTANCE, one_of

PROMETHEUS: Final = "prometheus"
ALERTMANAGER: Final = "alertmanager"
ENGINE: Final = "engine"
EXPORTERS: Final = ("blackbox-exporter", "node-exporter")
WINDOW: Final = Duration(300_000)  # over which what failed is counted
TSDB_WINDOW: Final = Duration(3_600_000)  # the database works at its blocks once in a while
SLOW: Final = 0.8  # share of its time-out that a scrape may take
MISSED: Final = 0.2  # share of a rule group's turns
UNSENT: Final = 0.1  # share of alerts that Alertmanager did not get
UNDELIVERED: Final = 0.01  # share of an integration's notifications
SILENT: Final = Duration(60_000)  # the engine turns each 5 s at least
UNHEARD: Final = Duration(120_000)  # it hears the Watchdog each 10 s

DROPPED_SAMPLES: Final = (
    "prometheus_target_scrapes_sample_duplicate_timestamp_total",
    "prometheus_target_scrapes_sample_out_of_order_total",
    "prometheus_target_scrapes_sample_out_of_bounds_total",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
)
RULE_FAILURES: Final = "prometheus_rule_evaluation_failures_total"
TURNS_MISSED: Final = "prometheus_rule_group_iterations_missed_total"
TURNS: Final = "prometheus_rule_group_iterations_total"
ALERTS_DROPPED: Final = "prometheus_notifications_dropped_total"
ALERTS_SENT: Final = "prometheus_notifications_sent_total"
MESSAGES_FAILED: Final = "alertmanager_notifications_failed_total"
MESSAGES: Final = "alertmanager_notifications_total"
TSDB_FAILURES: Final = (
    "prometheus_tsdb_compactions_failed_total",
    "prometheus_tsdb_reloads_failures_total",
    "prometheus_tsdb_head_truncations_failed_total",
    "prometheus_tsdb_checkpoint_creations_failed_total",
    "prometheus_tsdb_wal_truncations_failed_total",
    "prometheus_tsdb_wal_writes_failed_total",
)
WAL_CORRUPTIONS: Final = "prometheus_tsdb_wal_corruptions_total"
STARTED: Final = "process_start_time_seconds"
RELOADED: Final = {
    PROMETHEUS: "prometheus_config_last_reload_successful",
    ALERTMANAGER: "alertmanager_config_last_reload_successful",
    ENGINE: "opsloop_config_last_reload_successful",
}
LOOP_SILENT: Final = "opsloop_loop_silent_seconds"
WATCHDOG_HEARD: Final = "opsloop_watchdog_timestamp_seconds"
ACTIVE: Final = "opsloop_active"


def exporters(catalog: Catalog) -> list[Clause]:
    """Per target that tells of something else: what it watches is not seen meanwhile."""
    _, databases = up_jobs(catalog)
    hosts = [f"host/{name}" for name, host in catalog.hosts.items() if has_targets(host.targets)]
    return [_up([*EXPORTERS, *databases, *hosts])]


def parts(catalog: Catalog) -> list[Clause]:
    """Per part that has no alert of its own; Prometheus cannot tell of itself."""
    del catalog
    return [_up([ALERTMANAGER])]


def _up(found: list[str]) -> Clause:
    up = f"min by ({BY_INSTANCE}) (up{{{one_of('job', found)}}})"
    return Clause(f"{up} == 0", tuple(sorted(found)))


def engine_down() -> list[Clause]:
    """Also when it is not scraped at all."""
    return [Clause(f"(max(up{_of(ENGINE)}) or vector(0)) == 0", (ENGINE,))]


def engine_stuck() -> list[Clause]:
    """Its loop does not turn; it hears nothing from Alertmanager; it may not act."""
    heard = f"{WATCHDOG_HEARD}{_of(ENGINE)} > 0 or {STARTED}{_of(ENGINE)}"
    silent = f"max by ({BY_INSTANCE}) ({LOOP_SILENT}{_of(ENGINE)}) > {SILENT.seconds:.15g}"
    unheard = f"max by ({BY_INSTANCE}) (time() - ({heard})) > {UNHEARD.seconds:.15g}"
    return [
        Clause(silent, (ENGINE,), SILENT.seconds),
        Clause(unheard, (ENGINE,), UNHEARD.seconds),
        Clause(f"max by ({BY_INSTANCE}) ({ACTIVE}{_of(ENGINE)}) == 0", (ENGINE,)),
    ]


def policy_stopped() -> list[Clause]:
    """Per policy: it failed too often in a row, on a target or everywhere."""
    by = f"{BY_INSTANCE}, {names.BREAKER}"
    return [Clause(f"max by ({by}) ({names.BREAKER_OPEN}{_of(ENGINE)}) > 0", (ENGINE,))]


def scrapes(catalog: Catalog, options: Options) -> list[Clause]:
    """Per target: one that does not answer at all is down, not slow."""
    usual = catalog.stack.effective_scrape_timeout
    by_timeout: dict[Duration, list[str]] = {}
    for job in jobs(catalog, options):
        by_timeout.setdefault(_timeout(job, usual), []).append(job["job_name"])
    by = f"{BY_INSTANCE}, job"
    found = []
    for timeout, named in sorted(by_timeout.items()):
        limit = round(SLOW * timeout.seconds, 6)
        which = f"{{{one_of('job', named)}}}"
        expr = (
            f"max by ({by}) (scrape_duration_seconds{which}) > {limit!r}\n"
            f"and\nmax by ({by}) (up{which}) == 1"
        )
        found.append(Clause(expr, tuple(named), limit))
    return found


def _timeout(job: dict[str, Any], usual: Duration) -> Duration:
    return Duration.parse(job["scrape_timeout"]) if "scrape_timeout" in job else usual


def dropped() -> list[Clause]:
    counted = "\n+\n".join(_increase(m, PROMETHEUS, WINDOW) for m in DROPPED_SAMPLES)
    return [Clause(f"(\n{counted}\n) > 0", (PROMETHEUS,), window=WINDOW)]


def rules_failing() -> list[Clause]:
    failed = _increase(RULE_FAILURES, PROMETHEUS, WINDOW, ", rule_group")
    return [Clause(f"{failed} > 0", (PROMETHEUS,), window=WINDOW)]


def rules_missed() -> list[Clause]:
    return [_share(TURNS_MISSED, TURNS, PROMETHEUS, ", rule_group", MISSED)]


def notifications() -> list[Clause]:
    """From Prometheus to Alertmanager, and from there to people, by integration."""
    return [
        _share(ALERTS_DROPPED, ALERTS_SENT, PROMETHEUS, "", UNSENT),
        _share(MESSAGES_FAILED, MESSAGES, ALERTMANAGER, ", integration", UNDELIVERED),
    ]


def tsdb() -> list[Clause]:
    """What fails while it runs; what was found damaged at its start is told for an hour."""
    failed = "\n+\n".join(_increase(m, PROMETHEUS, TSDB_WINDOW) for m in TSDB_FAILURES)
    young = f"time() - {STARTED}{_of(PROMETHEUS)} < {TSDB_WINDOW.seconds:.15g}"
    damaged = f"{WAL_CORRUPTIONS}{_of(PROMETHEUS)} > 0\nand\n{young}"
    return [
        Clause(f"(\n{failed}\n) > 0", (PROMETHEUS,), window=TSDB_WINDOW),
        Clause(f"max by ({BY_INSTANCE}) (\n{damaged}\n)", (PROMETHEUS,)),
    ]


def config() -> list[Clause]:
    return [
        Clause(f"min by ({BY_INSTANCE}) ({metric}{_of(job)}) == 0", (job,))
        for job, metric in RELOADED.items()
    ]


def _of(job: str) -> str:
    return f'{{job="{job}"}}'


def _increase(metric: str, job: str, window: Duration, by: str = "") -> str:
    return f"sum by ({BY_INSTANCE}{by}) (increase({metric}{_of(job)}[{window}]))"


def _share(failed: str, every: str, job: str, by: str, limit: float) -> Clause:
    bad, total = (_increase(metric, job, WINDOW, by) for metric in (failed, every))
    return Clause(f"{bad}\n/\n{total}\n> {limit!r}", (job,), limit, WINDOW, WINDOW)
