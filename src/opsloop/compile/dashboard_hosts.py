"""Panels of machines: utilisation, saturation and errors of CPU, memory, disks and network."""

from __future__ import annotations

from typing import Final

from opsloop.catalog.model import Catalog
from opsloop.compile.conditions import PACE
from opsloop.compile.dashboard_parts import (
    HALF,
    LOW_IS_GOOD,
    TARGETS,
    THIRD,
    TO_ALERTS,
    TO_TARGETS,
    within,
)
from opsloop.compile.panels import Column, Panel, Query, Threshold
from opsloop.compile.rules import HOST_CPU, HOST_DISK, HOST_MEMORY, UNREAL_FILESYSTEMS
from opsloop.compile.selectors import one_of

BY: Final = "service, instance"
BY_DISK: Final = f"{BY}, mountpoint"
UNREAL_DEVICES: Final = "lo|veth.*|docker.*|br-.*|cni.*|virbr.*"
_HOST = "{{service}} {{instance}}"
_SERIES_EACH = 3  # of the charts with several lines a host


def panels(catalog: Catalog) -> tuple[Panel, ...]:
    """Of the machines of the catalog, by the variables `job` and `instance`."""
    found = [_cpu(catalog), _memory(catalog), _disks(catalog), *_network(catalog)]
    return (*found, _clock(catalog))


def _hosts(catalog: Catalog) -> int | None:
    """How many machines there can be; None: files say how many."""
    hosts = catalog.hosts.values()
    if any(h.targets.files for h in hosts):
        return None
    return sum(max(1, len(h.targets.static)) for h in hosts)


def _busiest(catalog: Catalog, expr: str) -> str:
    """Of many machines those with the busiest CPU."""
    return within(expr, f"{HOST_CPU} @ end()", BY, _hosts(catalog), _SERIES_EACH)


def _raw(catalog: Catalog) -> str:
    return f"{one_of('service', catalog.hosts)},{TARGETS}"


def _cpu(catalog: Catalog) -> Panel:
    raw = _raw(catalog)
    recorded = f'{HOST_CPU}{{instance=~"$instance"}}'
    cores = f'count by ({BY}) (node_cpu_seconds_total{{{raw},mode="idle"}})'
    load = f"max by ({BY}) (node_load1{{{raw}}}) / {cores}"
    waiting = f"node_pressure_cpu_waiting_seconds_total{{{raw}}}[$__rate_interval]"
    return Panel(
        id=7,
        title="CPU",
        description="Busy share of all cores; load per core (over 100% work waits); and the share"
        " of time in which something waited for a CPU (pressure, where the kernel tells it).",
        kind="timeseries",
        queries=(
            Query("A", _busiest(catalog, f"max by ({BY}) ({recorded})"), f"{_HOST} busy"),
            Query("B", _busiest(catalog, load), f"{_HOST} load per core"),
            Query("C", _busiest(catalog, f"max by ({BY}) (rate({waiting}))"), f"{_HOST} pressure"),
        ),
        unit="percentunit",
        links=(TO_TARGETS,),
        place=THIRD,
        low=0,
    )


def _memory(catalog: Catalog) -> Panel:
    raw = _raw(catalog)
    recorded = f'{HOST_MEMORY}{{instance=~"$instance"}}'
    swap = f"1 - node_memory_SwapFree_bytes{{{raw}}} / (node_memory_SwapTotal_bytes{{{raw}}} > 0)"
    waiting = f"node_pressure_memory_waiting_seconds_total{{{raw}}}[$__rate_interval]"
    return Panel(
        id=8,
        title="Memory",
        description="Share that programs cannot have, share of swap in use, and the share of time"
        " in which something waited for memory.",
        kind="timeseries",
        queries=(
            Query("A", _busiest(catalog, f"max by ({BY}) ({recorded})"), f"{_HOST} used"),
            Query("B", _busiest(catalog, f"max by ({BY}) ({swap})"), f"{_HOST} swap"),
            Query("C", _busiest(catalog, f"max by ({BY}) (rate({waiting}))"), f"{_HOST} pressure"),
        ),
        unit="percentunit",
        links=(TO_TARGETS,),
        place=THIRD,
        thresholds=LOW_IS_GOOD,
        low=0,
    )


