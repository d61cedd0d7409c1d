"""The dashboard Containers: what runs, what it uses of its limits, what was killed or restarted."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opsloop.compile.dashboard_parts import (
    CONTAINERS,
    DATASOURCE,
    HALF,
    LOW_IS_GOOD,
    NONE_IS_GOOD,
    OVERVIEW,
    SMALL,
    TO_ALERTS,
    TO_TARGETS,
    WIDE,
    marks,
    to_service,
)
from opsloop.compile.panels import (
    MOST_SERIES,
    Column,
    Dashboard,
    Link,
    Panel,
    Query,
    Row,
    State,
    Threshold,
)

INFO: Final = "opsloop_container_info"
RUNNING: Final = "opsloop_container_running"
STARTED: Final = "opsloop_container_start_time_seconds"
LIMIT: Final = "opsloop_container_memory_limit_bytes"
KILLED: Final = "opsloop_container_oom_kills_total"
TO_CONTAINERS: Final = Link("Containers", CONTAINERS)
# A control group of a container ends in its id, under whichever driver.
_ID: Final = ".*[/-]([0-9a-f]{64})(?:[.]scope)?"


def containers() -> Dashboard:
    """At most 14 panels."""
    return Dashboard(
        uid=CONTAINERS,
        title="Containers",
        description="The containers of the stack and of the services: what runs, what they use of"
        " their limits, and what was killed or restarted.",
        rows=(
            Row("", (summary(1), _restarts(), _killed(), _fullest())),
            Row("Use", (_cpu(), _throttled(), _memory(), _of_limit())),
            Row("All containers", (_all(),)),
        ),
        variables=(DATASOURCE,),
        links=(Link("System overview", OVERVIEW),),
        annotations=marks(),
    )


def named(expr: str) -> str:
    """A series of cAdvisor, which knows control groups alone, with the container's name."""
    told = f'label_replace({expr}, "container_id", "$1", "id", "{_ID}")'
    return f"sum by (container) ({told} * on (container_id) group_left (container) {INFO})"


def most(expr: str) -> str:
    """Of many containers those with most memory at the end of the range."""
    used = named("container_memory_working_set_bytes @ end()")
    return f"{expr}\nand on (container)\ntopk({MOST_SERIES}, {used})"


CPU: Final = "rate(container_cpu_usage_seconds_total[$__rate_interval])"
MEMORY: Final = "container_memory_working_set_bytes"
THROTTLED: Final = "rate(container_cpu_cfs_throttled_periods_total[$__rate_interval])"
PERIODS: Final = "rate(container_cpu_cfs_periods_total[$__rate_interval])"


def summary(number: int) -> Panel:
    """How many containers run, of how many there are."""
    return Panel(
        id=number,
        title="Containers running",
        description="The share of containers that run, and how many of how many that is.",
        kind="stat",
        queries=(
            Query("A", f"avg({RUNNING})", "run"),
            Query("B", f"sum({RUNNING})", "running", role="beside", unit="short"),
            Query("C", f"count({RUNNING})", "in all", role="beside", unit="short"),
        ),
        unit="percentunit",
        links=(TO_CONTAINERS, TO_TARGETS),
        place=SMALL,
        decimals=0,
        thresholds=(Threshold(None, "bad"), Threshold(0.9, "warn"), Threshold(1, "good")),
        low=0,
        high=1,
    )


def _restarts() -> Panel:
    return Panel(
        id=2,
        title="Restarts in the window",
        description="How often containers were started again in the time shown.",
        kind="stat",
        queries=(Query("A", f"sum(changes({STARTED}[$__range]))", "restarts", instant=True),),
        unit="short",
        links=(TO_ALERTS,),
        place=SMALL,
        decimals=0,
        thresholds=(Threshold(None, "good"), Threshold(1, "warn")),
    )


