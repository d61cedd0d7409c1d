"""What compile makes, in the hands of the tools that read it: promtool, amtool, the exporters."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.exporters import web_config
from opsloop.compile.options import Options
from opsloop.settings import Ports
from tests.compile import catalogs
from tests.support.servers import require

TEXTS = {
    "minimal": catalogs.MINIMAL,
    "without policies": catalogs.NO_POLICIES,
    "everything": catalogs.EVERYTHING,
    "200 services": catalogs.many(200),
    "IPv6": catalogs.MINIMAL.replace("stack:\n", 'stack:\n  bind: "::1"\n'),
}


def run(command: Sequence[object], folder: Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def catalog_named(name: str, folder: Path) -> Catalog:
    if name == "shop":
        return catalogs.shop()
    return catalogs.catalog_of(TEXTS[name], folder / "catalog")


@pytest.fixture(params=["shop", *TEXTS])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return catalogs.built(catalog_named(request.param, tmp_path), tmp_path, Options(Ports(300)))


def test_prometheus_takes_the_configuration_and_rules(build: Path) -> None:
    said = run([require("promtool"), "check", "config", names.PROMETHEUS_YML], build)
    rules = sorted((build / "prometheus/rules").glob("*.yml"))
    assert said.count("rules found") == len(rules) > 1
    assert "FAILED" not in said, "not even a lint, as of two rules with the same name and labels"


@pytest.mark.full
def test_every_test_passes(build: Path) -> None:
    """Those of the shop run among the core tests too, in `make test-alerts`."""
    tests = sorted((build / "prometheus/tests").glob("*.yml"))
    run([require("promtool"), "test", "rules", *tests], build)


def test_every_alert_has_tests(build: Path) -> None:
    tests = sorted((build / "prometheus/tests").glob("*.yml"))
    alerts = {
        (rule["alert"], rule["labels"].get("policy"))
        for path in (build / "prometheus/rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    tested = {path.name.split(".")[0] for path in tests}
    assert {alert for alert, _ in alerts if not alert.startswith("SLO")} == {
        name for name in tested if not name.startswith("slo-")
    }
    assert len(tests) >= len({(a, p) for a, p in alerts if not a.startswith("SLO")})


def test_alertmanager_takes_the_configuration(build: Path) -> None:
    run([require("amtool"), "check-config", names.ALERTMANAGER_YML], build)


def test_each_alert_reaches_its_receivers(build: Path) -> None:
    routes = yaml.safe_load((build / names.ROUTES_YML).read_text())["routes"]
    assert len(routes) > 9
    seen = set()
    for route in routes:
        labels = [f"{k}={v}" for k, v in route["labels"].items()]
        expected = ",".join(route["receivers"])
        command = [require("amtool"), "config", "routes", "test", "--config.file"]
        command += [names.ALERTMANAGER_YML, f"--verify.receivers={expected}", *labels]
        run(command, build)
        seen.add(expected)
    assert {"engine", "people", "people-page", "nobody"} <= seen


def test_blackbox_exporter_takes_its_modules(build: Path) -> None:
    program = require("prometheus-blackbox-exporter", "blackbox_exporter")
    run([program, "--config.check", f"--config.file={names.BLACKBOX_YML}"], build)
    modules = yaml.safe_load((build / names.BLACKBOX_YML).read_text())["modules"]
    config = yaml.safe_load((build / names.PROMETHEUS_YML).read_text())
    for job in config["scrape_configs"]:
        if job["job_name"].startswith("probe/"):
            assert job["params"]["module"][0] in modules


def test_what_the_engine_asks_is_promql(build: Path, tmp_path: Path) -> None:
    facts = json.loads((build / names.ENGINE_JSON).read_text())["facts"]
    rules = [
        {"record": f"fact:{at}:{kind}", "expr": fact[kind]}
        for at, fact in enumerate(facts)
        for kind in ("condition", "fresh", "sli")
    ]
    (tmp_path / "facts.yml").write_text(json.dumps({"groups": [{"name": "f", "rules": rules}]}))
    run([require("promtool"), "check", "rules", "facts.yml"], tmp_path)


def test_prometheus_takes_the_web_config(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(web_config({"opsloop": "$2b$04$" + "a" * 53}))
    run([require("promtool"), "check", "web-config", "web.yml"], tmp_path)
    assert yaml.safe_load((tmp_path / "web.yml").read_text()) == {
        "basic_auth_users": {"opsloop": "$2b$04$" + "a" * 53}
    }
