"""From the catalog's objectives to rules: sources, names, what is shared, and policies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import Alerting
from opsloop.catalog.units import Duration
from opsloop.compile.options import Options
from opsloop.compile.slo_resolve import alerting_text, bucket_matcher, slo_specs
from opsloop.compile.slo_spec import Age, Counters, Rates, Ratio, Runs, SLOSpec, indicators
from opsloop.errors import InputError
from opsloop.settings import Ports
from tests.compile import catalogs
from tests.support.servers import require

EVERY_KIND = """\
apiVersion: opsloop/v1
stack: {environment: live, scrape_interval: 10s}
services:
  web:
    team: shop
    tier: 1
    runbook: https://runbooks.example/web
    targets: {static: ["10.0.0.1:80"]}
    scrape: {interval: 15s, timeout: 4s}
    metrics: http
    slos:
      available: {objective: 99.9%, description: "no errors", sli: availability}
      quick: {objective: 95%, window: 7d, sli: {latency: {threshold: 250ms}}}
      seen: {objective: 99%, sli: {probe: front}}
      mails: {objective: 99%, sli: {events: {total: " m_total ", errors: 'm_total{ok="no"}', series: all}}}
      jobs: {objective: 99%, window: calendar-month, sli: {events: {total: j_total, good: 'j_total{ok="yes"}'}}}
      fresh: {objective: 99%, sli: {freshness: {metric: backup_seconds, max_age: 26h}}}
      ratio: {objective: 99%, sli: {promql: {error_ratio: "1 - avg_over_time(up[{window}])"}}}
      rates: {objective: 99%, sli: {promql: {errors: "rate(e[{window}])", total: "rate(t[{window}])"}}}
  own:
    team: data
    targets: {static: ["10.0.0.2:80"]}
    metrics:
      requests: 'calls_total{kind="x"}'
      errors: 'calls_total{kind="x",ok="no"}'
      latency: 'call_seconds{kind="x"}'
      buckets: [500ms, 1s]
    slos:
      available: {objective: 99%, sli: availability}
      quick: {objective: 99%, sli: {latency: {threshold: 1s}}}
probes:
  front: {target: "http://w.example/", service: web, interval: 20s}
