"""Catalogs that the tests of compile share, from the smallest to one that uses everything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.compile.bundle import Bundle, compile_catalog
from opsloop.compile.options import Options

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples/shop/opsloop.yaml"

MINIMAL = """\
apiVersion: opsloop/v1
stack:
  environment: staging
processes:
  web: {command: [web, --port, "{port}"], port: 8000}
services:
  web:
    team: web
    process: web
    metrics: http
hosts:
  local: {}
remediation:
  policies:
    look: {when: {alert: [ServiceDown]}, limits: {max_runs: 6, window: 1h}, steps: [restart]}
"""

NO_POLICIES = """\
apiVersion: opsloop/v1
services:
  web: {team: web, metrics: http, targets: {static: ["10.1.0.1:80", "10.1.0.2:80"]}}
  db: {team: data, postgres: {host: 10.1.0.3}}
hosts:
  machine: {targets: {static: ["10.1.0.1:9100"]}}
alerts:
  QueueLong:
    expr: queue_length > 100
    severity: P2
    team: web
    summary: The queue is long
    tests:
      - name: fires
        series: [{series: "queue_length{}", values: "50 101x5"}]
        expect: [{at: 0s, firing: false}, {at: 15s, firing: true}]
"""

DECLARED = """\
backups:
  nightly: {every: 24h, service: db}
  quick: {every: 10m, grace: 5m, team: data}
certificates:
  inner: {file: tls/inner.pem, expires_within: 14d, service: web}
probes:
  front: {type: http, target: "https://front.example.com/", service: web, team: web}
  mail: {type: tls, target: "mail.example.com:993", expires_within: 10d}
"""

EVERYTHING = r"""
apiVersion: opsloop/v1
stack:
  environment: prod-like
  cluster: north
  scrape_interval: 10s
  evaluation_interval: 10s
  loop_interval: 2s
  external_labels: {region: "eu$1"}
  console_url: https://ops.example.com/console/
  runbook_url: https://runbooks.example.com/alerts
  clock_skew: 500ms
processes:
  queue:
    command: ["{python}", queue.py, --port, "{port}", "50% ;of 'it'", "a #b", "{state}/x y", ""]
    slots: 2
    port: 7000
    environment: {NAME: 'say "hi" ; it''s 5%', WHERE: "{catalog_dir}/{slot}"}
  store: {command: ["{python}", store.py], port: 5440, stop_signal: INT}
  cron: {command: [cron], after: [queue, store], autorestart: false, stop_wait: 1500ms}
services:
  front:
    team: web
    tier: 1
    runbook: https://runbooks.example.com/front?a={{b}}
    targets: {static: ["10.0.1.2:443", "10.0.1.1:443"], files: [targets/front.json]}
    scrape: {scheme: https, path: /stats, interval: 20s, timeout: 5s, auth: {username: me, password_file: scrape.pw}}
    metrics: http
    labels: {product: "sho$p"}
    depends_on: [queue]
    alerts: {error_ratio: 1%, latency_p95: 250ms, window: 2m, min_requests: 300}
  middle:
    team: web
    targets: {files: ["targets/*.yml"]}
    metrics: http
    depends_on: [store]
    alerts: {service_down: false, error_ratio: 10%}
  queue:
    team: data
    process: queue
    instances: {wanted: 1}
    metrics:
      requests: 'jobs_total{kind!~"test|dry.*"}'
      errors: 'jobs_total{kind!~"test|dry.*",outcome=~"fail(ed)?|(?:time|ti)out|\\d[a-c]+x{2}"}'
      latency: 'job_seconds{kind="batch"}'
    saturation:
      - {name: depth, query: "sum(queue_depth) / 1000"}
      - {name: workers, query: 'queue_busy{state="b"} / queue_workers  # busy ones'}
    depends_on: [store, audit]
    alerts: {latency_p95: 30s, window: 45s}
  errors-elsewhere:
    team: data
    targets: {static: ["10.0.2.1:80"]}
    metrics: {requests: "calls_total", errors: "call_failures_total", latency: "call_seconds"}
    alerts: {latency_p95: false, error_ratio: 0.5%}
  silent:
    team: data
    targets: {static: ["10.0.2.9:80"]}
    metrics: http
    alerts: {error_ratio: false, latency_p95: false}
  store: {team: data, tier: 1, process: store, postgres: {port: 5440}, depends_on: [silent]}
  audit: {team: audit, tier: 4, scrape: {interval: 30s, timeout: 3s}, postgres: {host: 10.0.3.1, database: audit, password_file: audit.pw}, alerts: {connections: 60%}}
hosts:
  local: {}
  other: {team: data, targets: {static: ["10.0.1.1:9100"]}, disk_full: 95%, disk_will_fill: 4h, memory_high: 80%, mountpoints: "/srv/.+|/data[0-9]"}
  third: {targets: {files: [hosts.json]}, disk_full: 95%, disk_will_fill: false, mountpoints: ".*"}
probes:
  front: {target: "https://front.example.com/", team: web, service: front}
  queue: {target: "http://127.0.0.1:{port:queue}/health", service: queue, team: data, interval: 60s}
  port: {type: tcp, target: "10.0.3.1:5432"}
  ping: {type: icmp, target: 10.0.3.1, team: data}
  mail: {type: tls, target: "mail.example.com:993", expires_within: 10d, interval: 30m}
  shop: {target: "https://shop.example.com/", expires_within: false}
certificates:
  inner: {file: tls/inner.pem, service: front}
  clients: {file: /etc/clients.pem, expires_within: 30d, team: data}
