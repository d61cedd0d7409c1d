"""What people read of alerts about hosts: their disks, memory and clocks."""

from __future__ import annotations

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration, Share
from opsloop.compile import firststeps, texts
from opsloop.compile.conditions import Clause
from opsloop.compile.options import Options
from opsloop.compile.wording import ByLabel, Label, Value, Wording

_HOST, _INSTANCE = Label(names.SERVICE), Label(names.INSTANCE)
_MOUNT = Label("mountpoint")
_RATIO, _SECONDS = Value("humanizePercentage"), Value("humanizeDuration")


def host(
    catalog: Catalog,
    options: Options,
    alert: str,
    clauses: list[Clause],
    policy: str | None = None,
) -> dict[str, Wording]:
    """The annotations of a shipped alert about hosts."""
    unit = Share if alert in (names.DISK_FULL, names.MEMORY_HIGH) else Duration.of
    limits = {s: str(unit(c.threshold)) for c in clauses for s in c.subjects}
    limit = ByLabel.of(names.SERVICE, limits)
    if alert == names.DISK_FULL:
        summary = Wording.of(_MOUNT, " of ", _HOST, " is ", _RATIO, " full")
        description = Wording.of(
            "The file system ", _MOUNT, " of ", _HOST, " (", _INSTANCE, ") is ", _RATIO,
            " full (limit ", limit, ").",
        )  # fmt: skip
        impact = "Programs that write there will fail."
    elif alert == names.DISK_WILL_FILL:
        summary = Wording.of(_MOUNT, " of ", _HOST, " will be full in ", _SECONDS)
        description = Wording.of(
            "At the pace of the last 6 hours, the file system ", _MOUNT, " of ", _HOST, " (",
            _INSTANCE, ") will be full in ", _SECONDS, " (told when less than ", limit, ").",
        )  # fmt: skip
        impact = "When it is full, programs that write there fail."
    elif alert == names.CLOCK_SKEW:
        summary = Wording.of("The clock of ", _HOST, " is off by ", _SECONDS)
        description = Wording.of(
            "The clock of ", _HOST, " (", _INSTANCE, ") differs from Prometheus's, or from its"
            " time service, by ", _SECONDS, " (limit ", limit, ").",
        )  # fmt: skip
        impact = "Times in logs and samples mislead, and certificates and tokens may be refused."
    else:
        summary = Wording.of(_HOST, " has used ", _RATIO, " of its memory")
        description = Wording.of(
            _RATIO, " of the memory of ", _HOST, " (", _INSTANCE, ") is in use (limit ", limit,
            ").",
        )  # fmt: skip
        impact = "The kernel will begin to kill programs."
    return {
        "summary": summary,
        "description": description,
        "impact": Wording.of(impact),
        "first_steps": firststeps.wording(alert),
        "runbook": Wording.of(texts.runbook(catalog, alert)),
        **texts.links(catalog, options, alert),
        "remediation": Wording.of(texts.in_words(catalog, policy)),
    }
