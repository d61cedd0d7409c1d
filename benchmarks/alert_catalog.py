"""The catalog that alert_quality replays: its compiled rules, and what would be scraped for it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opsloop import names
from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.alerts import AlertRule, alert_rules
from opsloop.compile.bundle import RULES_DIR, compile_catalog
from opsloop.compile.options import Options
from opsloop.compile.prometheus import jobs

SCRAPE_S = 15
# Each of what alerts are about: HTTP services on addresses and in slots (met by policies), one
# that idles at night, a database that others need, hosts, probes, objectives.
CATALOG = """\
apiVersion: opsloop/v1
stack: {environment: bench}
processes:
  api: {command: ["{python}", api.py], slots: 4, port: 8000, health: /healthz}
services:
  checkout:
    team: shop
    tier: 1
    targets: {static: ["10.0.1.1:8000", "10.0.1.2:8000"]}
    metrics: http
    depends_on: [orders-db]
    slos:
      availability: {objective: 99.9%, sli: availability}
      latency: {objective: 95%, sli: {latency: {threshold: 500ms}}}
  search:
    team: search
    targets: {static: ["10.0.2.1:8000", "10.0.2.2:8000"]}
    metrics: http
    depends_on: [orders-db]
    slos: {availability: {objective: 99.9%, sli: availability}}
  api:
    team: shop
    tier: 1
    process: api
    instances: {wanted: 2, min: 2, max: 4}
    metrics: http
    depends_on: [orders-db]
    slos: {availability: {objective: 99.9%, sli: availability}}
  orders-db:
    team: data
    tier: 1
    postgres: {host: 10.0.3.1, user: opsloop, database: orders}
hosts:
  local: {}
  web-1: {targets: {static: ["10.0.1.1:9100"]}}
  db-1: {team: data, targets: {static: ["10.0.3.1:9100"]}}
probes:
  front: {type: http, target: "https://shop.example.org/", team: shop, service: checkout}
remediation:
  mode: auto
  policies:
    restart-down:
      when: {alert: [ServiceDown], service: [api]}
      steps: [{restart: {scope: instance}}]
      limits: {max_runs: 6, window: 1h}
    restart-on-errors:
      when: {alert: [HighErrorRate], service: [api]}
      steps: [{restart: {scope: service}}]
      limits: {max_runs: 6, window: 1h}
"""
# Parts of the catalog that are there when the model has them.
MORE = {
    "backups": "backups:\n  orders: {every: 24h, service: orders-db}\n",
    "certificates": "certificates:\n  internal: {file: /etc/ssl/internal.pem, team: shop}\n",
}


@dataclass(frozen=True)
class Rule:
    """An alerting rule as built. group: its name; every: how often it is evaluated, seconds."""

    alert: str
    group: str
    every: float
    expr: str
    for_: float
    labels: Mapping[str, str]

    @property
    def severity(self) -> str:
        return self.labels.get(names.SEVERITY, "")

    @property
    def policy(self) -> str | None:
        return self.labels.get(names.POLICY)

    @property
    def of_objectives(self) -> bool:
        return self.group.startswith("slo")


@dataclass(frozen=True)
class Target:
    """What is scraped: `job`, all labels of its series, and which metrics it has."""

    kind: str  # http, database, host, probe, part
    job: str
    labels: Mapping[str, str]

    @property
    def service(self) -> str:
        return self.labels[names.SERVICE]

    @property
    def instance(self) -> str:
        return self.labels[names.INSTANCE]


@dataclass(frozen=True)
class Built:
    """The catalog and all that was compiled of it."""

    catalog: Catalog
    files: Mapping[str, str]
    rules: tuple[Rule, ...]
    made: tuple[AlertRule, ...]  # what the rules were made of: windows and thresholds
    targets: tuple[Target, ...]

    def windows(self, alert: str, service: str) -> list[tuple[float, float]]:
        """(window in seconds, threshold) of each look-back of an alert on a service's rates."""
        for rule in self.made:
            for clause in rule.clauses:
                if rule.alert == alert and service in clause.subjects and clause.metrics:
                    both = {clause.window, clause.short}
                    return [(w.seconds, clause.threshold) for w in sorted(both)]
        return []

    def limit(self, alert: str, service: str) -> tuple[float, float]:
        """(threshold, window in seconds) of another alert about this service or host."""
        for rule in self.made:
            for clause in rule.clauses:
                if rule.alert == alert and service in (
                    *clause.subjects,
                    rule.labels.get("service"),
                ):
                    return clause.threshold, clause.window.seconds
        return 0.0, 0.0

    def wait(self, alert: str, service: str) -> float:
        """The `for` of an alert about this service, seconds."""
        waits = [
            made.for_.seconds
            for made in self.made
            if made.alert == alert and (service in made.subjects or not made.subjects)
        ]
        return max(waits, default=max((r.for_ for r in self.rules if r.alert == alert), default=0))


