"""Each alert of the mission's line fires for a real fault, and arrives as it would at vendors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsloop.drills import faults
from opsloop.drills.faults import aim
from opsloop.drills.kinds import DRILLS
from opsloop.drills.watch import World
from opsloop.stack.state import StateFolder
from tests.drills.whole import Stack, whole_stack
from tests.support.wait import wait_until

pytestmark = pytest.mark.long
LONG = 900.0  # MemoryHigh alone must hold for five minutes
P0 = ("SLOBurnRateCritical", "HighErrorRate", "ServiceDown")  # each hides those before it
P1 = ("HighLatency", "DiskFull", "MemoryHigh", "SLOBurnRateHigh")
P2 = ("CertificateExpiring", "BackupFailed")


def change(shop: Path) -> None:
    """Limits that this machine is over, an objective of a day, and nothing heals."""
    path = shop / "opsloop.yaml"
    catalog = yaml.safe_load(path.read_text())
    catalog["remediation"]["mode"] = "dry-run"
    catalog["hosts"]["local"] |= {"disk_full": "0.1%", "memory_high": "0.1%"}
    # A page mutes the tickets of its service, so the ticket is another objective's, and comes first.
    slo = {"window": "1d", "sli": "availability"}
    catalog["services"]["api"]["slos"] = {
        "strict": slo | {"objective": "99.9%", "alerting": {"page": False}},
        "loose": slo | {"objective": "99.5%"},
    }
    catalog["certificates"] = {"edge": {"file": "edge.pem", "service": "api"}}
    catalog["backups"] = {"orders": {"every": "24h", "service": "database"}}
    for policy in ("renew-certificate", "rerun-backup"):  # these have no command to mend them
        del catalog["remediation"]["policies"][policy]
    path.write_text(yaml.safe_dump(catalog, sort_keys=False))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3"),
            *("-subj", "/CN=edge.example.org", "-keyout", os.devnull, "-out", shop / "edge.pem"),
        ],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack(change) as stack:
        yield stack


def told(stack: Stack, vendor: str, alert: str) -> list[dict[str, Any]]:
    """Messages about an alert that the stand-in took."""
    return [
        m
        for m in stack.messages()
        if m["vendor"] == vendor and m["accepted"] and alert in json.dumps(m["body"])
    ]


def channels(messages: list[dict[str, Any]]) -> set[str]:
    return {m["body"].get("channel", "") for m in messages}


def test_each_alert_fires_and_arrives(stack: Stack) -> None:
    state = ("--state", str(stack.state))
    assert stack.opsloop("backup-run", *state, "orders", "--", "false").code != 0
    world = World(StateFolder(stack.state))
    try:
        aimed = aim(world.engine, DRILLS["error-burst"])
        path = world.catalog.processes[aimed.process].fault_path or ""
        running = [i for i in world.instances(aimed.service) if i.running]

        def switch(**order: object) -> None:
            for instance in running:
                faults.post(instance.address, path, world.token, order)

        def until_told(*alerts: str) -> None:
            for alert in alerts:
                wait_until(partial(told, stack, "slack", alert), f"Slack: {alert}", LONG, 2)

        switch(kind="errors", share=0.007)
        until_told("SLOBurnRateHigh", "DiskFull", "MemoryHigh", *P2)
        switch(kind="errors", share=0.03)  # below the limit of HighErrorRate
        until_told("SLOBurnRateCritical")
        switch(kind="latency", ms=1500)
        until_told("HighLatency")
        switch(kind="errors", share=0.5)
        until_told("HighErrorRate")
        os.kill(world.pids()[running[0].target], signal.SIGKILL)
        until_told("ServiceDown")
    finally:
        world.close()
    for alert in P0:
        assert told(stack, "pagerduty", alert), f"{alert} is P0, and pages"
    for alert in (*P1, *P2):
        assert not told(stack, "pagerduty", alert)
        channel = "#alerts" if alert in P1 else "#alerts-low"
        assert channels(told(stack, "slack", alert)) == {channel}
    assert [m["reason"] for m in stack.messages() if not m["accepted"]] == []


def test_what_people_read_says_what_to_do(stack: Stack) -> None:
    """After the test above: what was told of a service that is down."""
    (first, *_) = told(stack, "slack", "ServiceDown")
    text = json.dumps(first["body"])
    for part in ("Impact", "Runbook", "1."):
        assert part in text, text
    page = told(stack, "pagerduty", "ServiceDown")[0]["body"]
    assert page["payload"]["severity"] == "critical"
    assert page["dedup_key"]
