"""The drills that there are: what each breaks, and which alert should notice it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from opsloop import names

Fault = Literal[
    "kill", "hang", "errors", "overload", "kill-dependency", "fill", "certificate", "backup"
]


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. timeout_s: how long it may take from the fault to the verdict, seconds.

    alert: empty where it is the catalog's own, which the aim finds by the step that meets it.
    """

    name: str
    title: str
    fault: Fault
    alert: str
    timeout_s: float


DRILLS: Mapping[str, Drill] = {
    d.name: d
    for d in (
        Drill(
            "service-kill",
            "one instance of the service is killed (SIGKILL)",
            "kill",
            names.SERVICE_DOWN,
            90,
        ),
        Drill(
            "service-hang",
            "one instance hangs: its port is open, and nothing answers",
            "hang",
            names.SERVICE_DOWN,
            90,
        ),
        Drill(
            "database-down",
            "the database that the service depends on is killed (SIGKILL)",
            "kill-dependency",
            names.SERVICE_DOWN,
            120,
        ),
        Drill(
            "error-burst",
            "every instance fails half of its requests",
            "errors",
            names.HIGH_ERROR_RATE,
            240,
        ),
        Drill(
            "overload",
            "more load comes than the instances can carry",
            "overload",
            names.HIGH_LATENCY,
            300,
        ),
        Drill(
            "disk-fill",
            "the folder in which the service keeps its jobs is filled with old files",
            "fill",
            "",
            180,
        ),
        Drill(
            "certificate-expiring",
            "the service's certificate is replaced by one that expires in a day",
            "certificate",
            names.CERTIFICATE_EXPIRING,
            180,
        ),
        Drill(
            "backup-failed",
            "the last run of the backup failed",
            "backup",
            names.BACKUP_FAILED,
            180,
        ),
    )
}
