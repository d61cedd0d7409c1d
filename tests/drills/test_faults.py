"""Where each drill's fault goes, by the catalog alone, and what the switch is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.model import Catalog
from opsloop.drills import faults
from opsloop.drills.faults import aim
from opsloop.drills.kinds import DRILLS
from opsloop.drills.watch import sort_messages
from opsloop.errors import ArgumentError, SourceError
from tests.support.net import free_port
from tests.support.webhook import Receiver, receiver

POLICIES: dict[str, Any] = {
    "restart-down": {"when": {"alert": ["ServiceDown"]}, "steps": [{"restart": {}}]},
    "scale": {"when": {"alert": ["HighLatency"]}, "steps": [{"scale_out": {}}]},
}


def engine(**changes: Any) -> EngineInput:
    raw: dict[str, Any] = {
        "apiVersion": "opsloop/v1",
        "processes": {
            "db": {"command": ["db"], "port": 5433},
            "web": {"command": ["web"], "port": 8000, "slots": 3, "fault_path": "/faults"},
            "load": {"command": ["load"], "port": 8010, "fault_path": "/break"},
        },
        "services": {
            "outside": {"team": "t", "targets": {"static": ["10.0.0.1:80"]}},
            "store": {"team": "t", "process": "db"},
            "shop": {"team": "t", "process": "web", "depends_on": ["outside", "store"]},
        },
        "remediation": {"mode": "auto", "policies": POLICIES},
    }
    raw.update(changes)
    facts = [
        AlertFacts(
            alert=alert,
            policy=policy,
            scope="instance",
            severity="P0",
            condition="up == 0",
            fresh="up",
            sli="up",
            window_s=12,
            interval_s=1,
            grace_s=28,
        )
        for alert, policy in (("ServiceDown", "restart-down"), ("HighLatency", "scale"))
    ]
    return EngineInput(catalog=Catalog.model_validate(raw), facts=facts)


@pytest.mark.parametrize(
    ("name", "service", "process", "switch"),
    [
        ("service-kill", "shop", "web", "web"),
        ("service-hang", "shop", "web", "web"),
        ("error-burst", "shop", "web", "web"),
        ("database-down", "store", "db", None),
        ("overload", "shop", "web", "load"),
    ],
)
def test_the_catalog_says_what_breaks(
    name: str, service: str, process: str, switch: str | None
) -> None:
    found = aim(engine(), DRILLS[name])
    assert (found.service, found.process, found.switch) == (service, process, switch)


def test_a_drill_knows_whether_the_loop_would_act() -> None:
    assert aim(engine(), DRILLS["service-kill"]).acts
    assert aim(engine(), DRILLS["service-kill"]).facts is not None
    unmet = aim(engine(), DRILLS["error-burst"])
    assert (unmet.acts, unmet.facts) == (False, None)
    dry = engine(remediation={"mode": "dry-run", "policies": POLICIES})
    assert not aim(dry, DRILLS["service-kill"]).acts


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        (
            "service-kill",
            {"services": {"s": {"team": "t", "targets": {"static": ["10.0.0.1:80"]}}}},
            "no service has a process with `fault_path` and `port`",
        ),
        (
            "database-down",
            {"services": {"shop": {"team": "t", "process": "web"}}},
            "service shop depends on no service with a process",
        ),
        (
            "overload",
            {
                "processes": {
                    "web": {"command": ["web"], "port": 8000, "fault_path": "/faults"},
                    "db": {"command": ["db"]},
                }
            },
            "no process beside the services has `fault_path`",
        ),
    ],
)
def test_what_cannot_be_broken_here_is_said(
    name: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ArgumentError, match=reason):
        aim(engine(**changes), DRILLS[name])


@pytest.fixture
def switch() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_the_switch_gets_the_token_and_the_order(switch: Receiver) -> None:
    address = switch.url.removeprefix("http://")
    faults.post(address, "/faults", "secret", faults.order(DRILLS["error-burst"]))
    (got,) = switch.received
    assert got.path == "/faults"
    assert got.headers["authorization"] == "Bearer secret"
    assert got.json() == {"kind": "errors", "share": 0.5}


def test_a_refusal_is_an_error(switch: Receiver) -> None:
    switch.answer(401, b"no")
    address = switch.url.removeprefix("http://")
    with pytest.raises(SourceError, match="answered HTTP 401"):
        faults.post(address, "/faults", "wrong", {"kind": "hang"})
    assert faults.active(address, "/faults", "wrong") is None


@pytest.mark.parametrize("kind", ["kill", "hang"])
def test_nobody_at_the_switch_is_an_error(kind: str) -> None:
    """Of a kill too: a refused connection is not one that the kill broke."""
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(SourceError, match="does not answer"):
        faults.post(address, "/faults", "t", {"kind": kind})
    assert faults.active(address, "/faults", "t") is None


def message(**changes: Any) -> dict[str, Any]:
    base = {
        "id": 1,
        "received_at": 5.0,
        "vendor": "slack",
        "status": "firing",
        "accepted": True,
        "title": "[P0] ServiceDown: api",
        "body": {"text": "api is down"},
    }
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "pages", "others"),
    [
        ({}, 1, 0),
        ({"accepted": False}, 1, 0),
        ({"vendor": "pagerduty"}, 1, 0),
        ({"vendor": "webhook"}, 0, 0),
        ({"status": "resolved"}, 0, 0),
        ({"title": "[P1] DiskFull: local", "body": {"text": "95 %"}}, 0, 1),
        ({"title": "apiary", "body": {}}, 0, 1),
        ({"title": "1 firing", "body": {"labels": {"service": "api"}}}, 1, 0),
    ],
)
def test_a_page_is_a_firing_message_to_people_about_the_service(
    changes: dict[str, Any], pages: int, others: int
) -> None:
    found = sort_messages([message(**changes)], frozenset({"api", "database"}))
    assert (len(found.pages), found.others) == (pages, others)
