"""What `compile` is told beside the catalog: ports, and what stands in for a vendor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from opsloop.catalog.units import Duration
from opsloop.settings import Ports


@dataclass(frozen=True, slots=True)
class Options:
    """Facts of the place where a bundle will run; equal options give equal bytes.

    slack_stand_in: the inbox takes Slack's place (its address is in the secret slack_url).
    pagerduty: the vendor itself, the inbox in its place, or nobody. stand_ins: secret files of
    `notifications` that are not there, so that the inbox takes the place of who they are for.
    retention: wins over the catalog's. grafana: the native runtime runs one.
    """

    ports: Ports = field(default_factory=Ports)
    slack_stand_in: bool = True
    pagerduty: Literal["real", "stand-in", "none"] = "stand-in"
    stand_ins: tuple[str, ...] = ()
    retention: Duration | None = None
    grafana: bool = False

    @property
    def inbox(self) -> bool:
        """Whether the inbox runs: something is stood in for."""
        return self.slack_stand_in or self.pagerduty == "stand-in" or bool(self.stand_ins)
