"""The conditions of the shipped alerts, vectorised over the services or hosts that agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.model import Catalog, Metrics
from opsloop.catalog.units import Duration
from opsloop.compile.prometheus import up_jobs
from opsloop.compile.rules import UNREAL_FILESYSTEMS, disk_used, instance_up, memory_used
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

PACE = Duration(6 * 3_600_000)  # over which it is measured how fast a disk fills
PACE_KNOWN = Duration(int(PACE) // 2)
# A file of some gigabytes written at once is no pace: shorter than the alert waits, so that it
# is forgotten meanwhile.
PACE_NOW = Duration(45 * 60_000)
ROOM = 0.6  # a file system less full than this is told of by nobody
NO_WINDOW = Duration(0)


@dataclass(frozen=True, slots=True)
class Clause:
    """One expression for those subjects (services or hosts) that share all that is in it.

    window, short: the look-back of the condition; equal where there is no second one.
    least: the events that the window must hold; fewer say nothing.
    sli: has a value for a subject only (ServiceDown) or also (rates) while it is well.
    """

    expr: str
    subjects: tuple[str, ...]
    threshold: float = 0.0
    window: Duration = NO_WINDOW
    short: Duration = NO_WINDOW
    sli: str = ""
    metrics: Metrics | None = None
    least: int = 0


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


def connections(catalog: Catalog, services: list[str]) -> list[Clause]:
    """Per database: those in use, of those that it allows."""
    groups: dict[float, list[str]] = {}
    for name in services:
        most = catalog.services[name].alerts.connections
        if catalog.services[name].postgres is None or most is False:
            continue
        place = f"services.{name}.alerts.connections"
        groups.setdefault(_below_all(place, float(most)), []).append(name)
    found = []
    for limit, members in groups.items():
        jobs = one_of("job", members)
        used = f"sum by ({BY_INSTANCE}) (pg_stat_database_numbackends{{{jobs}}})"
        share = f"{used}\n/\nmax by ({BY_INSTANCE}) (pg_settings_max_connections{{{jobs}}})"
        window = max(
            2 * int(scrape_interval(catalog, s)) + int(scrape_timeout(catalog, s)) for s in members
        )
        found.append(
            Clause(
                expr=_over(share, limit),
                subjects=tuple(members),
                threshold=limit,
                window=Duration(window),
                short=Duration(window),
                sli=f"{share} <= {limit!r}",
            )
        )
    return found


def _rate_groups(
    catalog: Catalog, services: list[str], threshold: Callable[[str], float | None]
) -> list[tuple[Signal, float, Duration, int]]:
    """(signal with the long window, threshold, short window, least events in the long one) of
    services that agree in all."""
    groups: dict[tuple[str, float, int, int, int], list[str]] = {}
    for name in services:
        limit = threshold(name)
        if limit is None:
            continue
        long, short = windows(catalog, name)
        least = catalog.services[name].alerts.min_requests
        key = (metrics_of(catalog, name).model_dump_json(), limit, int(long), int(short), least)
        groups.setdefault(key, []).append(name)
    return [
        (
            Signal(metrics_of(catalog, members[0]), Duration(long), tuple(members)),
            limit,
            Duration(short),
            least,
        )
        for (_, limit, long, short, least), members in groups.items()
    ]


def errors(catalog: Catalog, services: list[str]) -> list[Clause]:
    def threshold(name: str) -> float | None:
        metrics, limit = metrics_of(catalog, name), catalog.services[name].alerts.error_ratio
        if limit is False or not (metrics.requests and metrics.errors):
            return None
        return _below_all(f"services.{name}.alerts.error_ratio", float(limit))

    found = []
    for signal, limit, short, least in _rate_groups(catalog, services, threshold):
        both = [f"{signal.errors(w)}\n/\n{signal.requests(w)}\n> {limit!r}" for w in (None, short)]
        found.append(
            Clause(
                expr=_both(both, signal.window, short, f"{signal.events()} >= {least}"),
                subjects=signal.services,
                threshold=limit,
                window=signal.window,
                short=short,
                least=least,
                sli=signal.ratio(short) or "",
                metrics=signal.metrics,
            )
        )
    return found


def _both(parts: list[str], long: Duration, short: Duration, enough: str) -> str:
    """Both windows, where they differ, and enough events in the long one."""
    return "\nand\n".join([*(parts if short != long else parts[:1]), enough])


def latency(catalog: Catalog, services: list[str]) -> list[Clause]:
    def threshold(name: str) -> float | None:
        metrics, limit = metrics_of(catalog, name), catalog.services[name].alerts.latency_p95
        return None if limit is False or not metrics.latency else limit.seconds

    found = []
    for signal, limit, short, least in _rate_groups(catalog, services, threshold):
        both = [f"{signal.latency(0.95, w)} > {limit!r}" for w in (None, short)]
        found.append(
            Clause(
                expr=_both(both, signal.window, short, f"{signal.timed()} >= {least}"),
                subjects=signal.services,
                threshold=limit,
                window=signal.window,
                short=short,
                least=least,
                sli=f"{signal.latency(0.95, short)} >= 0",
                metrics=signal.metrics,
            )
        )
    return found


def disk(catalog: Catalog, hosts: list[str]) -> list[Clause]:
    """Per host and mountpoint."""
    groups: dict[tuple[float, str], list[str]] = {}
    for name in hosts:
        host = catalog.hosts[name]
        limit = _below_all(f"hosts.{name}.disk_full", float(host.disk_full))
        groups.setdefault((limit, host.mountpoints), []).append(name)
    return [
        Clause(_over(disk_used(_hosts(members, mountpoints)), limit), tuple(members), limit)
        for (limit, mountpoints), members in groups.items()
    ]


def disk_will_fill(catalog: Catalog, hosts: list[str]) -> list[Clause]:
    """Per host and mountpoint: seconds until it is full, at the pace of the last hours, which
    must be that of the last minutes too.

    Not of a file system with much room, nor of one that DiskFull tells of, nor of one that was
    not there for half the time that is looked at: a pace of minutes says nothing of a day.
    """
    groups: dict[tuple[float, float, str], list[str]] = {}
    for name in hosts:
        host = catalog.hosts[name]
        if host.disk_will_fill is not False:
            key = (host.disk_will_fill.seconds, float(host.disk_full), host.mountpoints)
            groups.setdefault(key, []).append(name)
    found = []
    for (limit, full, mountpoints), members in groups.items():
        matchers = _hosts(members, mountpoints)
        free = f'node_filesystem_avail_bytes{{{matchers},fstype!~"{UNREAL_FILESYSTEMS}"}}'
        by = f"{BY_INSTANCE}, mountpoint"
        left, still = (
            f"min by ({by}) (\n  {free} / -deriv({free}[{window}]) > 0\n) < {limit:.15g}"
            for window in (PACE, PACE_NOW)
        )
        used = f"{disk_used(matchers)} > {room_below(full)!r} <= {full!r}"
        known = f"count by ({by}) ({free} offset {PACE_KNOWN})"
        expr = f"{left}\nand\n{still}\nand\n{used}\nand\n{known}"
        found.append(Clause(expr, tuple(members), limit, PACE, PACE))
    return found


def room_below(full: float) -> float:
    """How full a disk must be to be told of before DiskFull (at `full`) does."""
    return ROOM if full > ROOM else full / 2


def clock(catalog: Catalog, hosts: list[str]) -> list[Clause]:
    """Per host, seconds: against Prometheus's clock, which shows another machine's and works in
    containers; and what its time service knows, which shows that of Prometheus's own machine."""
    limit = catalog.stack.clock_skew
    if limit is False or not hosts:
        return []
    members, matcher = tuple(hosts), _hosts(hosts)
    known = f"node_timex_offset_seconds{{{matcher}}}"
    seen = f"node_time_seconds{{{matcher}}}"
    return [
        Clause(
            f"max by ({BY_INSTANCE}) (abs({off})) > {limit.seconds:.15g}", members, limit.seconds
        )
        for off in (f"timestamp({seen}) - {seen}", known)
    ]


def memory(catalog: Catalog, hosts: list[str]) -> list[Clause]:
    """Per host."""
    groups: dict[float, list[str]] = {}
    for name in hosts:
        host = catalog.hosts[name]
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
