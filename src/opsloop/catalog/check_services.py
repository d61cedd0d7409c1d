"""Rules over services, hosts and probes: references, instances, scrapes, targets."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.model import Metrics, Scrape, Service, Targets

# Jobs of the stack's own; a service with such a name would share its targets' label.
RESERVED_NAMES = (
    "prometheus", "alertmanager", "engine", "node-exporter", "blackbox-exporter",
    "postgres-exporter",
)  # fmt: skip
_ESCAPED = r"""\\[ntr\\"']"""
_MATCHER = (
    r"\s*[a-zA-Z_]\w*\s*(?:=~|!~|!=|=)\s*"
    rf"""(?:"(?:[^"\\\n]|{_ESCAPED})*"|'(?:[^'\\\n]|{_ESCAPED})*'|`[^`]*`)\s*"""
)
_SELECTOR = re.compile(
    rf"\s*[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{{(?:{_MATCHER}(?:,{_MATCHER})*,?)?\s*\}})?\s*"
)
_LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")


def services(scope: Scope) -> None:
    backing: dict[str, str] = {}
    for name, service in scope.catalog.services.items():
        path = ("services", name)
        if name in RESERVED_NAMES:
            scope.error(path, f"{name!r} is a part of the stack", "choose another name")
        scope.below_all((*path, "alerts", "error_ratio"), service.alerts.error_ratio)
        scope.below_all((*path, "alerts", "connections"), service.alerts.connections)
        _source(scope, path, service)
        targets(scope, (*path, "targets"), service.targets)
        if service.process is not None:
            known = scope.refer((*path, "process"), "processes", service.process, "process")
            first = backing.setdefault(service.process, name)
            if first != name:
                scope.error(
                    (*path, "process"), f"process {service.process!r} is service {first!r} already"
                )
            elif known:
                _process_backed(scope, path, service)
        _instances(scope, path, service)
        scrape(scope, (*path, "scrape"), service.scrape)
        _metrics(scope, path, service)
        _postgres(scope, path, service)
        scope.labels((*path, "labels"), service.labels)
        _saturation(scope, path, service)
        for i, other in enumerate(service.depends_on):
            if other == name:
                scope.error((*path, "depends_on", i), "a service cannot depend on itself")
            else:
                scope.refer((*path, "depends_on", i), "services", other, "service")
    _shared_addresses(scope)
    edges = {n: [d for d in s.depends_on if d != n] for n, s in scope.catalog.services.items()}
    scope.refuse_cycles(edges, "services", "depends_on")


def _source(scope: Scope, path: Path, service: Service) -> None:
    """Exactly one of targets, process and postgres; a process may be a PostgreSQL."""
    has_targets = bool(service.targets.static or service.targets.files)
    has_process = service.process is not None
    if has_targets and (has_process or service.postgres is not None):
        other = "process" if has_process else "postgres"
        scope.error((*path, other), f"has targets and {other}; one of them is meant", "remove one")
    if not (has_targets or has_process or service.postgres is not None or elsewhere(service)):
        scope.error(
            path,
            "has nothing to scrape",
            "add targets: {static: [host:port]}, or process:, or postgres:",
        )


def _postgres(scope: Scope, path: Path, service: Service) -> None:
    for field in ("host", "user", "database") if service.postgres is not None else ():
        if not re.fullmatch(r"[^\s\x00-\x1f]+", getattr(service.postgres, field)):
            scope.error((*path, "postgres", field), "is empty or has white space")


def _saturation(scope: Scope, path: Path, service: Service) -> None:
    seen: set[str] = set()
    for i, signal in enumerate(service.saturation):
        if signal.name in seen:
            scope.error((*path, "saturation", i, "name"), f"{signal.name!r} is here twice")
        seen.add(signal.name)


def elsewhere(service: Service) -> bool:
    """Whether its objectives say all: their series come from whatever Prometheus has them.

    Nothing need be scraped for such a service; `own` series and profiles would need targets.
    """
    return bool(service.slos) and all(
        (slo.sli.events is not None and slo.sli.events.series == "all")
        or slo.sli.promql is not None
        or slo.sli.probe is not None
        for slo in service.slos.values()
    )


def _process_backed(scope: Scope, path: Path, service: Service) -> None:
    process = scope.catalog.processes.get(service.process or "")
    if process is None:  # broken, and told so
        return
    port_path = ("processes", str(service.process), "port")
    if service.postgres is not None:
        local = service.postgres.host in _LOCAL
        if local and process.port is not None and service.postgres.port != process.port:
            scope.error(
                (*path, "postgres", "port"),
                f"{service.postgres.port} is not the port of process {service.process!r},"
                f" {process.port}",
                reads=[port_path],
            )
    elif process.port is None:
        scope.error(
            (*path, "process"),
            f"process {service.process!r} has no port, so there is nothing to scrape",
            f"add port: to processes.{service.process}",
            reads=[port_path],
        )


def _instances(scope: Scope, path: Path, service: Service) -> None:
    given, at = service.instances, (*path, "instances")
    if service.process is None:
        if given.model_fields_set:
            scope.error(
                at, "instances are the slots of a process, and there is none", "remove it",
                reads=[(*path, "process")],
            )  # fmt: skip
        return
    process = scope.catalog.processes.get(service.process)
    slots_path = ("processes", service.process, "slots")
    most = given.max
    if process is not None and most is not None and most > process.slots:
        scope.error(
            (*at, "max"),
            f"{most} is more than the {process.slots} slots of process {service.process!r}",
            reads=[slots_path],
        )
    if most is None and process is not None:
        most = process.slots
    reads = [at, slots_path]
    if given.min > given.wanted:
        scope.error((*at, "min"), f"{given.min} is more than wanted, {given.wanted}", reads=reads)
    if most is not None and given.wanted > most:
        what = "max" if given.max is not None else "the slots of its process"
        scope.error((*at, "wanted"), f"{given.wanted} is more than {what}, {most}", reads=reads)


def _metrics(scope: Scope, path: Path, service: Service) -> None:
    given, at = service.metrics, (*path, "metrics")
    if isinstance(given, Metrics):
        if not (given.requests or given.errors or given.latency):
            scope.error(at, "names no metric", "add requests:, errors: or latency:")
        if given.errors and not given.requests:
            scope.error((*at, "errors"), "errors without requests make no ratio", "add requests:")
        for field in ("requests", "errors", "latency"):
            text = getattr(given, field)
            if text is not None and not _SELECTOR.fullmatch(text):
                scope.error(
                    (*at, field), f"{text!r} is not a metric with matchers",
                    'write it as http_requests_total{code=~"5.."}',
                )  # fmt: skip
        base = (given.latency or "").split("{")[0].strip()
        if base.endswith(("_bucket", "_sum", "_count")):
            scope.error(
                (*at, "latency"),
                f"{base!r} is a part of a histogram",
                f"write its base name, {base.rpartition('_')[0]}",
            )
    if given == "none":
        return
    interval = service.scrape.interval or scope.catalog.stack.scrape_interval
    window = service.alerts.window
    if window < 4 * interval:
        scope.error(
            (*path, "alerts", "window"),
            f"{window} holds fewer than 4 scrapes, which come every {interval}",
            "a rate over fewer is noise: make the window longer or the scrape interval shorter",
            reads=[(*path, "scrape", "interval"), ("stack", "scrape_interval")],
        )


def scrape(scope: Scope, path: Path, given: Scrape) -> None:
    stack = scope.catalog.stack
    if not given.path.startswith("/"):
        scope.error(
            (*path, "path"), f"{given.path!r} does not start with /", f"write /{given.path}"
        )
    for field in ("interval", "timeout"):
        if getattr(given, field) == 0:
            scope.error((*path, field), "must be longer than 0")
    # The stack's own timeout is cut to a shorter interval; one that is written here is meant.
    interval = given.interval or stack.scrape_interval
    if given.timeout is not None and given.timeout > interval:
        scope.error(
            (*path, "timeout"),
            f"{given.timeout} is longer than the interval, {interval}",
            reads=[(*path, "interval"), ("stack", "scrape_interval")],
        )


def targets(scope: Scope, path: Path, given: Targets) -> None:
    seen: set[str] = set()
    for i, address in enumerate(given.static):
        at = (*path, "static", i)
        if not 1 <= int(address.rpartition(":")[2]) <= 65535:
            scope.error(at, f"the port of {address!r} is not in 1..65535")
        if address in seen:
            scope.error(at, f"{address!r} is here twice")
        seen.add(address)
    for i, file in enumerate(given.files):
        at = (*path, "files", i)
        pure = PurePosixPath(file)
        if pure.is_absolute() or ".." in pure.parts:
            scope.error(at, f"{file!r} is not inside the catalog's folder", "write a relative path")
        if pure.suffix not in (".json", ".yml", ".yaml"):
            scope.error(at, f"{file!r} does not end in .json, .yml or .yaml")
        if "*" in str(pure.parent):
            scope.error(
                at, f"{file!r} has * in a folder; Prometheus takes it in the file name only"
            )


def _shared_addresses(scope: Scope) -> None:
    owners: dict[tuple[str, str], str] = {}
    for name, service in scope.catalog.services.items():
        for i, address in enumerate(service.targets.static):
            first = owners.setdefault((address, service.scrape.path), name)
            if first != name:
                scope.warning(
                    ("services", name, "targets", "static", i),
                    f"{address!r} is scraped for service {first!r} too",
                )


def hosts(scope: Scope) -> None:
    local: str | None = None
    for name, host in scope.catalog.hosts.items():
        path = ("hosts", name)
        scope.below_all((*path, "disk_full"), host.disk_full)
        scope.below_all((*path, "memory_high"), host.memory_high)
        targets(scope, (*path, "targets"), host.targets)
        scrape(scope, (*path, "scrape"), host.scrape)
        if not (host.targets.static or host.targets.files):
            if local is not None:
                scope.error(
                    path,
                    f"has no targets, so it is this machine, as {local!r} is",
                    "add targets:",
                    reads=[("hosts", local)],
                )
            local = local or name
        try:
            re.compile(host.mountpoints)
        except re.error as error:
            scope.error((*path, "mountpoints"), f"is not a regular expression: {error}")


def probes(scope: Scope) -> None:
    for name, probe in scope.catalog.probes.items():
        path = ("probes", name)
        if probe.service is not None:
            scope.refer((*path, "service"), "services", probe.service, "service")
        if probe.interval == 0:
            scope.error((*path, "interval"), "must be longer than 0")
        url = re.match(r"https?://[^/\s]+", probe.target)
        reads = [(*path, "type")]
        if probe.type == "http" and not url:
            scope.error(
                (*path, "target"), f"{probe.target!r} is not an address of the web",
                "write it with http:// or https://", reads=reads,
            )  # fmt: skip
        elif probe.type in ("tcp", "tls") and not re.fullmatch(r"[^/\s]+:\d{1,5}", probe.target):
            scope.error((*path, "target"), f"{probe.target!r} is not host:port", reads=reads)
        elif probe.type == "icmp" and not re.fullmatch(r"[^/\s:]+|[0-9a-fA-F:]+", probe.target):
            scope.error((*path, "target"), f"{probe.target!r} is not a host", reads=reads)
