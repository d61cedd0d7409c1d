"""The conditions of the shipped alerts, vectorised over the services or hosts that agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog, Metrics
from opsloop.catalog.units import Duration
from opsloop.compile.prometheus import OWN_JOBS, has_targets, up_jobs
from opsloop.compile.rules import disk_used, instance_up, memory_used
from opsloop.compile.selectors import (
    BY_INSTANCE,
    Signal,
    metrics_of,
    one_of,
    scrape_interval,
    scrape_timeout,
    windows,
)
from opsloop.errors import InputError

_NONE = Duration(0)


@dataclass(frozen=True, slots=True)
class Clause:
    """One expression for those subjects (services or hosts) that share all that is in it.

    window, short: the look-back of the condition; equal where there is no second one.
    sli: has a value for a subject only (ServiceDown) or also (rates) while it is well.
    """

    expr: str
    subjects: tuple[str, ...]
    threshold: float = 0.0
    window: Duration = _NONE
    short: Duration = _NONE
    sli: str = ""
    metrics: Metrics | None = None


def down(catalog: Catalog, services: list[str]) -> list[Clause]:
    """Per instance; the look-back is what passes until a cured instance is seen as up.

    A scrape may be under way when the instance comes back (and time out), the next one sees it.
    """
    watched = [s for s in services if catalog.services[s].alerts.service_down]
    up = instance_up(catalog, watched)
    if up is None:
        return []
    scraped = {job for jobs in up_jobs(catalog) for job in jobs}
    seen = [s for s in watched if s in scraped]
    window = max(
        2 * int(scrape_interval(catalog, s)) + int(scrape_timeout(catalog, s)) for s in seen
    )
    grouped = f"(\n{up}\n)"
    return [
        Clause(
            expr=f"{grouped} == 0",
            subjects=tuple(seen),
            window=Duration(window),
            short=Duration(window),
            sli=f"{grouped} == 1",
        )
    ]


def monitoring(catalog: Catalog) -> list[Clause]:
    """Per target of the stack's own: what it watches is not seen while it does not answer."""
    _, databases = up_jobs(catalog)
    hosts = [f"host/{name}" for name, host in catalog.hosts.items() if has_targets(host.targets)]
    jobs = [*(j for j in OWN_JOBS if j != "prometheus"), *databases, *hosts]
    up = f"min by ({BY_INSTANCE}) (up{{{one_of('job', jobs)}}})"
    return [Clause(f"{up} == 0", tuple(sorted(jobs)))]


def _rate_groups(
    catalog: Catalog, services: list[str], threshold: Callable[[str], float | None]
) -> list[tuple[Signal, float, Duration]]:
    """(signal with the long window, threshold, short window) of services that agree in all."""
    groups: dict[tuple[str, float, int, int], list[str]] = {}
    for name in services:
        limit = threshold(name)
        if limit is None:
            continue
        long, short = windows(catalog, name)
        key = (metrics_of(catalog, name).model_dump_json(), limit, int(long), int(short))
        groups.setdefault(key, []).append(name)
    return [
        (
            Signal(metrics_of(catalog, members[0]), Duration(long), tuple(members)),
            limit,
            Duration(short),
        )
        for (_, limit, long, short), members in groups.items()
    ]


def errors(catalog: Catalog, services: list[str]) -> list[Clause]:
    def threshold(name: str) -> float | None:
        metrics, limit = metrics_of(catalog, name), catalog.services[name].alerts.error_ratio
        if limit is False or not (metrics.requests and metrics.errors):
            return None
        return _below_all(f"services.{name}.alerts.error_ratio", float(limit))

    found = []
    for signal, limit, short in _rate_groups(catalog, services, threshold):
        both = [f"{signal.errors(w)}\n/\n{signal.requests(w)}\n> {limit!r}" for w in (None, short)]
        found.append(
            Clause(
                expr="\nand\n".join(both if short != signal.window else both[:1]),
                subjects=signal.services,
                threshold=limit,
                window=signal.window,
                short=short,
                sli=signal.ratio(short) or "",
                metrics=signal.metrics,
            )
        )
    return found


def latency(catalog: Catalog, services: list[str]) -> list[Clause]:
    def threshold(name: str) -> float | None:
        metrics, limit = metrics_of(catalog, name), catalog.services[name].alerts.latency_p95
        return None if limit is False or not metrics.latency else limit.seconds

    found = []
    for signal, limit, short in _rate_groups(catalog, services, threshold):
        both = [f"{signal.latency(0.95, w)} > {limit!r}" for w in (None, short)]
        found.append(
            Clause(
                expr="\nand\n".join(both if short != signal.window else both[:1]),
                subjects=signal.services,
                threshold=limit,
                window=signal.window,
                short=short,
                sli=f"{signal.latency(0.95, short)} >= 0",
                metrics=signal.metrics,
            )
        )
    return found


def disk(catalog: Catalog) -> list[Clause]:
    """Per host and mountpoint."""
    groups: dict[tuple[float, str], list[str]] = {}
    for name, host in sorted(catalog.hosts.items()):
        limit = _below_all(f"hosts.{name}.disk_full", float(host.disk_full))
        groups.setdefault((limit, host.mountpoints), []).append(name)
    return [
        Clause(_over(disk_used(_hosts(members, mountpoints)), limit), tuple(members), limit)
        for (limit, mountpoints), members in groups.items()
    ]


def memory(catalog: Catalog) -> list[Clause]:
    """Per host."""
    groups: dict[float, list[str]] = {}
    for name, host in sorted(catalog.hosts.items()):
        limit = _below_all(f"hosts.{name}.memory_high", float(host.memory_high))
        groups.setdefault(limit, []).append(name)
    return [
        Clause(_over(memory_used(_hosts(members)), limit), tuple(members), limit)
        for limit, members in groups.items()
    ]


def _below_all(place: str, limit: float) -> float:
    """Refuse a limit of 100%: nothing is over it, so the alert would be silent for ever."""
    if limit >= 1:
        raise InputError(place, "100% can never be exceeded", "write a smaller share")
    return limit


def _hosts(members: list[str], mountpoints: str = "") -> str:
    matcher = one_of(names.SERVICE, members)
    if not mountpoints:
        return matcher
    escaped = mountpoints.replace("\\", "\\\\").replace('"', '\\"')
    return f'{matcher},mountpoint=~"{escaped}"'


def _over(expr: str, limit: float) -> str:
    return f"{expr} > {limit!r}"