"""


def specs_of(text: str) -> dict[str, SLOSpec]:
    return {f"{s.service}/{s.slo}": s for s in slo_specs(catalogs.unchecked(text), Options())}


def test_each_kind_has_its_source() -> None:
    found = specs_of(EVERY_KIND)
    assert {name: s.source for name, s in found.items()} == {
        "web/available": Counters("http_requests_total", 'http_requests_total{code=~"5.."}'),
        "web/quick": Counters(
            "http_request_duration_seconds_count{}",
            good='http_request_duration_seconds_bucket{le="0.25"}',
        ),
        "web/seen": Runs('probe_success{probe="front"}'),
        "web/mails": Counters("m_total", 'm_total{ok="no"}', own=False),
        "web/jobs": Counters("j_total", good='j_total{ok="yes"}'),
        "web/fresh": Age("backup_seconds", 93_600.0),
        "web/ratio": Ratio("1 - avg_over_time(up[{window}])"),
        "web/rates": Rates("rate(e[{window}])", "rate(t[{window}])"),
        "own/available": Counters('calls_total{kind="x"}', 'calls_total{kind="x",ok="no"}'),
        "own/quick": Counters(
            'call_seconds_count{kind="x"}', good=r'call_seconds_bucket{kind="x",le=~"1(\\.0)?"}'
        ),
    }
    one = found["web/available"]
    assert one.series_labels == {
        "slo": "available", "service": "web", "sli": "http-availability", "objective": "99.9%",
        "period": "30d", "team": "shop", "tier": "1", "environment": "live",
    }  # fmt: skip
    assert (one.description, one.runbook) == ("no errors", "https://runbooks.example/web")
    assert (one.scrape_interval, one.scrape_timeout) == (Duration.of(15), Duration.of(4))
    assert found["web/seen"].scrape_interval == Duration.of(20)
    assert [s.sli for n, s in found.items() if n in ("web/quick", "web/seen")] == [
        "http-latency-250ms", "web-probe-front",
    ]  # fmt: skip


@pytest.mark.full
def test_what_it_makes_passes_promtool(tmp_path: Path) -> None:
    build = catalogs.built(catalogs.catalog_of(EVERY_KIND, tmp_path / "catalog"), tmp_path)
    promtool(build, "check", "config", names.PROMETHEUS_YML)
    tests = sorted(p.name for p in (build / "prometheus/tests").glob("slo-sli-*.yml"))
    assert len(tests) == 7  # two of errors, two of good, one that is not own, runs, age
    promtool(build / "prometheus/tests", "test", "rules", *tests)


def promtool(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [require("promtool"), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def fleet(services: int, own_each: int = 4) -> str:
    """Services of two kinds with three objectives each, of a few periods."""
    lines = ["apiVersion: opsloop/v1", "services:"]
    for n in range(services):
        metrics = (
            "http"
            if n % own_each
            else f"{{requests: 'calls_total{{app=\"{n}\"}}',"
            f' errors: \'calls_total{{app="{n}",ok="no"}}\', latency: call_seconds, buckets: [500ms]}}'
        )
        window = ("30d", "7d", "calendar-month")[n % 3]
        lines += [
            f"  svc-{n}:",
            f"    team: team-{n % 7}",
            f'    targets: {{static: ["10.0.{n // 250}.{n % 250}:80"]}}',
            f"    metrics: {metrics}",
            "    slos:",
            f"      available: {{objective: 99.9%, window: {window}, sli: availability}}",
            f"      quick: {{objective: {95 + n % 3}%, window: {window}, sli: {{latency: {{threshold: 500ms}}}}}}",
            "      jobs: {objective: 99%, sli: {events: {total: jobs_total, errors: 'jobs_total{ok=\"no\"}'}}}",
        ]
    return "\n".join(lines) + "\n"


def test_equal_sources_share_their_rules() -> None:
    specs = slo_specs(catalogs.unchecked(fleet(40)), Options())
    found = {i.name: len(i.services) for i in indicators(specs)}
    assert found["http-availability"] == found["http-latency-500ms"] == 30
    assert len(found) == 2 + 10 + 1 + 1  # own metrics: each its calls, one latency, one of jobs


def test_a_name_rests_on_nothing_but_the_source() -> None:
    few, more = specs_of(fleet(9)), specs_of(fleet(40))
    assert {n: s.sli for n, s in more.items() if n in few} == {n: s.sli for n, s in few.items()}
    changed = specs_of(fleet(9).replace("99.9%", "98%").replace("7d", "14d"))
    assert {n: s.sli for n, s in changed.items()} == {n: s.sli for n, s in few.items()}
    other = specs_of(fleet(9).replace('ok="no"', 'ok="not"'))
    assert other["svc-0/available"].sli != few["svc-0/available"].sli


def test_bounds_are_met_as_clients_write_them() -> None:
    assert str(bucket_matcher(0.25)) == 'le="0.25"'
    assert str(bucket_matcher(1.0)) == r'le=~"1(\\.0)?"'
    assert str(bucket_matcher(10.0)) == r'le=~"10(\\.0)?"'


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, ""),
        ({"page": False}, "no-page"),
        ({"ticket": False, "min_events": 5}, "no-ticket.min-events-5"),
    ],
)
def test_own_alerting_has_a_name(given: dict[str, object], text: str) -> None:
    assert alerting_text(Alerting.model_validate(given)) == text


def test_own_windows_have_names_by_what_they_are() -> None:
    def named(budget: str) -> str:
        window = {"kind": "page", "long": "1h", "short": "5m", "budget": budget}
        return alerting_text(Alerting.model_validate({"windows": [window]}))

    assert named("2%").startswith("windows-")
    assert named("2%") == named("2.0%") != named("3%")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("    metrics: http\n", "", "services.web.slos.available.sli: the service has no metric"),
        ("probe: front", "probe: back", "services.web.slos.seen.sli.probe: there is no probe"),
        (
            "      latency: 'call",
            "      # '",
            "services.own.slos.quick.sli: the service has no hist",
        ),
    ],
)
def test_what_cannot_be_measured_is_named(before: str, after: str, message: str) -> None:
    assert before in EVERY_KIND
    with pytest.raises(InputError, match=message):
        specs_of(EVERY_KIND.replace(before, after, 1))


def test_600_objectives_of_200_services_pass(tmp_path: Path) -> None:
    build = catalogs.built(catalogs.catalog_of(fleet(200, 20), tmp_path / "catalog"), tmp_path)
    promtool(build, "check", "config", names.PROMETHEUS_YML)
    rules = yaml.safe_load((build / "prometheus/rules/slo.yml").read_text())["groups"][0]["rules"]
    objectives = yaml.safe_load((build / "prometheus/rules/slo-objectives.yml").read_text())
    assert len(objectives["groups"][0]["rules"]) == 600
    assert len(rules) < 150, "heavy rules grow with sources, not with objectives"
    tests = sorted(p.name for p in (build / "prometheus/tests").glob("slo-*.yml"))
    assert len(tests) < 30
    some = [t for t in tests if t.startswith("slo-sli-http")]
    assert some
    promtool(build / "prometheus/tests", "test", "rules", *some)


POLICIES = """
processes:
  web: {command: [web], port: 8000, slots: 2}
  api: {command: [api], port: 8010, slots: 2}
services:
  web: {team: a, process: web, metrics: http, slos: {up: {objective: 99%, sli: availability}}}
  api: {team: b, process: api, metrics: http, slos: {up: {objective: 99%, sli: availability}}}
  job: {team: b, targets: {static: ["j:1"]}, metrics: http, slos: {up: {objective: 99%, sli: availability}}}
