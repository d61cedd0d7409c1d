"""Who is told what, by severity and team: routes.yml and alertmanager.yml in amtool's hands."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from opsloop.stack.checkers import sampled
from tests.compile import catalogs
from tests.support.servers import require

TEAMS = """\
apiVersion: opsloop/v1
processes:
  api: {command: [a], port: 8000}
  cart: {command: [a], port: 8010}
  pay: {command: [a], port: 8020}
  risk: {command: [a], port: 8030}
services:
  api: {team: shop, process: api, metrics: http}
  cart: {team: shop, process: cart, metrics: http}
  pay: {team: payments, process: pay, metrics: http}
  risk: {team: payments, process: risk, metrics: http}
  ship: {team: logistics, targets: {static: ["s:1"]}, metrics: http}
hosts:
  depot: {team: logistics, targets: {static: ["d:9100"]}}
alerts:
  Late: {expr: "late > 1", severity: P2, team: logistics, summary: Late}
  Odd: {expr: "odd > 1", severity: P1, service: api, team: payments, summary: Odd}
  Odder: {expr: "odder > 1", severity: P0, service: api, team: payments, summary: Odder}
  Spare: {expr: "spare > 1", severity: P2, team: shop, summary: Spare}
  Slow: {expr: "slow > 1", severity: P2, service: api, summary: Slow}
notifications:
  slack: "#ops"
  low_priority: "#ops-low"
  heartbeat: {url: "https://beat.example.com/opsloop", every: 30s, token_file: beat.token}
  quiet_hours: {start: "22:00", end: "07:00", weekdays: [monday, friday], location: Europe/Berlin}
  teams:
    payments:
      slack: {channel: "#payments", url_file: secrets/payments.url}
      pagerduty: {routing_key_file: secrets/payments.key}
      email: {to: pay@example.com, from: ops@example.com, smarthost: "mail.example.com:587",
              username: ops, password_file: secrets/mail.pw, severities: [P0]}
    logistics:
      low_priority: "#depot"
      webhook: {url: "https://depot.example.com/alerts", token_file: /etc/depot.token}
  maintenance:
    all: {start: "03:00", end: "04:00", weekdays: [sunday]}
    card: {services: [risk, api], start: "01:00", end: "02:00"}
remediation:
  mode: auto
  policies:
    shop-down: {when: {alert: [ServiceDown], team: [shop]}, limits: {max_runs: 6, window: 1h}, steps: [restart]}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    text = TEAMS[: TEAMS.index("remediation:")]
    return catalogs.catalog_of(text, tmp_path_factory.mktemp("catalog"))


