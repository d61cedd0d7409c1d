"""A catalog with many mistakes: each told once, those that follow from another not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop.catalog.load import load
from opsloop.errors import CatalogError

TEN = """\
apiVersion: opsloop/v1
stack:
  scrape_intervall: 5s
  retention: 15
processes:
  api: {command: [api], port: 9090}
services:
  api:
    team: shop
    process: apy
    tier: 9
  web:
    team: shop
    targets: {static: ["web:99999"]}
    depends_on: [wep]
probes:
  front: {target: "http://127.0.0.1:8000", service: shop}
notifications:
  slack: {channel: "https://hooks.slack.com/services/T0/B0/x"}
remediation:
  policies:
    restart: {when: {alert: [ServiceDwn]}, limits: {max_runs: 6, window: 1h}, steps: [restart]}
"""


def told(text: str, tmp_path: Path) -> list[tuple[int, str]]:
    file = tmp_path / "opsloop.yaml"
    file.write_text(text)
    with pytest.raises(CatalogError) as caught:
        load(file, {})
    return [(p.line, p.path) for p in caught.value.problems]


def test_ten_mistakes_are_ten_messages(tmp_path: Path) -> None:
    assert told(TEN, tmp_path) == [
        (3, "stack.scrape_intervall"),
        (4, "stack.retention"),
        (6, "processes.api.port"),
        (10, "services.api.process"),
        (11, "services.api.tier"),
        (14, "services.web.targets.static[0]"),
        (15, "services.web.depends_on[0]"),
        (17, "probes.front.service"),
        (19, "notifications.slack.channel"),
        (22, "remediation.policies.restart.when.alert[0]"),
    ]


def test_a_broken_entry_is_not_called_missing(tmp_path: Path) -> None:
    text = """\
apiVersion: opsloop/v1
services:
  api: {targets: {static: ["api:80"]}}
  web: {team: shop, targets: {static: ["web:80"]}, depends_on: [api, apu]}
"""
    assert told(text, tmp_path) == [(3, "services.api.team"), (4, "services.web.depends_on[1]")]


def test_what_rests_on_a_broken_field_is_not_told(tmp_path: Path) -> None:
    text = """\
apiVersion: opsloop/v1
processes:
  api: {command: [api], port: 8000, slots: many}
services:
  api: {team: shop, process: api, instances: {wanted: 3, min: 2}}
  web: {team: shop, targets: {static: [web]}}
remediation:
  policies:
    scale: {when: {alert: [HighLatency], service: [api]}, limits: {max_runs: 6, window: 1h}, steps: [scale_out]}
    slow: {when: {alert: [ServiceDown], service: [api]}, limits: {max_runs: 6, window: 1h}, steps: [restart],
           verify: {hold: long, timeout: 5s}}
"""
    assert told(text, tmp_path) == [
        (3, "processes.api.slots"),
        (6, "services.web.targets.static[0]"),
        (11, "remediation.policies.slow.verify.hold"),
    ]


def test_rules_are_checked_beside_a_wrong_type(tmp_path: Path) -> None:
    text = """\
apiVersion: opsloop/v1
services:
  web: {team: shop, targets: {static: ["web:80", "web:80"]}, tier: high, depends_on: [web]}
"""
    assert told(text, tmp_path) == [
        (3, "services.web.tier"),
        (3, "services.web.targets.static[1]"),
        (3, "services.web.depends_on[0]"),
    ]


def test_a_key_twice_does_not_hide_the_rest(tmp_path: Path) -> None:
    text = """\
apiVersion: opsloop/v1
services:
  web: {team: shop, team: shop, targets: {static: ["web:80"]}, depends_on: [api]}
"""
    assert told(text, tmp_path) == [(3, "services.web.team"), (3, "services.web.depends_on[0]")]
