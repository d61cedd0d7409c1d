"""One incident is one page, also after its end, in the real Alertmanager."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop import names
from tests.compile.test_alertmanager_live import Stage, stage
from tests.compile.test_delivery_live import SHOP, alert, heard
from tests.support.wait import wait_until

OBJECTIVE = {"slo": "availability", "period": "30d"}


def after(service: str, covers: str, **more: str) -> dict[str, str]:
    """IncidentAftermath as the rules of the catalog make it."""
    labels = {"alertname": names.INCIDENT_AFTERMATH, "service": service, "covers": covers}
    return {**labels, "team": "shop", "environment": "demo", **more}


def inhibited(s: Stage, name: str, service: str) -> bool:
    found = [
        a["status"]["inhibitedBy"]
        for a in s.server.get("/api/v2/alerts")
        if (a["labels"]["alertname"], a["labels"]["service"]) == (name, service)
    ]
    return bool(found and found[0])


@pytest.mark.full
def test_what_outlasts_a_healed_database_is_told_when_it_burns_anew(tmp_path: Path) -> None:
    database = alert("ServiceDown", "P0", service="db", instance="d:1")
    burn = alert("SLOBurnRateCritical", "P0", **OBJECTIVE)
    ticket = alert("SLOBurnRateHigh", "P1", **OBJECTIVE)
    page = after("api", "page", period="30d")
    with stage(tmp_path, engine=False, text=SHOP) as s:
        for labels in (
            database,
            burn,
            ticket,
            page,
            alert("HighErrorRate", "P0"),
            after("db", "symptoms"),
            after("api", "ticket", period="30d"),
        ):
            s.post(labels)
        heard(s, "[P0] ServiceDown: db")
        s.resolve(database)
        heard(s, "[resolved] ServiceDown: db")
        s.post(alert("Unrelated", "P1", service="web"))
        heard(s, "Unrelated")  # a whole wait after the end
        for name in ("HighErrorRate", "SLOBurnRateCritical", "SLOBurnRateHigh"):
            assert inhibited(s, name, "api"), name
        assert not [m for m in s.slack() if ": api" in m or names.INCIDENT_AFTERMATH in m]
        s.resolve(alert("HighErrorRate", "P0"))
        s.resolve(page)  # as it does when the budget burns anew
        heard(s, "[P0] SLOBurnRateCritical: api")
        assert len(wait_until(lambda: s.pages()[2:] and s.pages(), "PagerDuty is told")) == 3
        s.resolve(after("db", "symptoms"))
        s.post(alert("ServiceDown", "P0", service="api", instance="a:1"))
        heard(s, "[P0] ServiceDown: api")


def test_an_engine_that_is_down_explains_why_it_cannot_be_told(tmp_path: Path) -> None:
    def fails(integration: str) -> dict[str, str]:
        labels = alert("NotificationsFailing", "P1", service="alertmanager", team="platform")
        return {**labels, "integration": integration}

    with stage(tmp_path, engine=False, text=SHOP) as s:
        s.post(alert("EngineDown", "P0", service="engine", team="platform"))
        s.post(fails("webhook"))
        s.post(fails("slack"))
        heard(s, "EngineDown", "NotificationsFailing")
        page = wait_until(
            lambda: [p for p in s.pages() if "NotificationsFailing" in str(p)], "PagerDuty is told"
        )[0]
        assert page["payload"]["severity"] == "error"
        assert inhibited(s, "EngineDown", "engine") is False
        told = [a for a in s.server.get("/api/v2/alerts") if a["status"]["inhibitedBy"]]
        assert [a["labels"]["integration"] for a in told] == ["webhook"]
