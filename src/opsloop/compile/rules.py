"""Recording rules: the signals of services and hosts, vectorised, and the user's own rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.prometheus import labels_of, up_jobs
from opsloop.compile.selectors import (
    BY_INSTANCE,
    BY_SERVICE,
    RECORDED_WINDOW,
    Signal,
    one_of,
    quote,
    scrape_timeout,
    signals,
)

GROUP_SERVICE = "service"
GROUP_HOST = "host"
GROUP_OWN = "own"
HOST_CPU = "host:cpu:ratio"
HOST_MEMORY = "host:memory:ratio"
HOST_DISK = "host:disk:ratio"
# What is no disk of its own, or cannot fill up.
UNREAL_FILESYSTEMS = "autofs|devtmpfs|fuse.*|iso9660|overlay|ramfs|squashfs|tmpfs"


def record_groups(catalog: Catalog) -> list[dict[str, Any]]:
    """The rule groups of recordings; a group without rules is left out."""
    interval = str(catalog.stack.evaluation_interval)
    groups = {
        GROUP_SERVICE: _service_rules(catalog),
        GROUP_HOST: _host_rules(catalog),
        GROUP_OWN: _own_rules(catalog),
    }
    return [
        {"name": name, "interval": interval, "rules": rules}
        for name, rules in groups.items()
        if rules
    ]


def instance_up(catalog: Catalog, services: Iterable[str] | None = None) -> str | None:
    """1 or 0 per (service, instance).

    A database is up when its exporter says so, and not when the exporter waits for it in vain
    until the scrape times out. An exporter that is gone itself says nothing of the database:
    then there is no value (and MonitoringDown fires).
    services: only of these; None: of all. None is returned when none of them is scraped.
    """
    plain, databases = up_jobs(catalog)
    if services is not None:
        wanted = set(services)
        plain = [job for job in plain if job in wanted]
        databases = [job for job in databases if job in wanted]
    parts = []
    if plain:
        parts.append(f"min by ({BY_INSTANCE}) (up{{{one_of('job', plain)}}})")
    if databases:
        parts.append(f"min by ({BY_INSTANCE}) (pg_up{{{one_of('job', databases)}}})")
    timeouts: dict[Duration, list[str]] = {}
    for job in databases:
        timeouts.setdefault(scrape_timeout(catalog, job), []).append(job)
    for timeout, jobs in timeouts.items():
        waited = f"scrape_duration_seconds{{{one_of('job', jobs)}}} > {0.9 * timeout.seconds:.4g}"
        parts.append(f"0 * min by ({BY_INSTANCE}) ({waited})")
    return "\nor\n".join(parts) or None


def disk_used(matchers: str) -> str:
    """Share used by host and mountpoint, as people without root's reserve see it."""
    inside = f'{matchers},fstype!~"{UNREAL_FILESYSTEMS}"'
    by = f"{BY_INSTANCE}, mountpoint"
    return (
        f"max by ({by}) (\n"
        f"  1 - node_filesystem_avail_bytes{{{inside}}} / node_filesystem_size_bytes{{{inside}}}\n)"
    )


def memory_used(matchers: str) -> str:
    """Share of memory that is not available to programs, by host."""
    available = f"node_memory_MemAvailable_bytes{{{matchers}}}"
    return f"max by ({BY_INSTANCE}) (1 - {available} / node_memory_MemTotal_bytes{{{matchers}}})"


def _rule(record: str, expr: str | None, labels: dict[str, str] | None = None) -> list[Any]:
    if not expr:
        return []
    rule: dict[str, Any] = {"record": record, "expr": expr}
    return [rule | ({"labels": labels} if labels else {})]


def _service_rules(catalog: Catalog) -> list[dict[str, Any]]:
    groups = signals(catalog, catalog.services, RECORDED_WINDOW)
    rules = _rule(names.INSTANCE_UP, instance_up(catalog))
    if rules:
        rules += _rule(names.UP_RATIO, f"avg by ({BY_SERVICE}) ({names.INSTANCE_UP})")
    rules += _rule(names.REQUEST_RATE, _any(g.requests() for g in groups))
    rules += _rule(names.ERROR_RATE, _any(_errors(g) for g in groups))
    if any(r["record"] == names.ERROR_RATE for r in rules):
        ratio = f"{names.ERROR_RATE} / ({names.REQUEST_RATE} > 0)"
        rules += _rule(names.ERROR_RATIO, ratio)
    for record, quantile in (
        (names.LATENCY_P50, 0.5),
        (names.LATENCY_P90, 0.9),
        (names.LATENCY_P95, 0.95),
        (names.LATENCY_P99, 0.99),
    ):
        # NaN is no latency: without traffic there is no sample.
        quantiles = [q for g in groups if (q := g.latency(quantile))]
        rules += _rule(record, _any(f"{q} >= 0" for q in quantiles))
    for name in sorted(catalog.services):
        labels = labels_of(catalog, name, catalog.services[name].team, _tier(catalog, name))
        rules += _rule(names.SATURATION, _saturation(catalog, name), labels)
    return rules


def _errors(group: Signal) -> str | None:
    """A service that never failed has no error series: it has an error rate of 0."""
    errors = group.errors()
    if errors is None:
        return None
    requests = f"0 * {names.REQUEST_RATE}{{{one_of(names.SERVICE, group.services)}}}"
    return f"{errors}\nor\n{requests}"


def _any(parts: Iterable[str | None]) -> str:
    return "\nor\n".join(p for p in parts if p)


def _tier(catalog: Catalog, name: str) -> str:
    return str(catalog.services[name].tier)


def _saturation(catalog: Catalog, name: str) -> str | None:
    """The fullest declared signal of a service.

    A query may answer for other services too (they share a library) or have lost its service
    label (a sum): the first are dropped and the second is this service's.
    """
    declared = catalog.services[name].saturation
    if not declared:
        return None
    own = (
        f"label_replace(vector(1), {quote(names.SERVICE)}, {quote(name)}, {quote('')}, {quote('')})"
    )
    parts = []
    for signal in declared:
        named = (
            f"label_replace(\n{signal.query}\n, {quote(names.SERVICE)}, {quote(name)}, "
            f'"{names.SERVICE}", "")'
        )
        top = f"max by ({names.SERVICE}) ({named})"
        parts.append(f'label_replace({top}, "signal", {quote(signal.name)}, "", "")')
    return f"max by ({names.SERVICE}) (\n{_any(parts)}\n)\nand on ({names.SERVICE})\n{own}"


def _host_rules(catalog: Catalog) -> list[dict[str, Any]]:
    if not catalog.hosts:
        return []
    hosts = one_of(names.SERVICE, catalog.hosts)
    idle = f'rate(node_cpu_seconds_total{{{hosts},mode="idle"}}[{_host_window(catalog)}])'
    rules = _rule(HOST_CPU, f"1 - avg by ({BY_INSTANCE}) ({idle})")
    rules += _rule(HOST_MEMORY, memory_used(hosts))
    return rules + _rule(HOST_DISK, disk_used(hosts))


def _host_window(catalog: Catalog) -> Duration:
    intervals = [
        int(h.scrape.interval or catalog.stack.scrape_interval) for h in catalog.hosts.values()
    ]
    return Duration(max(int(RECORDED_WINDOW), 4 * max(intervals)))


def _own_rules(catalog: Catalog) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for record, rule in sorted(catalog.rules.items()):
        found += _rule(record, rule.expr.strip(), dict(sorted(rule.labels.items())))
    return found
