"""The text of a first catalog: every line with a comment that says what it is for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_COLUMN = 40  # where comments begin, unless the line is longer


@dataclass(frozen=True, slots=True)
class Selectors:
    """Own metrics of a service; each is a metric with matchers, without a single quote."""

    requests: str | None = None
    errors: str | None = None
    latency: str | None = None


@dataclass(frozen=True, slots=True)
class FoundService:
    """Something that answers with metrics. `what` says in words what it seems to be."""

    name: str
    address: str  # host:port
    what: str
    metrics: str | Selectors = "none"  # http, none, or own selectors


@dataclass(frozen=True, slots=True)
class Found:
    """What runs on this machine, as far as it was seen.

    node_exporters: host:port of each. notes: sentences about what needs a person.
    """

    services: tuple[FoundService, ...] = ()
    node_exporters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person said of it. channel: without a double quote."""

    environment: str = "demo"
    team: str = "platform"
    channel: str = "#alerts"
    mode: str = "dry-run"


def name_of(text: str, taken: set[str], fallback: str) -> str:
    """A catalog name made of `text`, not in `taken` (and put there); `fallback` when none is."""
    base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    if not base or not base[0].isalpha():
        base = fallback
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def scaffold(found: Found, answers: Answers | None = None) -> str:
    """A catalog that `opsloop check` and `opsloop build` take as it is."""
    answers = answers or Answers()
    lines: list[tuple[str, str]] = [
        ("", "A first catalog. Change it, then: opsloop check, opsloop build, opsloop up."),
        ("apiVersion: opsloop/v1", "the form of this file"),
        ("", ""),
        ("stack:", "the monitoring itself"),
        (
            f"  environment: {answers.environment}",
            "a label on everything; production wants real secrets",
        ),
        ("", "  retention: 15d                      # unset: 15d, or what objectives need"),
        ("  scrape_interval: 15s", "how often each target is asked for its metrics"),
        ("  evaluation_interval: 15s", "how often rules and alerts are evaluated"),
        ("", ""),
    ]
    lines += _services(found.services, answers.team)
    lines += _hosts(found.node_exporters, answers.team)
    lines += [
        ("", ""),
        ("notifications:", "who is told; secrets come from the environment of opsloop up"),
        ("  slack:", "ALERTMANAGER_SLACK_WEBHOOK; without it the inbox shows what would be sent"),
        (f'    channel: "{answers.channel}"', "where alerts go"),
        ("", ""),
        ("remediation:", "what the loop may do by itself"),
        (f"  mode: {answers.mode}", "off, dry-run (says what it would do), approve or auto"),
        *_policies(found),
    ]
    if found.notes:
        lines += [("", ""), ("", "Also seen here, and left to you:")]
        lines += [("", f"- {_one_line(note)}") for note in found.notes]
    return "".join(_line(code, comment) for code, comment in lines)


def _policies(found: Found) -> list[tuple[str, str]]:
    """Shipped policies: those that can act here as they are, and the others to be filled in."""
    lines = [("  policies:", "which alert leads to which steps")]
    if found.node_exporters:  # another exporter may be of another machine: nothing is deleted there
        lines = [("", "  policies:                           # which alert leads to which steps")]
    else:
        lines += [
            ("    clean-disk:", "`opsloop policy clean` lists what it would delete"),
            ("      when: {alert: [DiskFull, DiskWillFill], host: [local]}", "of this machine"),
            ("      steps:", "tried in this order until one helped"),
            ("        - clean:", "deletes old files here; links are never followed"),
            ("            rules:", "all that a rule says must hold; `keep` newest stay"),
            (
                '              - {folder: /var/log, pattern: "*.gz", older_than: 30d, keep: 5}',
                "yours",
            ),
            ("      limits: {max_runs: 2, window: 6h}", "no policy acts without limits"),
        ]
    return [
        *lines,
        ("", "    restart-down:                     # for a service with process:"),
        ("", "      when: {alert: [ServiceDown], service: [api]}"),
        ("", "      steps: [restart]"),
        ("", "      limits: {max_runs: 6, window: 1h, max_share: 50%}"),
        ("", "    scale-on-latency:                 # for one with more slots than it wants"),
        ("", "      when: {alert: [HighLatency], service: [api]}"),
        ("", "      steps: [scale_out]"),
        ("", "      limits: {max_runs: 6, window: 1h}"),
        ("", "      scale_in_after: 10m"),
        ("", "    renew-certificate:                # runs certificates.NAME.renew"),
        ("", "      when: {alert: [CertificateExpiring]}"),
        ("", "      steps: [renew]"),
        ("", "      limits: {max_runs: 2, window: 24h}"),
        ("", "    rerun-backup:                     # runs backups.NAME.command"),
        ("", "      when: {alert: [BackupFailed, BackupStale, BackupMissing]}"),
        ("", "      steps: [{backup: {}, timeout: 1h}]"),
        ("", "      limits: {max_runs: 3, window: 24h}"),
    ]


def _services(services: tuple[FoundService, ...], team: str) -> list[tuple[str, str]]:
    if not services:
        return [
            ("", "Nothing with metrics was found on loopback. A service looks like this:"),
            ("", "services:"),
            ("", "  api:"),
            ("", f"    team: {team}"),
            ("", '    targets: {static: ["127.0.0.1:8000"]}'),
            ("", "    metrics: http"),
            ("", ""),
        ]
    lines = [("services:", "what you run, and who owns it")]
    for service in services:
        lines += [
            (f"  {service.name}:", _one_line(service.what)),
            (f"    team: {team}", "who owns it and is told of its alerts"),
            ("    tier: 2", "1 matters most, 4 least"),
            ("    targets:", "where its metrics are"),
            ("      static:", "addresses that do not change"),
            (f"        - {json.dumps(service.address)}", "host:port, /metrics is asked for"),
            *_metrics(service.metrics),
        ]
    return [*lines, ("", "")]


def _metrics(metrics: str | Selectors) -> list[tuple[str, str]]:
    if metrics == "http":
        return [
            ("    metrics: http", "http_requests_total and http_request_duration_seconds were seen")
        ]
    if isinstance(metrics, Selectors):
        lines = [("    metrics:", "its own names for what alerts need")]
        for key, selector, comment in (
            ("requests", metrics.requests, "a counter of all requests"),
            ("errors", metrics.errors, "the failed ones among them"),
            ("latency", metrics.latency, "a histogram of their duration, in seconds"),
        ):
            if selector is not None:
                lines.append((f"      {key}: '{selector}'", comment))
        return lines
    return [("    metrics: none", "no request counters were seen, so only ServiceDown watches it")]


def _hosts(node_exporters: tuple[str, ...], team: str) -> list[tuple[str, str]]:
    lines = [("hosts:", "machines: disk, memory, load")]
    if not node_exporters:
        return [
            *lines,
            ("  local:", "this machine; the stack runs a node exporter for it"),
            (f"    team: {team}", "who is told of DiskFull and MemoryHigh"),
        ]
    taken: set[str] = set()
    for address in node_exporters:
        lines += [
            (f"  {name_of('local', taken, 'local')}:", "a node exporter that runs already"),
            (f"    team: {team}", "who is told of DiskFull and MemoryHigh"),
            (f"    targets: {{static: [{json.dumps(address)}]}}", "its address"),
        ]
    return lines


def _one_line(text: str) -> str:
    """Printable and on one line, whatever a program of this machine calls itself."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _line(code: str, comment: str) -> str:
    if not comment:
        return f"{code}\n"
    return f"{code.ljust(_COLUMN)}# {comment}\n" if code else f"# {comment}\n"