@pytest.fixture(scope="module")
def build(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return catalogs.built(catalog, tmp_path_factory.mktemp("build"), Options(pagerduty="real"))


def config_of(build: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((build / names.ALERTMANAGER_YML).read_text())
    return found


def routes_of(build: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((build / names.ROUTES_YML).read_text())["routes"]
    return found


def reached(build: Path, **labels: str) -> list[str]:
    """The receivers of an alert with these labels, as amtool sees them."""
    command: list[str | Path] = [require("amtool"), "config", "routes", "test", "--config.file"]
    command += [names.ALERTMANAGER_YML, *(f"{k}={v}" for k, v in labels.items())]
    done = subprocess.run(command, cwd=build, check=True, capture_output=True)
    return done.stdout.decode().strip().split(",")


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("routes", ()):
        yield from nodes(child)


@pytest.mark.parametrize(
    ("team", "service", "severity", "receiver"),
    [
        ("shop", "api", "P0", "people-page"),
        ("shop", "api", "P1", "people"),
        ("shop", "api", "P2", "people-low"),
        ("payments", "pay", "P0", "team/payments/page"),
        ("payments", "risk", "P1", "team/payments"),
        ("payments", "pay", "P2", "people-low"),
        ("logistics", "ship", "P0", "team/logistics/page"),
        ("logistics", "ship", "P1", "team/logistics"),
        ("logistics", "ship", "P2", "team/logistics/low"),
    ],
)
def test_severity_and_team_decide(
    build: Path, team: str, service: str, severity: str, receiver: str
) -> None:
    labels = {"alertname": "Any", "team": team, "service": service, "severity": severity}
    assert reached(build, **labels) == [receiver]
    failed = {**labels, "alertname": names.REMEDIATION_FAILED, "policy": "p"}
    assert reached(build, **failed) == [receiver]


def test_what_routes_yml_states_is_what_amtool_sees(build: Path) -> None:
    routes = routes_of(build)
    for route in routes:
        assert reached(build, **route["labels"]) == route["receivers"], route
    told = {r for route in routes for r in route["receivers"]}
    made = {receiver["name"] for receiver in config_of(build)["receivers"]}
    assert told | {names.RECEIVER_ENGINE} == made


def test_every_way_of_a_receiver_is_made(build: Path) -> None:
    receivers = {r["name"]: r for r in config_of(build)["receivers"]}
    page = receivers["team/payments/page"]
    assert page["slack_configs"][0]["channel"] == "#payments"
    assert page["slack_configs"][0]["api_url_file"] == "../../catalog/secrets/payments.url"
    assert page["pagerduty_configs"][0]["routing_key_file"] == "../../catalog/secrets/payments.key"
    assert page["email_configs"][0]["auth_password_file"] == "../../catalog/secrets/mail.pw"
    assert set(receivers["team/payments"]) == {"name", "slack_configs"}
    low = receivers["team/logistics/low"]
    assert low["slack_configs"][0]["channel"] == "#depot"
    assert low["webhook_configs"][0]["http_config"]["authorization"] == {
        "type": "Bearer", "credentials_file": "/etc/depot.token"
    }  # fmt: skip
    assert "pagerduty_configs" in receivers["team/logistics/page"]
    assert receivers["people-low"]["slack_configs"][0]["channel"] == "#ops-low"
    beat = receivers["heartbeat"]["webhook_configs"][0]
    assert (beat["url"], beat["send_resolved"]) == ("https://beat.example.com/opsloop", False)


def test_secrets_that_are_not_there_are_stood_in_for(catalog: Catalog, tmp_path: Path) -> None:
    files = [file for _, file in catalog.notifications.secret_files()]
    assert len(files) == 5
    build = catalogs.built(catalog, tmp_path, Options(stand_ins=tuple(files)))
    receivers = {r["name"]: r for r in config_of(build)["receivers"]}
    inbox = "http://127.0.0.1:8082"
    page = receivers["team/payments/page"]
    assert page["slack_configs"][0]["api_url"] == f"{inbox}/slack/services/demo"
    assert page["pagerduty_configs"][0]["url"] == f"{inbox}/pagerduty/v2/enqueue"
    assert "email_configs" not in page
    assert [h["url"] for h in page["webhook_configs"]] == [f"{inbox}/webhook/email"]
    logistics = receivers["team/logistics"]["webhook_configs"]
    assert [h["url"] for h in logistics] == [f"{inbox}/webhook/alerts"]
    assert receivers["heartbeat"]["webhook_configs"][0]["url"] == f"{inbox}/webhook/heartbeat"
    subprocess.run(
        [require("amtool"), "check-config", names.ALERTMANAGER_YML],
        cwd=build, check=True, capture_output=True,
    )  # fmt: skip


def test_routes_yml_says_when(build: Path) -> None:
    def when(alertname: str, **labels: str) -> dict[str, Any]:
        return next(
            r["people"]
            for r in routes_of(build)
            if r["labels"]["alertname"] == alertname
            and all(r["labels"].get(k) == v for k, v in labels.items())
        )

    assert when("ServiceDown", service="api") == {
        "after": "30s", "repeat": "4h", "muted": ["all", "card"]
    }  # fmt: skip
    assert when("ServiceDown", team="logistics")["muted"] == ["all"]
    assert when("HighLatency", service="risk")["muted"] == ["all", "card", "quiet hours"]
    assert when("Late") == {"after": "30s", "repeat": "1d", "muted": ["all", "quiet hours"]}
    intervals = yaml.safe_load((build / names.ROUTES_YML).read_text())["intervals"]
    assert [i["name"] for i in intervals] == ["all", "card", "quiet hours"]
    assert intervals == config_of(build)["time_intervals"]


def test_quiet_hours_are_those_of_their_place_and_never_of_p0(build: Path) -> None:
    config = config_of(build)
    quiet = next(i for i in config["time_intervals"] if i["name"] == "quiet hours")
    assert quiet["time_intervals"] == [
        {"times": [{"start_time": "22:00", "end_time": "24:00"}],
         "weekdays": ["monday", "friday"], "location": "Europe/Berlin"},
        {"times": [{"start_time": "00:00", "end_time": "07:00"}],
         "weekdays": ["tuesday", "saturday"], "location": "Europe/Berlin"},
    ]  # fmt: skip
    for node in nodes(config["route"]):
        muted = "quiet hours" in node.get("mute_time_intervals", ())
        # A way to people that fails is P1, also where it is told by the other way.
        failing = f'alertname="{names.NOTIFICATIONS_FAILING}"' in node.get("matchers", ())
        if node["receiver"].endswith("page") and not failing:
            assert not muted, node
        elif node["receiver"].startswith("team/") or "low" in node["receiver"]:
            assert muted, node


def test_a_route_with_a_grace_leads_to_the_teams_too(tmp_path: Path) -> None:
    text = TEAMS.replace("team: [shop]}", "team: [shop, payments]}")
    build = catalogs.built(catalogs.catalog_of(text, tmp_path / "catalog"), tmp_path, Options())
    labels = {"alertname": "ServiceDown", "severity": "P0", "policy": "shop-down"}
    assert reached(build, **labels, team="shop", service="api") == ["engine", "people-page"]
    assert reached(build, **labels, team="payments", service="pay") == [
        "engine", "team/payments/page"
    ]  # fmt: skip
    for route in routes_of(build):
        assert reached(build, **route["labels"]) == route["receivers"], route


def test_fifty_teams_of_a_thousand_services_make_a_small_tree(tmp_path: Path) -> None:
    text = catalogs.many(1000)
    for n in range(1000):
        text = text.replace(f"svc-{n}: {{team: team-{n % 7},", f"svc-{n}: {{team: t-{n % 50},")
    rows = (f"    t-{n}: {{slack: '#t-{n}', low_priority: '#t-{n}-low'}}\n" for n in range(50))
    night = "{services: [svc-1, svc-2, svc-51], start: '01:00', end: '02:00'}"
    told = f"notifications:\n  teams:\n{''.join(rows)}  maintenance: {{night: {night}}}\n"
    files = compile_catalog(catalogs.catalog_of(text + told, tmp_path), Options()).files
    found = list(nodes(yaml.safe_load(files[names.ALERTMANAGER_YML])["route"]))
    leaves = 2 + 3 + 3  # two alerts with a grace; by severity, and so for the engine's posts
    branches = 1 + 50 + 2 + 1  # all, teams, two of them with a window, and it for the rest
    assert len(found) <= leaves * branches + 5
    assert len(files[names.ALERTMANAGER_YML]) < 600_000


def test_amtool_is_asked_of_each_kind_of_route_once(build: Path) -> None:
    routes = routes_of(build)
    some = sampled([*routes, *routes])
    assert some == sampled(routes)
    for kind in ("alertname", "severity", "policy"):
        assert {r["labels"].get(kind) for r in some} == {r["labels"].get(kind) for r in routes}
    told = {tuple(r["receivers"]) for r in routes}
    assert {tuple(r["receivers"]) for r in some} == told
    muted = {tuple(r.get("people", {}).get("muted", ())) for r in routes}
    assert {tuple(r.get("people", {}).get("muted", ())) for r in some} == muted
    others = [{**r, "labels": {**r["labels"], "service": "another"}} for r in routes]
    assert len(sampled([*routes, *others])) == len(some), "another service is no other kind"
