"""What a page of metrics says of the program behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from opsloop.catalog.scaffold import Selectors

_SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+[-+0-9.eEInfNa]+(?:\s+[-\d.]+)?(?:\s+# \{.*)?\s*"
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="')
_STATUS_LABELS = ("code", "status", "status_code", "http_status_code", "http_response_status_code")
_EXPORTER = re.compile(r"([a-z][a-z0-9_]*)_exporter_build_info")
# A metric that only one program has -> its name and what it is.
_PROGRAMS = {
    "prometheus_tsdb_head_samples_appended_total": ("prometheus", "a Prometheus"),
    "alertmanager_build_info": ("alertmanager", "an Alertmanager"),
    "grafana_build_info": ("grafana", "a Grafana"),
    "pg_up": ("postgres", "a PostgreSQL exporter"),
    "redis_up": ("redis", "a Redis exporter"),
    "mysql_up": ("mysql", "a MySQL exporter"),
    "nginx_up": ("nginx", "an nginx exporter"),
    "probe_success": ("probe", "a probe"),
    "container_last_seen": ("cadvisor", "a cAdvisor"),
}


@dataclass(frozen=True, slots=True)
class Recognised:
    """name: what the metrics themselves call it, empty when nothing does."""

    name: str
    what: str
    metrics: str | Selectors
    node_exporter: bool = False


def recognise(text: str) -> Recognised | None:
    """Who speaks in this page; None when it is no page of metrics."""
    labels = _labels(text.splitlines())
    if not labels:
        return None
    if "node_cpu_seconds_total" in labels or "node_exporter_build_info" in labels:
        return Recognised("node", "a node exporter", "none", node_exporter=True)
    name, what = _program(labels)
    return Recognised(name, what, _metrics(labels))


def _labels(lines: Iterable[str]) -> dict[str, set[str]]:
    """Metric -> the labels seen on it; empty when a line is neither sample nor comment.

    The last line may be cut off, since only the beginning of a long page is read.
    """
    found: dict[str, set[str]] = {}
    wrong = 0
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        match = _SAMPLE.fullmatch(line)
        if match is None:
            wrong += 1
            continue
        found.setdefault(match[1], set()).update(_LABEL.findall(match[2] or ""))
    return found if wrong <= 1 else {}


def _program(labels: dict[str, set[str]]) -> tuple[str, str]:
    for metric, known in _PROGRAMS.items():
        if metric in labels:
            return known
    for metric in labels:
        match = _EXPORTER.fullmatch(metric)
        if match:
            return match[1].replace("_", "-"), f"an exporter of {match[1]}"
    return "", ""


def _metrics(labels: dict[str, set[str]]) -> str | Selectors:
    requests, status = _requests(labels)
    latency = _latency(labels)
    if (requests, status, latency) == (
        "http_requests_total",
        "code",
        "http_request_duration_seconds",
    ):
        return "http"
    if requests is None and latency is None:
        return "none"
    errors = f'{requests}{{{status}=~"5.."}}' if requests and status else None
    return Selectors(requests if errors else None, errors, latency) if errors or latency else "none"


def _requests(labels: dict[str, set[str]]) -> tuple[str | None, str | None]:
    """The counter of requests that has a label for the status, and that label."""
    first = ("http_requests_total", "http_server_requests_seconds_count")
    rest = sorted(m for m in labels if m.endswith("_http_requests_total"))
    for metric in (*first, *rest):
        for label in _STATUS_LABELS:
            if label in labels.get(metric, ()):
                return metric, label
    return None, None


def _latency(labels: dict[str, set[str]]) -> str | None:
    first = (
        "http_request_duration_seconds",
        "http_server_request_duration_seconds",
        "http_server_requests_seconds",
    )
    rest = sorted(
        m.removesuffix("_bucket")
        for m in labels
        if m.endswith("_http_request_duration_seconds_bucket")
    )
    return next((m for m in (*first, *rest) if "le" in labels.get(f"{m}_bucket", ())), None)