def _killed() -> Panel:
    return Panel(
        id=3,
        title="Killed for want of memory",
        description="Processes in containers that ended for want of memory just now; the mark of"
        " each alert says when it happened before.",
        kind="stat",
        queries=(Query("A", f"sum(increase({KILLED}[$__rate_interval])) or vector(0)", "killed"),),
        unit="short",
        links=(TO_ALERTS,),
        place=SMALL,
        decimals=0,
        thresholds=NONE_IS_GOOD,
    )


def _share() -> str:
    return f"{named(MEMORY)}\n/ on (container)\nmax by (container) ({LIMIT} > 0)"


def _fullest() -> Panel:
    return Panel(
        id=4,
        title="Nearest to its memory limit",
        description="The container that uses most of the memory that it may use.",
        kind="stat",
        queries=(Query("A", f"topk(1, {_share()})", "{{container}}", instant=True),),
        unit="percentunit",
        links=(TO_ALERTS,),
        place=SMALL,
        decimals=0,
        thresholds=LOW_IS_GOOD,
        may_be_empty="no container has a limit of memory",
    )


def _chart(number: int, title: str, text: str, expr: str) -> Panel:
    return Panel(
        id=number,
        title=title,
        description=text,
        kind="timeseries",
        queries=(Query("A", most(expr), "{{container}}"),),
        unit="percentunit",
        links=(TO_TARGETS,),
        place=HALF,
        low=0,
    )


def _cpu() -> Panel:
    return _chart(5, "CPU", "CPU that each container uses; 100% is one core.", named(CPU))


def _throttled() -> Panel:
    text = "Share of its periods in which a container waited, since it may use no more CPU."
    chart = _chart(6, "CPU throttled", text, f"{named(THROTTLED)}\n/\n({named(PERIODS)} > 0)")
    return replace(chart, may_be_empty="no container has a limit of CPU")


def _memory() -> Panel:
    text = "Memory that each container cannot do without: its working set."
    return replace(_chart(7, "Memory", text, named(MEMORY)), unit="bytes")


def _of_limit() -> Panel:
    text = "Share of the memory that each container may use; at 100% the kernel ends a process."
    return replace(
        _chart(8, "Memory of its limit", text, _share()),
        thresholds=LOW_IS_GOOD,
        threshold_lines=True,
        may_be_empty="no container has a limit of memory",
    )


def _all() -> Panel:
    running = f"max by (container, service) ({RUNNING})"

    def joined(expr: str) -> str:
        told = f"max by (container, service) ({INFO})"
        return f"{expr} * on (container) group_right () {told}"

    def shown(expr: str) -> str:
        return f"{expr}\nand on (container, service)\ntopk({MOST_SERIES}, {running})"

    queries = (
        ("A", running, "running"),
        ("B", f"time() - max by (container, service) ({STARTED})", "up for"),
        ("C", joined(named(CPU)), "CPU"),
        ("D", joined(named(MEMORY)), "memory"),
        ("E", joined(_share()), "of limit"),
    )
    states = (State(0, "stopped", "bad"), State(1, "runs", "good"))
    return Panel(
        id=9,
        title="All containers",
        description="Each container, whether it runs, since when, and what it uses.",
        kind="table",
        queries=tuple(
            Query(r, shown(e), f"{{{{container}}}} {n}", instant=True) for r, e, n in queries
        ),
        unit="bool",
        links=(TO_TARGETS,),
        place=WIDE,
        columns=(
            Column("Container", label="container"),
            Column("Service", label="service", link=to_service("{{service}}")),
            Column("State", ref="A", unit="bool", states=states),
            Column("Up for", ref="B", unit="s", decimals=0),
            Column("CPU", ref="C", unit="percentunit", decimals=1),
            Column("Memory", ref="D", unit="bytes", decimals=0),
            Column("Of limit", ref="E", unit="percentunit", decimals=0, thresholds=LOW_IS_GOOD),
        ),
        sort=("Memory", True),
    )
