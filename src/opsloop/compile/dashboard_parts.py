"""What the dashboards share: uids, variables, annotations, links, and limits on series."""

from __future__ import annotations

from typing import Final

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.panels import MOST_SERIES, Annotation, Link, Place, State, Threshold
from opsloop.compile.panelvars import Variable

OVERVIEW: Final = "opsloop-overview"
SIGNALS: Final = "opsloop-signals"
OBJECTIVES: Final = "opsloop-slo"
CONTAINERS: Final = "opsloop-containers"
REMEDIATION: Final = "opsloop-remediation"

# What a run or a mark is about: the engine, which tells of them, has the label `service` itself.
ABOUT: Final = f"exported_{names.SERVICE}"

SMALL: Final = Place(0, 0, 6, 4)
THIRD: Final = Place(0, 0, 8, 7)
HALF: Final = Place(0, 0, 12, 7)
WIDE: Final = Place(0, 0, 24, 8)

DATASOURCE: Final = Variable("datasource", "Prometheus", kind="datasource")
JOB: Final = Variable("job", "Job", selector="up", label="job", multi=True)
INSTANCE: Final = Variable(
    "instance", "Instance", selector='up{job=~"$job"}', label="instance", multi=True
)
TARGETS: Final = 'job=~"$job",instance=~"$instance"'  # the matchers of these two

TO_OVERVIEW: Final = Link("System overview", OVERVIEW)
TO_OBJECTIVES: Final = Link("Objectives", OBJECTIVES)
TO_REMEDIATION: Final = Link("Remediation", REMEDIATION)
TO_TARGETS: Final = Link("Targets and rules", page="/targets")
TO_ALERTS: Final = Link("Alerts", page="/alerts")
TO_RUNS: Final = Link("Runs", page="/runs")
TO_INBOX: Final = Link("Inbox", page="/inbox")

LOW_IS_GOOD: Final = (Threshold(None, "good"), Threshold(0.8, "warn"), Threshold(0.9, "bad"))
NONE_IS_GOOD: Final = (Threshold(None, "good"), Threshold(1, "bad"))
BUDGET_LEFT: Final = (Threshold(None, "bad"), Threshold(0, "warn"), Threshold(0.25, "good"))
UP_STATES: Final = (State(0, "down", "bad"), State(1, "up", "good"))


def to_service(source: str) -> Link:
    """The golden signals of a service: source is `$service` or `{{service}}`."""
    return Link("Golden signals", SIGNALS, passes=(("service", source),))


def marks(service: str = "") -> tuple[Annotation, ...]:
    """Alerts, runs and deploys. service: `$service` where the dashboard is about one; a mark
    that is about none is on every chart."""
    some = f',{names.SERVICE}="{service}"' if service else ""
    only = f'{{{ABOUT}="{service}"}}' if service else ""
    deploys = names.ANNOTATED
    if service:
        deploys = f'({deploys}{only} or {deploys}{{{ABOUT}=""}})'
    severities = "|".join(names.SEVERITIES)
    return (
        Annotation(
            "Alerts",
            f'ALERTS{{alertstate="firing",{names.SEVERITY}=~"{severities}"{some}}}',
            "{{alertname}}",
            "{{severity}} {{service}} {{instance}}",
            "bad",
            ("severity", "service"),
        ),
        Annotation(
            "Runs",
            f"1000 * {names.LAST_RUN}{only}",
            "{{policy}}: {{state}}",
            f"{{{{{ABOUT}}}}}",
            "info",
            ("policy", "state", ABOUT),
            at_value=True,
        ),
        Annotation(
            "Deploys",
            f"1000 * {deploys}",
            "{{text}}",
            f"{{{{{ABOUT}}}}}",
            "neutral",
            ("kind", ABOUT),
            at_value=True,
        ),
    )


def within(expr: str, rank: str, on: str, count: int | None, lines: int = 1) -> str:
    """`expr` for the highest of `rank` alone, where there may be more than a panel can show.

    on: the labels that join the two. count: how many there can be, None: nobody knows. lines: how
    many series of the panel each of them has. rank has `@ end()` in charts, so that they show
    the same series from end to end.
    """
    most = MOST_SERIES // lines
    if count is not None and count <= most:
        return expr
    return f"{expr}\nand on ({on})\ntopk({most}, {rank})"


def target_count(catalog: Catalog) -> int | None:
    """How many targets are scraped, None where files say it."""
    watched = [x.targets for x in catalog.services.values()]
    watched += [x.targets for x in catalog.hosts.values()]
    if any(t.files for t in watched):
        return None
    static = sum(len(t.static) for t in watched)
    slots = sum(p.slots for p in catalog.processes.values())
    databases = sum(1 for s in catalog.services.values() if s.postgres)
    own = 6
    return static + slots + databases + own + len(catalog.probes)