def _disks(catalog: Catalog) -> Panel:
    real = f'{_raw(catalog)},fstype!~"{UNREAL_FILESYSTEMS}"'
    used = f'max by ({BY_DISK}) ({HOST_DISK}{{instance=~"$instance"}})'
    inodes = (
        f"max by ({BY_DISK}) (\n  1 - node_filesystem_files_free{{{real}}}"
        f" / (node_filesystem_files{{{real}}} > 0)\n)"
    )
    free = f"node_filesystem_avail_bytes{{{real}}}"
    left = f"min by ({BY_DISK}) ({free} / -deriv({free}[{PACE}]) > 0)"

    def shown(expr: str) -> str:
        # Nobody knows how many file systems a machine has.
        return within(expr, used, BY_DISK, None)

    return Panel(
        id=9,
        title="Disks, fullest first",
        description="Used share of space and of inodes, and when a disk will be full at the pace"
        f" of the last {PACE}; no time where it does not fill.",
        kind="table",
        queries=(
            Query("A", shown(used), "{{instance}} {{mountpoint}} used", instant=True),
            Query("B", shown(inodes), "{{instance}} {{mountpoint}} inodes", instant=True),
            Query("C", shown(left), "{{instance}} {{mountpoint}} full in", instant=True),
        ),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=THIRD,
        columns=(
            Column("Host", label="service"),
            Column("Instance", label="instance"),
            Column("Mounted at", label="mountpoint"),
            Column("Used", ref="A", unit="percentunit", decimals=0, thresholds=LOW_IS_GOOD),
            Column("Inodes", ref="B", unit="percentunit", decimals=0, thresholds=LOW_IS_GOOD),
            Column("Full in", ref="C", unit="s", decimals=0,
                   thresholds=(Threshold(None, "bad"), Threshold(86_400, "warn"),
                               Threshold(7 * 86_400, "good"))),
        ),
        sort=("Used", True),
    )  # fmt: skip


def _network(catalog: Catalog) -> tuple[Panel, ...]:
    real = f'{_raw(catalog)},device!~"{UNREAL_DEVICES}"'

    def rate(metric: str, factor: str = "") -> str:
        summed = f"sum by ({BY}) (rate({metric}{{{real}}}[$__rate_interval]))"
        return _busiest(catalog, f"{factor}{summed}")

    def bits(direction: str) -> str:
        return rate(f"node_network_{direction}_bytes_total", "8 * ")

    return (
        Panel(
            id=10,
            title="Network",
            description="Bits a second, in and out, over all network cards.",
            kind="timeseries",
            queries=(
                Query("A", bits("receive"), f"{_HOST} in"),
                Query("B", bits("transmit"), f"{_HOST} out"),
            ),
            unit="bps",
            links=(TO_TARGETS,),
            place=HALF,
            low=0,
        ),
        Panel(
            id=11,
            title="Network drops and errors",
            description="Packets a second that were dropped or damaged; a healthy card has none.",
            kind="timeseries",
            queries=tuple(
                Query(ref, rate(f"node_network_{direction}_{what}_total"),
                      f"{_HOST} {direction} {word}")
                for ref, direction, what, word in (
                    ("A", "receive", "drop", "drops"),
                    ("B", "transmit", "drop", "drops"),
                    ("C", "receive", "errs", "errors"),
                )
            ),
            unit="cps",
            links=(TO_TARGETS,),
            place=HALF,
            low=0,
        ),
    )  # fmt: skip


def _clock(catalog: Catalog) -> Panel:
    raw = _raw(catalog)
    limit = catalog.stack.clock_skew
    seen = (
        f"max by ({BY}) (abs(timestamp(node_time_seconds{{{raw}}}) - node_time_seconds{{{raw}}}))"
    )
    known = f"max by ({BY}) (abs(node_timex_offset_seconds{{{raw}}}))"
    thresholds = [Threshold(None, "good")]
    if limit is not False:
        thresholds.append(Threshold(limit.seconds, "bad"))
    return Panel(
        id=13,
        title="Clock skew",
        description="How far a machine's clock is from Prometheus's, and from what its own time"
        " service knows; the line is where ClockSkew fires.",
        kind="timeseries",
        queries=(
            Query("A", _busiest(catalog, seen), f"{_HOST} against Prometheus"),
            Query("B", _busiest(catalog, known), f"{_HOST} by its time service"),
        ),
        unit="s",
        links=(TO_ALERTS,),
        place=HALF,
        thresholds=tuple(thresholds),
        threshold_lines=True,
        low=0,
    )
