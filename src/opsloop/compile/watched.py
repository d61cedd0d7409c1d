"""How the engine looks again at hosts, certificates and backups: fresh samples, and what is well."""

from __future__ import annotations

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.subject import BACKUP_ALERTS, CERTIFICATE_ALERTS
from opsloop.catalog.units import Duration
from opsloop.compile.alertrule import AlertRule
from opsloop.compile.prometheus import has_targets
from opsloop.compile.rules import UNREAL_FILESYSTEMS
from opsloop.compile.selectors import one_of, quote

ENGINE_JOB = "engine"


def watched_window(catalog: Catalog, rule: AlertRule) -> Duration:
    """How long the condition can outlast its cure: two scrapes of what tells of it, and one that
    times out. The alert's own look-back only bridges what is not read for a while."""
    stack = catalog.stack
    slowest = int(stack.scrape_interval)
    if rule.about == "host":
        given = [catalog.hosts[s].scrape.interval for s in rule.subjects if s in catalog.hosts]
        slowest = max([slowest, *(int(i) for i in given if i is not None)])
    return Duration(2 * slowest + int(stack.effective_scrape_timeout))


def watched_fresh(catalog: Catalog, rule: AlertRule) -> str:
    """Unix time of the newest sample that the condition rests on, per host or declared thing."""
    if rule.about == "host":
        up = f"up{{{one_of(names.SERVICE, list(rule.subjects))}}}"
        return f"min by ({names.SERVICE}, {names.INSTANCE}) (timestamp({up}))"
    job = f'job="{ENGINE_JOB}"' if rule.alert in CERTIFICATE_ALERTS else _hosts(catalog)
    return _named(rule, f"max(timestamp(up{{{job}}} == 1))")


def watched_sli(rule: AlertRule) -> str:
    """A value while it is measured and well enough to say so."""
    if rule.about == "host":
        hosts = one_of(names.SERVICE, list(rule.subjects))
        real = f'node_filesystem_avail_bytes{{{hosts},fstype!~"{UNREAL_FILESYSTEMS}"}}'
        if rule.alert == names.MEMORY_HIGH:
            real = f"node_memory_MemAvailable_bytes{{{hosts}}}"
        by = f"{names.SERVICE}, {names.INSTANCE}"
        if rule.alert != names.MEMORY_HIGH:
            by += f", {names.MOUNTPOINT}"
        return f"min by ({by}) ({real})"
    if rule.alert in BACKUP_ALERTS:
        where = f"{{{names.BACKUP}={quote(rule.labels[names.BACKUP])}}}"
        return _named(rule, f"max({names.BACKUP_SUCCESS}{where}) == 1")
    where = f"{{{names.CERTIFICATE}={quote(rule.labels.get(names.CERTIFICATE, ''))}}}"
    return _named(rule, f"min({names.CERTIFICATE_NOT_AFTER}{where}) - time() > 0")


def _hosts(catalog: Catalog) -> str:
    """node-exporters leave what backups tell; any of them may."""
    jobs = [f"host/{n}" for n, h in sorted(catalog.hosts.items()) if has_targets(h.targets)]
    return one_of("job", ["node-exporter", *jobs])


def _named(rule: AlertRule, expr: str) -> str:
    for label in (names.SERVICE, names.BACKUP, names.CERTIFICATE):
        if label in rule.labels:
            expr = f'label_replace({expr}, "{label}", {quote(rule.labels[label])}, "", "")'
    return expr
