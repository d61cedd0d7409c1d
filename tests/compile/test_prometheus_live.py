"""The compiled configuration in a real Prometheus: labels, credentials, files, alerts, facts."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.compile import places
from opsloop.compile.options import Options
from opsloop.settings import Ports
from tests.compile import catalogs
from tests.support.net import free_ports
from tests.support.servers import Server, prometheus
from tests.support.stack import free_port_base
from tests.support.wait import wait_until
from tests.support.webhook import receiver

CATALOG = """\
apiVersion: opsloop/v1
stack: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 500ms, loop_interval: 500ms}}
processes:
  proc: {{command: [proc], slots: 2, port: 8000}}
services:
  plain: {{team: web, tier: 1, targets: {{static: ["127.0.0.1:{alive}"]}}, metrics: http, alerts: {{window: 8s}}, labels: {{product: "a$1b"}}}}
  filed: {{team: web, targets: {{files: [targets/*.json]}}, scrape: {{auth: {{username: me, password_file: pw}}}}}}
  proc: {{team: data, process: proc, scrape: {{auth: stack}}}}
remediation:
  mode: auto
  policies:
    restart: {{when: {{alert: [ServiceDown], service: [proc]}}, limits: {{max_runs: 6, window: 1h}}, steps: [restart]}}
"""
METRICS = b"""\
# TYPE http_requests_total counter
http_requests_total{code="200",service="claims-to-be-another",instance="x"} 5
"""


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def by_instance(server: Server, expr: str) -> dict[str, str]:
    return {s["metric"]["instance"]: s["value"][1] for s in server.query(expr)}


def test_what_prometheus_makes_of_it(tmp_path: Path) -> None:
    alive, dead = free_ports(2)
    folder = tmp_path / "catalog-folder"
    catalog = catalogs.catalog_of(CATALOG.format(alive=alive), folder)
    build = catalogs.built(catalog, tmp_path, Options(Ports(free_port_base())))
    (tmp_path / names.SECRETS_DIR).mkdir()
    (tmp_path / names.SECRETS_DIR / names.SECRET_SCRAPE_PASSWORD).write_text("stack-password")
    (tmp_path / places.CATALOG_LINK).symlink_to(folder)
    (folder / "pw").write_text("its-password")
    (folder / "targets").mkdir()
    wrong = {"service": "wrong", "team": "wrong", "instance": "wrong", "zone": "z1"}
    group = {"targets": [f"localhost:{alive}"], "labels": wrong}
    (folder / "targets" / "one.json").write_text(json.dumps([group]))
    (tmp_path / names.TARGETS_DIR).mkdir()
    slots = [{"targets": [f"127.0.0.1:{alive}", f"127.0.0.1:{dead}"]}]
    (tmp_path / names.TARGETS_DIR / "proc.json").write_text(json.dumps(slots))

    with (
        receiver(alive) as target,
        prometheus(build / names.PROMETHEUS_YML, tmp_path / "prometheus") as server,
    ):
        target.answer(200, METRICS)

        def up() -> dict[tuple[str, str], dict[str, str]]:
            found = server.query('up{job=~"plain|filed|proc"}')
            assert len(found) == 4
            return {(s["metric"]["job"], s["metric"]["instance"]): s["metric"] for s in found}

        series = wait_until(up, "all targets are scraped")
        common = {"__name__": "up", "tier": "2", "environment": "demo"}
        assert series["plain", f"127.0.0.1:{alive}"] == common | {
            "job": "plain", "service": "plain", "team": "web", "tier": "1", "product": "a$1b",
            "instance": f"127.0.0.1:{alive}",
        }  # fmt: skip
        assert series["filed", f"localhost:{alive}"] == common | {
            "job": "filed", "service": "filed", "team": "web", "zone": "z1",
            "instance": f"localhost:{alive}",
        }  # fmt: skip
        sent = {r.headers.get("authorization", "") for r in target.received}
        assert sent == {"", basic("me", "its-password"), basic("opsloop", "stack-password")}
        claims = server.query('http_requests_total{job="plain"}')[0]["metric"]
        assert claims["service"] == "plain"
        assert claims["exported_service"] == "claims-to-be-another"

        def down() -> bool:
            found = server.query('ALERTS{alertname="ServiceDown",alertstate="firing"}')
            return [s["metric"] for s in found] == [
                {
                    "__name__": "ALERTS", "alertname": "ServiceDown", "alertstate": "firing",
                    "severity": "P0", "policy": "restart", "service": "proc", "team": "data",
                    "tier": "2", "environment": "demo", "instance": f"127.0.0.1:{dead}",
                }
            ]  # fmt: skip

        # A scrape that took too long on a busy machine would make another fire for a moment.
        wait_until(down, "the dead instance fires, and no other")
        wanted = {f"127.0.0.1:{alive}": "1", f"127.0.0.1:{dead}": "0"}
        wait_until(
            lambda: by_instance(server, 'service:instance_up:value{service="proc"}') == wanted,
            "it is recorded",
        )
        facts = EngineInput.model_validate_json((build / names.ENGINE_JSON).read_text()).facts
        assert [f.alert for f in facts] == ["ServiceDown"]
        for query, ports in (
            (facts[0].condition, {dead}),
            (facts[0].sli, {alive}),
            (facts[0].fresh, {alive, dead}),
        ):
            instances = {f"127.0.0.1:{port}" for port in ports}
            wait_until(lambda q=query, i=instances: set(by_instance(server, q)) == i, query)  # type: ignore[misc]