backups:
  nightly: {every: 24h, service: store}
  quick: {every: 10m, grace: 5m}
notifications:
  slack: {channel: "#ops"}
  repeat_interval: 2h
  maintenance:
    nightly: {start: "22:30", end: "01:15", weekdays: [friday, sunday]}
    data-day: {services: [queue, store], start: "10:00", end: "12:00"}
    front-day: {services: [front, queue], weekdays: [monday], start: "00:00", end: "24:00"}
rules:
  own:queue:depth: {expr: "sum by (service) (queue_depth)", labels: {unit: jobs}}
alerts:
  QueueStuck:
    expr: |
      own:queue:depth > 10
      and on (service) rate(jobs_total[1m]) == 0   # nothing moves
    for: 30s
    severity: P0
    service: queue
    summary: "{{ $value }} jobs wait"
    description: "{{ $labels.service }} is stuck\nfor a while"
    labels: {component: jobs}
    tests:
      - name: fires when nothing moves
        interval: 10s
        series:
          - {series: 'queue_depth{service="queue"}', values: "20x60"}
          - {series: 'jobs_total{service="queue"}', values: "5x60"}
        expect:
          - {at: 10s, firing: false}
          - {at: 2m, firing: true, labels: {component: jobs, team: data, tier: "2", policy: unstick}}
      - name: does not fire while jobs move
        interval: 10s
        series:
          - {series: 'queue_depth{service="queue"}', values: "20x60"}
          - {series: 'jobs_total{service="queue"}', values: "5+5x60"}
        expect: [{at: 5m, firing: false}]
  Odd:
    expr: vector(0) == 1
    severity: P2
    team: audit
    runbook: https://runbooks.example.com/{{ $labels.alertname }}
    summary: Odd
    tests:
      - {name: never, series: [{series: "x", values: "1x5"}], expect: [{at: 1m, firing: false}]}
remediation:
  mode: auto
  policies:
    unstick: {when: {alert: [QueueStuck, HighErrorRate], service: [queue]}, limits: {max_runs: 6, window: 1h}, steps: [{restart: {scope: service}}, scale_out]}
    data-down: {when: {alert: [ServiceDown], team: [data], service: [queue]}, mode: approve, limits: {max_runs: 6, window: 1h}, steps: [restart]}
    down: {when: {alert: [ServiceDown, HighLatency], service: [store, queue]}, mode: dry-run, limits: {max_runs: 6, window: 1h}, steps: [restart]}
    never: {when: {alert: [HighErrorRate], service: [queue]}, mode: "off", limits: {max_runs: 6, window: 1h}, steps: [restart]}
"""

# Promises over several periods, of services with selectors of their own too.
SEVERAL = """\
apiVersion: opsloop/v1
services:
  web:
    team: web
    metrics: http
    targets: {static: ["10.1.0.1:80"]}
    slos:
      up: {objective: 99.9%, sli: availability}
      up-week: {objective: 99%, window: 7d, sli: availability}
      up-month: {objective: 99.5%, window: calendar-month, sli: availability, alerting: {page: false}}
      fast: {objective: 95%, sli: {latency: {threshold: 250ms}}}
      slow: {objective: 99%, window: 7d, sli: {latency: {threshold: 1s}}}
      loose: {objective: 90%, sli: availability}
  api:
    team: web
    targets: {static: ["10.1.0.2:80"]}
    metrics: {requests: calls_total, errors: 'calls_total{outcome="bad"}', latency: call_seconds}
    slos:
      up: {objective: 98%, sli: availability}
      quick: {objective: 99%, sli: {latency: {threshold: 100ms}}}
"""


def many(count: int) -> str:
    """`count` services on a process each, every ten on the first of them, and a policy."""
    lines = ["apiVersion: opsloop/v1", "processes:"]
    lines += [f"  svc-{n}: {{command: [run], port: {10000 + n}}}" for n in range(count)]
    lines.append("services:")
    for n in range(count):
        needs = f", depends_on: [svc-{n - n % 10}]" if n % 10 else ""
        limit = 5 if n % 3 else 2
        lines.append(
            f"  svc-{n}: {{team: team-{n % 7}, metrics: http, process: svc-{n}"
            f", alerts: {{error_ratio: {limit}%}}{needs}}}"
        )
    lines += [
        "remediation:",
        "  mode: auto",
        "  policies:",
        "    down: {when: {alert: [ServiceDown, HighErrorRate]}, limits: {max_runs: 6, window: 1h}, steps: [restart]}",
    ]
    return "\n".join(lines) + "\n"


def shop(environ: Mapping[str, str] | None = None) -> Catalog:
    return load(SHOP, environ or {}).catalog


def compiled_shop() -> Mapping[str, str]:
    return compile_catalog(shop(), Options()).files


def catalog_of(text: str, folder: Path) -> Catalog:
    """A catalog from its text, by the same way as a person's: loaded and checked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "opsloop.yaml"
    path.write_text(text)
    return load(path, {}).catalog


def unchecked(text: str) -> Catalog:
    """A catalog that only its models have seen: compile must not rely on more."""
    return Catalog.model_validate(yaml.safe_load(text))


def write(bundle: Bundle, folder: Path) -> Path:
    """Write a bundle to folder/build, with the secrets and targets that it names beside it."""
    for path, text in bundle.files.items():
        file = folder / "build" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "build"


def built(catalog: Catalog, folder: Path, options: Options | None = None) -> Path:
    return write(compile_catalog(catalog, options or Options()), folder)
