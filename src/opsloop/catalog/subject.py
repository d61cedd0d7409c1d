"""What an alert is about, and so what a policy can act on: a service, a host, a certificate, a
backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from opsloop import names

SubjectKind = Literal["service", "host", "certificate", "backup"]
HOST_ALERTS: Final = (names.DISK_FULL, names.DISK_WILL_FILL, names.MEMORY_HIGH)
CERTIFICATE_ALERTS: Final = (names.CERTIFICATE_EXPIRING, names.CERTIFICATE_UNREADABLE)
BACKUP_ALERTS: Final = (names.BACKUP_FAILED, names.BACKUP_STALE, names.BACKUP_MISSING)
# Which label of an alert names its subject; alerts that are not here are about services.
_LABELS: Final[Mapping[str, tuple[SubjectKind, str]]] = {
    **dict.fromkeys(HOST_ALERTS, ("host", names.SERVICE)),
    **dict.fromkeys(CERTIFICATE_ALERTS, ("certificate", names.CERTIFICATE)),
    **dict.fromkeys(BACKUP_ALERTS, ("backup", names.BACKUP)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that the catalog names, as `host local`."""

    kind: SubjectKind
    name: str

    @property
    def resource(self) -> str:
        """What a run locks that acts on it as a whole."""
        return self.name if self.kind == "service" else f"{self.kind}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def kind_of(alert: str) -> SubjectKind:
    """What this alert is about, whoever fires it."""
    return _LABELS.get(alert, ("service", ""))[0]


def subject_of(alert: str, labels: Mapping[str, str]) -> Subject | None:
    """The subject of an alert with these labels; None when they do not name one."""
    kind, label = _LABELS.get(alert, ("service", names.SERVICE))
    name = labels.get(label)
    return Subject(kind, name) if name else None
