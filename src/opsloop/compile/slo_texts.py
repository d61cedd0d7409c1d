"""What pages about objectives say beside summary and description: impact, links, what the loop does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opsloop import names
from opsloop.compile import firststeps
from opsloop.compile.slo_names import (
    BUDGET_EXHAUSTED,
    BURN_CRITICAL,
    BURN_HIGH,
    DATA_MISSING,
    ERRORS_EXCEED,
)
from opsloop.compile.texts import NOBODY, dashboard_at
from opsloop.compile.wording import ByLabel, Label, Wording

if TYPE_CHECKING:
    from opsloop.compile.slo_spec import SLOSpec

IMPACT = {
    BURN_CRITICAL: "More requests fail than was promised; the budget will be gone long before its"
    " period ends.",
    BURN_HIGH: "The budget will be spent before its period ends.",
    DATA_MISSING: "Errors would not be seen, and the budget stands still.",
    ERRORS_EXCEED: "Budget and burn rates of this objective are wrong.",
    BUDGET_EXHAUSTED: "The promise to users is broken until errors leave the period.",
}


def common(alert: str, members: Sequence[SLOSpec], policy: str | None) -> dict[str, Wording]:
    """impact, first steps, runbook, dashboard, console and remediation of an alert of these objectives."""
    page = links.runbook if (links := members[0].links) else "RUNBOOK.md"
    runbooks = {s.service: s.runbook or f"{page}#{alert.lower()}" for s in members}
    found = {
        "impact": Wording.of(IMPACT[alert]),
        "first_steps": firststeps.wording(alert),
        "runbook": Wording.of(ByLabel.of(names.SERVICE, runbooks)),
    }
    if links is not None:
        found["dashboard"] = dashboard_at(links.dashboards, alert)
        found["console"] = Wording.of(f"{links.console}/services/", Label(names.SERVICE))
    said = links.policies.get(policy) if links is not None and policy else NOBODY
    return found | {"remediation": Wording.of(said or NOBODY)}
