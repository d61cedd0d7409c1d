"""Panels of saturation of one service: what it has of what it may have."""

from __future__ import annotations

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.dashboard_parts import (
    HALF,
    LOW_IS_GOOD,
    TO_ALERTS,
    TO_RUNS,
    TO_TARGETS,
    UP_STATES,
)
from opsloop.compile.panels import MOST_SERIES, Panel, Query


def usage(catalog: Catalog, mine: str, raw: str) -> tuple[Panel, ...]:
    """mine: the matcher of the service; raw: with `job` and `instance`."""
    return (_shares(catalog, mine, raw), _cpu(raw), _memory(raw), _instances(mine))


def _shares(catalog: Catalog, mine: str, raw: str) -> Panel:
    found = [
        (f"max({names.SATURATION}{{{mine}}})", "fullest declared signal"),
        (f"max(process_open_fds{{{raw}}} / process_max_fds{{{raw}}})", "file descriptors"),
    ]
    if any(s.postgres for s in catalog.services.values()):
        used = f"sum by (instance) (pg_stat_database_numbackends{{{raw}}})"
        share = f"max({used} / max by (instance) (pg_settings_max_connections{{{raw}}}))"
        found.append((share, "connections"))
    return Panel(
        id=11,
        title="Saturation",
        description="Shares in use of what is limited: the fullest signal that the service"
        " declares (workers, queue, pool), file descriptors, a database's connections.",
        kind="timeseries",
        queries=tuple(Query("ABC"[n], expr, name) for n, (expr, name) in enumerate(found)),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=HALF,
        thresholds=LOW_IS_GOOD,
        low=0,
    )


def _top(expr: str, at_end: str) -> str:
    return f"{expr}\nand on (instance)\ntopk({MOST_SERIES}, {at_end})"


def _cpu(raw: str) -> Panel:
    used = f"sum by (instance) (rate(process_cpu_seconds_total{{{raw}}}[$__rate_interval]))"
    rank = f"sum by (instance) (rate(process_cpu_seconds_total{{{raw}}}[$__rate_interval] @ end()))"
    return Panel(
        id=12,
        title="CPU by instance",
        description="CPU that each process uses; 100% is one core.",
        kind="timeseries",
        queries=(Query("A", _top(used, rank), "{{instance}}"),),
        unit="percentunit",
        links=(TO_TARGETS,),
        place=HALF,
        low=0,
        may_be_empty="its client does not tell of its process",
    )


def _memory(raw: str) -> Panel:
    used = f"sum by (instance) (process_resident_memory_bytes{{{raw}}})"
    rank = f"sum by (instance) (process_resident_memory_bytes{{{raw}}} @ end())"
    return Panel(
        id=13,
        title="Memory by instance",
        description="Memory that each process has of the machine's.",
        kind="timeseries",
        queries=(Query("A", _top(used, rank), "{{instance}}"),),
        unit="bytes",
        links=(TO_TARGETS,),
        place=HALF,
        low=0,
        may_be_empty="its client does not tell of its process",
    )


def _instances(mine: str) -> Panel:
    up = f"min by (instance) ({names.INSTANCE_UP}{{{mine}}})"
    rank = f"1 - min by (instance) ({names.INSTANCE_UP}{{{mine}}} @ end())"
    return Panel(
        id=14,
        title="Instances",
        description="When each instance answered.",
        kind="state-timeline",
        queries=(Query("A", _top(up, rank), "{{instance}}"),),
        unit="bool",
        links=(TO_RUNS, TO_TARGETS),
        place=HALF,
        states=UP_STATES,
        low=0,
        high=1,
    )
