"""The metrics of hosts, databases, probes and the stack's own parts while all is well."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterator, Mapping

from benchmarks.alert_catalog import Target
from benchmarks.alert_world import DAY, HOUR, Shown, Value

DISK = 200e9
MEMORY = 16e9
CERTIFICATE = 60 * DAY  # until a certificate expires
BACKUP_AT = 2 * HOUR  # of the day
RULE_GROUP: Mapping[str, str] = {"rule_group": "rules/alerts.yml;alerts"}
# Counters that stand still while all is well, by the part that shows them.
STILL: Mapping[str, tuple[tuple[str, Mapping[str, str]], ...]] = {
    "prometheus": (
        ("prometheus_rule_evaluation_failures_total", RULE_GROUP),
        (
            "prometheus_rule_group_iterations_missed_total",
            RULE_GROUP,
        ),
        ("prometheus_notifications_dropped_total", {}),
        ("prometheus_notifications_errors_total", {"alertmanager": "http://127.0.0.1:9093"}),
        ("prometheus_tsdb_compactions_failed_total", {}),
        ("prometheus_tsdb_wal_corruptions_total", {}),
        ("prometheus_tsdb_wal_writes_failed_total", {}),
        ("prometheus_tsdb_wal_truncations_failed_total", {}),
        ("prometheus_tsdb_head_truncations_failed_total", {}),
        ("prometheus_tsdb_checkpoint_creations_failed_total", {}),
        ("prometheus_tsdb_checkpoint_deletions_failed_total", {}),
        ("prometheus_tsdb_reloads_failures_total", {}),
        ("prometheus_target_scrapes_exceeded_sample_limit_total", {}),
        ("prometheus_target_scrapes_exceeded_body_size_limit_total", {}),
        ("prometheus_target_scrapes_sample_duplicate_timestamp_total", {}),
        ("prometheus_target_scrapes_sample_out_of_order_total", {}),
        ("prometheus_target_scrapes_sample_out_of_bounds_total", {}),
        ("prometheus_target_scrape_pool_exceeded_label_limits_total", {}),
        ("prometheus_target_scrape_pool_exceeded_target_limit_total", {}),
    ),
    "alertmanager": (
        ("alertmanager_notifications_failed_total", {"integration": "slack"}),
        ("alertmanager_notifications_failed_total", {"integration": "webhook"}),
        ("alertmanager_notifications_failed_total", {"integration": "pagerduty"}),
    ),
}
# Gauges that have one value while all is well.
STEADY: Mapping[str, tuple[tuple[str, float], ...]] = {
    "prometheus": (
        ("process_start_time_seconds", 1.7e9),
        ("prometheus_config_last_reload_successful", 1),
        ("prometheus_notifications_queue_length", 0),
        ("prometheus_notifications_queue_capacity", 10000),
        ("prometheus_notifications_alertmanagers_discovered", 1),
    ),
    "alertmanager": (("alertmanager_config_last_reload_successful", 1),),
    "engine": (
        ("process_start_time_seconds", 1.7e9),
        ("opsloop_config_last_reload_successful", 1),
        ("opsloop_active", 1),
        ("opsloop_paused", 0),
        ("opsloop_loop_silent_seconds", 1),
    ),
}


def metrics_of(target: Target) -> list[Shown]:
    """What this target shows beside `up`."""
    found = [
        Shown(metric, _still, labels, counter=True) for metric, labels in STILL.get(target.job, ())
    ]
    found += [Shown(metric, _always(value)) for metric, value in STEADY.get(target.job, ())]
    if target.kind == "host":
        found += _host(target)
    if target.kind == "database":
        found += _database()
    if target.kind == "probe":
        found += _probe()
    if target.job == "engine":
        found += _engine()
    if target.job == "prometheus":
        found += [
            Shown("prometheus_notifications_sent_total", _often, counter=True),
            Shown("prometheus_rule_group_iterations_total", _often, RULE_GROUP, counter=True),
        ]
    if target.job == "alertmanager":
        found += [
            Shown("alertmanager_notifications_total", _often, {"integration": i}, counter=True)
            for i in ("slack", "webhook", "pagerduty")
        ]
    return found


def _still(_at: float, _chance: random.Random) -> float:
    return 0.0


def _often(_at: float, _chance: random.Random) -> float:
    return 0.1


def _always(value: float) -> Value:
    return lambda _at, _chance: value


def _wave(at: float, hours: float, low: float, high: float, shift: float) -> float:
    return low + (high - low) * (1 + math.sin(2 * math.pi * (at / HOUR / hours + shift))) / 2


def _host(target: Target) -> Iterator[Shown]:
    shift = zlib.crc32(target.service.encode()) % 97 / 97

    def disk(at: float, chance: random.Random) -> float:
        """Logs fill it through the day, until they are rotated at night."""
        grown = (at / DAY + shift) % 1
        return DISK * (1 - (0.45 + 0.2 * grown)) + chance.gauss(0, 2e7)

    def data(at: float, chance: random.Random) -> float:
        """Temporary files, for some hours a day."""
        busy = 0.12 if (at / HOUR + 24 * shift) % 24 < 3 else 0.0
        return DISK * (1 - 0.62 - busy) + chance.gauss(0, 5e7)

    def memory(at: float, chance: random.Random) -> float:
        """A job each night needs much of it for three minutes."""
        night = 0.2 if (at + 1000 * shift) % DAY < 180 else 0.0
        used = _wave(at, 24, 0.55, 0.72, shift) + chance.gauss(0, 0.01) + night
        return MEMORY * (1 - used)

    for mountpoint, device, free in (("/", "/dev/sda1", disk), ("/var", "/dev/sdb1", data)):
        labels = {"mountpoint": mountpoint, "device": device, "fstype": "ext4"}
        yield Shown("node_filesystem_avail_bytes", free, labels)
        yield Shown("node_filesystem_size_bytes", _always(DISK), labels)
        yield Shown("node_filesystem_readonly", _always(0), labels)
    yield Shown("node_memory_MemAvailable_bytes", memory)
    yield Shown("node_memory_MemTotal_bytes", _always(MEMORY))
    yield Shown("node_timex_offset_seconds", lambda _, chance: chance.gauss(0, 0.002))
    yield Shown("node_timex_sync_status", _always(1))
    yield Shown("node_time_seconds", lambda at, chance: at + chance.gauss(0, 0.01))
    if target.job == "node-exporter":
        yield from _backup()


def _backup() -> Iterator[Shown]:
    """Each night, a little later or earlier."""

    def last(at: float, _chance: random.Random) -> float:
        day = math.floor((at - BACKUP_AT - 900) / DAY)
        return day * DAY + BACKUP_AT + zlib.crc32(str(day).encode()) % 900

    labels = {"backup": "orders"}
    yield Shown("opsloop_backup_success", _always(1), labels)
    yield Shown("opsloop_backup_last_success_timestamp_seconds", last, labels)
    yield Shown("opsloop_backup_last_run_timestamp_seconds", last, labels)
    yield Shown("opsloop_backup_duration_seconds", _always(340), labels)
    yield Shown("opsloop_backup_size_bytes", _always(4e9), labels)


def _database() -> Iterator[Shown]:
    def used(at: float, chance: random.Random) -> float:
        """By day more, and now and then many for a moment."""
        burst = 20 if chance.random() < 0.002 else 0
        return max(1.0, round(_wave(at, 24, 15, 55, -0.25) + chance.gauss(0, 3) + burst))

    yield Shown("pg_up", _always(1))
    yield Shown("pg_exporter_last_scrape_error", _always(0))
    yield Shown("pg_stat_database_numbackends", used, {"datname": "orders"})
    yield Shown("pg_stat_activity_count", used, {"datname": "orders", "state": "idle"})
    yield Shown("pg_settings_max_connections", _always(100))


def _probe() -> Iterator[Shown]:
    def expires(at: float, _chance: random.Random) -> float:
        """Renewed each month, a month before its end."""
        return (math.floor(at / (30 * DAY)) + 2) * 30 * DAY

    yield Shown("probe_success", _always(1))
    yield Shown("probe_duration_seconds", lambda _, chance: abs(chance.gauss(0.08, 0.03)))
    yield Shown("probe_ssl_earliest_cert_expiry", expires)


def _engine() -> Iterator[Shown]:
    yield Shown("opsloop_watchdog_timestamp_seconds", lambda at, _: at - 5)
    named = {"certificate": "internal"}
    yield Shown(
        "opsloop_certificate_not_after_timestamp_seconds", lambda at, _: at + CERTIFICATE, named
    )
