"""What the real Alertmanager does when Slack or PagerDuty, as the inbox plays them, misbehave."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from opsloop import names
from opsloop.cli.main import cli
from opsloop.compile import conditions_stack
from opsloop.compile.options import Options
from opsloop.settings import Ports
from opsloop.stack.state import StackInfo, StateFolder
from tests.compile import catalogs
from tests.support.servers import Server, alertmanager, running
from tests.support.stack import free_port_base
from tests.support.wait import wait_until

CATALOG = """\
apiVersion: opsloop/v1
stack: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms, loop_interval: 500ms}
services:
  api: {team: shop, targets: {static: ["a:1"]}}
"""


@dataclass
class Desk:
    """An Alertmanager whose Slack and PagerDuty are an inbox."""

    server: Server
    inbox: Server
    state: Path

    def misbehave(self, vendor: str, how: str, times: int) -> None:
        words = ["inbox", "--state", str(self.state), "misbehave", vendor, how, "--for", str(times)]
        result = CliRunner().invoke(cli, words, standalone_mode=False)
        assert result.return_value == 0, result.output

    def post(self, name: str, severity: str = "P0") -> None:
        labels = {"alertname": name, "severity": severity, "service": "api", "team": "shop"}
        # What the engine posts is told again after 10 s when it could not be told.
        labels |= {"alertname": names.REMEDIATION_FAILED, "original": name}
        start = datetime.fromtimestamp(time.time(), UTC).isoformat()
        alert = {"labels": labels, "annotations": {"summary": name}, "startsAt": start}
        self.server.post("/api/v2/alerts", [alert])

    def told(self, vendor: str, word: str) -> list[dict[str, Any]]:
        found = self.inbox.get("/api/v1/messages")["messages"]
        return [m for m in found if m["vendor"] == vendor and word in str(m["body"])]

    def until(self, vendor: str, word: str) -> None:
        wait_until(lambda: self.told(vendor, word), f"{vendor} is told of {word}", 120.0)

    def told_of(self, integration: str) -> None:
        """Post what Prometheus tells of an integration that fails."""
        labels = {"alertname": names.NOTIFICATIONS_FAILING, "severity": "P1", "team": "platform"}
        labels |= {"service": "alertmanager", names.INTEGRATION: integration}
        start = datetime.fromtimestamp(time.time(), UTC).isoformat()
        alert = {"labels": labels, "annotations": {"summary": "it fails"}, "startsAt": start}
        self.server.post("/api/v2/alerts", [alert])

    def failed(self, integration: str) -> float:
        """Attempts that did not succeed, of Alertmanager's own count."""
        return self._counted("alertmanager_notification_requests_failed_total", integration)

    def lost(self, integration: str) -> float:
        """Share of notifications that were given up, as NotificationsFailing reads it."""
        lost = self._counted(conditions_stack.MESSAGES_FAILED, integration)
        return lost / max(1.0, self._counted(conditions_stack.MESSAGES, integration))

    def _counted(self, name: str, integration: str) -> float:
        import urllib3

        with urllib3.PoolManager(retries=False, timeout=10.0) as pool:
            lines = pool.request("GET", self.server.url + "/metrics").data.decode().splitlines()
        wanted = f'{name}{{integration="{integration}"}} '
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


@contextmanager
def desk(tmp_path: Path) -> Iterator[Desk]:
    ports = Ports(free_port_base())
    state = StateFolder(tmp_path)
    state.secrets.mkdir()
    slack = f"http://127.0.0.1:{ports.inbox}/slack/services/demo"
    (state.secrets / names.SECRET_SLACK_URL).write_text(slack)
    (state.secrets / names.SECRET_PAGERDUTY_KEY).write_text("k" * 32)
    (state.secrets / names.SECRET_WEBHOOK_TOKEN).write_text("w")
    (state.secrets / names.SECRET_FAULT_TOKEN).write_text("f-token")
    state.write(StackInfo(ports.base, str(tmp_path / "catalog"), "none", time.time()))
    catalog = catalogs.catalog_of(CATALOG, tmp_path / "catalog")
    config = catalogs.built(catalog, tmp_path, Options(ports=ports)) / names.ALERTMANAGER_YML
    command: list[str | Path] = [sys.executable, "-m", "opsloop.app", "inbox"]
    command += ["--state", tmp_path]
    with ExitStack() as stack:
        inbox = stack.enter_context(
            running(
                "inbox",
                [*command, "--port", str(ports.inbox)],
                port=ports.inbox,
                folder=tmp_path / "logs",
                ready="/healthz",
                environment={"PYTHONPATH": str(catalogs.ROOT / "src")},
            )
        )
        server = stack.enter_context(alertmanager(config, config.parent))
        yield Desk(server, inbox, tmp_path)


@pytest.mark.parametrize(
    ("vendor", "how"),
    [
        ("slack", "500"),
        ("pagerduty", "429"),
        pytest.param("slack", "429", marks=pytest.mark.full),
        pytest.param("pagerduty", "503", marks=pytest.mark.full),
    ],
)
def test_a_vendor_that_fails_for_a_while_is_told_in_the_end(
    tmp_path: Path, vendor: str, how: str
) -> None:
    with desk(tmp_path) as d:
        d.misbehave(vendor, how, 2)
        d.post("Lasting")
        other = "pagerduty" if vendor == "slack" else "slack"
        d.until(other, "Lasting")
        d.until(vendor, "Lasting")
        assert d.failed(vendor) == 2
        assert d.failed(other) == 0
        assert [m["accepted"] for m in d.told(vendor, "Lasting")] == [True]


@pytest.mark.parametrize("how", ["404", pytest.param("hang", marks=pytest.mark.full)])
def test_a_vendor_that_is_lost_takes_nothing_from_the_others(tmp_path: Path, how: str) -> None:
    with desk(tmp_path) as d:
        d.misbehave("slack", how, 1000)
        d.post("First")
        d.post("Second", "P1")  # Slack alone
        d.until("pagerduty", "First")
        seen = "the share that NotificationsFailing looks at"
        wait_until(lambda: d.lost("slack") > conditions_stack.UNDELIVERED, seen, 120.0)
        assert d.lost("pagerduty") == 0
        d.told_of("slack")
        d.until("pagerduty", names.NOTIFICATIONS_FAILING)
        d.post("Third")
        d.until("pagerduty", "Third")
        assert d.told("slack", "") == []
        d.misbehave("slack", "200", 0)
        for word in ("First", "Second", "Third"):
            d.until("slack", word)  # told when it is back


def test_a_wrong_key_is_seen_and_told_on_slack(tmp_path: Path) -> None:
    with desk(tmp_path) as d:
        d.misbehave("pagerduty", "403", 1000)
        d.post("First")
        d.until("slack", "First")
        seen = "the share that NotificationsFailing looks at"
        wait_until(lambda: d.lost("pagerduty") > conditions_stack.UNDELIVERED, seen, 120.0)
        assert d.lost("slack") == 0
        d.told_of("pagerduty")
        d.until("slack", names.NOTIFICATIONS_FAILING)
        assert d.told("pagerduty", "") == []
