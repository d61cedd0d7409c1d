"""A state folder whose Prometheus, Alertmanager and inbox run, without the rest of a stack."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsloop import names
from opsloop.compile.options import Options
from opsloop.settings import Ports
from opsloop.stack.state import StackInfo, StateFolder
from tests.compile import catalogs
from tests.support.servers import Server, alertmanager, prometheus, running
from tests.support.stack import free_port_base

CATALOG = """\
apiVersion: opsloop/v1
stack: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms, loop_interval: 500ms}
processes:
  api: {command: [api], slots: 2, port: 8000}
services:
  api: {team: shop, process: api, metrics: http, alerts: {window: 2s}}
  web: {team: shop, targets: {static: ["127.0.0.1:1"]}, metrics: http}
  old: {team: data, targets: {static: ["127.0.0.1:2"]}}
notifications:
  maintenance: {move: {services: [old], start: "00:00", end: "24:00"}}
remediation:
  mode: auto
  policies:
    restart-down: {when: {alert: [ServiceDown], service: [api]}, limits: {max_runs: 6, window: 1h}, steps: [restart], verify: {hold: 1s}}
"""


@dataclass
class Stage:
    """The state folder and its ports; servers are started by the functions below."""

    state: Path
    ports: Ports


def stage(folder: Path) -> Stage:
    """A state folder as `up` leaves it: bundle, secrets, stack.json; nothing runs."""
    ports = Ports(free_port_base())
    state = StateFolder(folder / ".opsloop")
    state.prepare()
    catalog = catalogs.catalog_of(CATALOG, folder / "catalog")
    catalogs.built(catalog, state.root, Options(ports=ports))
    secrets = {
        names.SECRET_SCRAPE_PASSWORD: "a-password",
        names.SECRET_WEBHOOK_TOKEN: "a-token",
        names.SECRET_SLACK_URL: f"http://127.0.0.1:{ports.inbox}/slack/test",
        names.SECRET_PAGERDUTY_KEY: "too-short",  # which PagerDuty refuses
    }
    for name, text in secrets.items():
        (state.secrets / name).write_text(text)
    state.write(StackInfo(ports.base, str(folder / "catalog"), "none", time.time()))
    return Stage(state.root, ports)


@contextmanager
def alertmanager_of(stage: Stage) -> Iterator[Server]:
    config = stage.state / names.BUILD_DIR / names.ALERTMANAGER_YML
    with alertmanager(config, config.parent, port=stage.ports.alertmanager) as server:
        yield server


@contextmanager
def prometheus_of(stage: Stage, rules: dict[str, Any], folder: Path) -> Iterator[Server]:
    """With these rules (JSON is YAML), and its alerts go to the stage's Alertmanager."""
    folder.mkdir()
    (folder / "rules.yml").write_text(json.dumps(rules))
    target = [{"targets": [f"127.0.0.1:{stage.ports.alertmanager}"]}]
    config = {
        "global": {
            "scrape_interval": "1s",
            "evaluation_interval": "1s",
            "external_labels": {"cluster": "north"},
        },
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": target}]},
        "scrape_configs": [{"job_name": "alertmanager", "static_configs": target}],
    }
    # It drops what fires before it has found its Alertmanagers: told again at each evaluation.
    flags = ["--rules.alert.resend-delay=1s"]
    port = stage.ports.prometheus
    with prometheus(json.dumps(config), folder, port=port, flags=flags) as server:
        yield server


@contextmanager
def inbox_of(stage: Stage) -> Iterator[Server]:
    command = [sys.executable, "-m", "opsloop.app", "inbox"]
    port = stage.ports.inbox
    environment = {"PYTHONPATH": str(catalogs.ROOT / "src")}
    with running(
        "inbox",
        [*command, "--state", stage.state, "--port", str(port)],
        port=port,
        folder=stage.state / names.LOGS_DIR,
        ready="/healthz",
        environment=environment,
    ) as server:
        yield server