remediation:
  policies:
    burn: {when: {alert: [SLOBurnRateCritical, SLODataMissing], service: [web, api]}, mode: approve, limits: {max_runs: 6, window: 1h}, steps: [restart]}
"""


def test_an_alert_that_a_policy_meets_has_a_rule_of_its_own(tmp_path: Path) -> None:
    text = "apiVersion: opsloop/v1\n" + POLICIES.removeprefix("\n")
    catalog = catalogs.catalog_of(text, tmp_path / "catalog")
    build = catalogs.built(catalog, tmp_path, Options(Ports(300)))
    promtool(build, "check", "config", names.PROMETHEUS_YML)
    (group,) = yaml.safe_load((build / "prometheus/rules/slo.yml").read_text())["groups"]
    pages = [r for r in group["rules"] if r.get("alert") == "SLOBurnRateCritical"]
    assert [r["labels"].get("policy") for r in pages] == [None, "burn"]
    assert 'service="job"' in pages[0]["expr"]
    assert 'service=~"api|web"' in pages[1]["expr"]
    assert pages[1]["annotations"]["remediation"].startswith("Policy burn waits for a person's")
    assert pages[0]["annotations"]["remediation"] == "No policy acts on this alert."
    facts = json.loads((build / names.ENGINE_JSON).read_text())["facts"]
    assert [(f["alert"], f["policy"], f["scope"], f["grace_s"]) for f in facts] == [
        ("SLOBurnRateCritical", "burn", "service", 0.0),
        ("SLODataMissing", "burn", "service", 0.0),
    ]
    rules = [
        {"record": f"f:{at}:{kind}", "expr": fact[kind]}
        for at, fact in enumerate(facts)
        for kind in ("condition", "fresh", "sli")
    ]
    (tmp_path / "facts.yml").write_text(json.dumps({"groups": [{"name": "f", "rules": rules}]}))
    promtool(tmp_path, "check", "rules", "facts.yml")
    routes = yaml.safe_load((build / names.ROUTES_YML).read_text())["routes"]
    mine = [r for r in routes if r["labels"]["alertname"] == "SLOBurnRateCritical"]
    told = {r["labels"]["service"]: r["receivers"] for r in mine}
    both = ["engine", "people-page"]
    assert told == {"job": ["people-page"], "api": both, "web": both}
    for route in mine:
        labels = [f"{k}={v}" for k, v in route["labels"].items()]
        command: list[str | Path] = [require("amtool"), "config", "routes", "test", "--config.file"]
        command += [names.ALERTMANAGER_YML, f"--verify.receivers={','.join(route['receivers'])}"]
        subprocess.run([*command, *labels], cwd=build, check=True, capture_output=True)
    rules = yaml.safe_load((build / names.ALERTMANAGER_YML).read_text())["inhibit_rules"]
    assert any(r["target_matchers"] == ['alertname="SLOBurnRateCritical"'] for r in rules)


def test_the_runbook_has_a_section_for_each_alert() -> None:
    text = (catalogs.ROOT / "RUNBOOK.md").read_text()
    for alert in ("SLOBurnRateCritical", "SLOBurnRateHigh", "SLODataMissing",
                  "SLOErrorsExceedTotal", "SLOBudgetExhausted"):  # fmt: skip
        assert f"\n## {alert}\n" in text


def test_a_catalog_of_objectives_alone_compiles(tmp_path: Path) -> None:
    slo = {"objective": "99%", "sli": {"events": {"total": "t", "errors": "e", "series": "all"}}}
    value = {"apiVersion": "opsloop/v1", "services": {"web": {"team": "a", "slos": {"up": slo}}}}
    build = catalogs.built(Catalog.model_validate(value), tmp_path)
    promtool(build, "check", "config", names.PROMETHEUS_YML)


def test_own_alerts_may_rest_on_objectives(tmp_path: Path) -> None:
    text = """\
apiVersion: opsloop/v1
services:
  web: {team: a, targets: {static: ["w:1"]}, metrics: http, slos: {up: {objective: 99%, sli: availability}}}
alerts:
  ManyErrors:
    expr: 'slo:errors:tile1m{service="web"} > 40'
    severity: P2
    service: web
    summary: many
    tests:
      - name: fires on fifty errors a minute
        interval: 1m
        series:
          - {series: 'http_requests_total{service="web",job="web",instance="w:1",code="500"}', values: "0+50x9"}
          - {series: 'http_requests_total{service="web",job="web",instance="w:1",code="200"}', values: "0+50x9"}
        expect: [{at: 0s, firing: false}, {at: 6m, firing: true}]
"""
    build = catalogs.built(catalogs.catalog_of(text, tmp_path / "catalog"), tmp_path)
    tests = build / "prometheus/tests"
    assert "slo-objectives" in (tests / "ManyErrors.yml").read_text()
    promtool(tests, "test", "rules", "ManyErrors.yml")