def build() -> Built:
    """Compile the catalog; every part of it that the model knows."""
    text = CATALOG + "".join(v for k, v in MORE.items() if k in Catalog.model_fields)
    with tempfile.TemporaryDirectory(prefix="opsloop-alerts-") as folder:
        path = Path(folder, "opsloop.yaml")
        path.write_text(text, encoding="utf-8")
        catalog = load(path, {}).catalog
    options = Options()
    files = compile_catalog(catalog, options).files
    groups = [
        group
        for path, text in files.items()
        if path.startswith(RULES_DIR)
        for group in yaml.safe_load(text)["groups"]
    ]
    recorded = {
        rule["record"]: rule["expr"]
        for group in groups
        for rule in group["rules"]
        if "record" in rule and not group["name"].startswith("slo")
    }
    rules = tuple(
        _rule(group, rule, recorded)
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    )
    return Built(
        catalog, files, rules, tuple(alert_rules(catalog, options)), _targets(catalog, options)
    )


def _rule(group: Mapping[str, Any], rule: Mapping[str, Any], recorded: Mapping[str, str]) -> Rule:
    expr = rule["expr"]
    if not group["name"].startswith("slo"):
        expr = _without_recordings(expr, recorded)
    return Rule(
        rule["alert"],
        group["name"],
        Duration.parse(group["interval"]).seconds,
        expr,
        Duration.parse(rule.get("for", "0s")).seconds,
        rule.get("labels", {}),
    )


def _without_recordings(expr: str, recorded: Mapping[str, str]) -> str:
    """What an alert reads of recording rules is put in its place: only raw series are replayed."""
    for name in sorted(recorded, key=len, reverse=True):
        found = re.compile(rf"(?<![\w:]){re.escape(name)}(?![\w:])(\{{|\[)?")
        if any(m.group(1) for m in found.finditer(expr)):
            raise RuntimeError(f"an alert selects among the series of {name}; replay them too")
        if found.search(expr):
            inner = _without_recordings(recorded[name], recorded)
            expr = found.sub(lambda _, inner=inner: f"(\n{inner}\n)", expr)  # type: ignore[misc]
    return expr


def _targets(catalog: Catalog, options: Options) -> tuple[Target, ...]:
    """From the built scrape configuration, so that all labels are those that rules see."""
    found = []
    for job in jobs(catalog, options):
        name = job["job_name"]
        stamped = {
            r["target_label"]: r["replacement"]
            for r in job["relabel_configs"]
            if "replacement" in r and r["target_label"] != "__address__"
        }
        addresses = [t for c in job.get("static_configs", []) for t in c["targets"]]
        process = catalog.process_of(name) if name in catalog.services else None
        if process is not None and process.port is not None:
            wanted = catalog.services[name].instances.wanted
            addresses = [f"127.0.0.1:{process.port + slot}" for slot in range(wanted)]
        found += [
            Target(_kind(catalog, name), name, {"job": name, names.INSTANCE: a, **stamped})
            for a in addresses
        ]
    return tuple(found)


def _kind(catalog: Catalog, job: str) -> str:
    if job in catalog.services:
        return "database" if catalog.services[job].postgres else "http"
    if job.startswith("host/") or job == "node-exporter":
        return "host"
    return "probe" if job.startswith("probe/") else "part"
