"""prometheus.yml: what is scraped, with which labels, and where alerts go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from opsloop import names
from opsloop.catalog.model import BasicAuth, Catalog, Probe, Scrape, Targets
from opsloop.compile import places
from opsloop.compile.options import Options
from opsloop.compile.selectors import scrape_interval, scrape_timeout
from opsloop.compile.yamltext import dump
from opsloop.errors import InputError

OWN_TEAM = "platform"
SETTING_READ = "pg_settings_max_connections"
OWN_TIER = "2"
OWN_JOBS = (
    "alertmanager",
    "blackbox-exporter",
    "console",
    "engine",
    "node-exporter",
    "prometheus",
)
_SECRETS = f"../../{names.SECRETS_DIR}"
_STACK_AUTH = {
    "username": names.SCRAPE_USER,
    "password_file": f"{_SECRETS}/{names.SECRET_SCRAPE_PASSWORD}",
}
MODULES = {"http": "http_2xx", "tcp": "tcp_connect", "icmp": "icmp", "tls": "tls_connect"}

Labels: TypeAlias = Mapping[str, str]
Job: TypeAlias = dict[str, Any]


def prometheus_yml(catalog: Catalog, options: Options) -> str:
    """The configuration; paths are relative to build/prometheus."""
    stack = catalog.stack
    external = {"environment": stack.environment}
    if stack.cluster:
        external["cluster"] = stack.cluster
    external |= stack.external_labels
    alertmanager = places.address(stack.bind, options.ports.alertmanager)
    return dump(
        {
            "global": {
                "scrape_interval": str(stack.scrape_interval),
                "scrape_timeout": str(_timeout(catalog, None)),
                "evaluation_interval": str(stack.evaluation_interval),
                "external_labels": dict(sorted(external.items())),
            },
            "rule_files": ["rules/*.yml"],
            "alerting": {
                "alertmanagers": [
                    {"basic_auth": _STACK_AUTH, "static_configs": [{"targets": [alertmanager]}]}
                ]
            },
            "scrape_configs": jobs(catalog, options),
        }
    )


def jobs(catalog: Catalog, options: Options) -> list[Job]:
    """Every scrape job: the stack's parts, hosts, probes, and one for each service."""
    _refuse_taken_names(catalog)
    found = _own(catalog, options) + _hosts(catalog)
    found += [job for name in sorted(catalog.services) if (job := _service(catalog, options, name))]
    for name, probe in sorted(catalog.probes.items()):
        found.append(_probe(catalog, options, name, probe))
    return found


def service_labels(catalog: Catalog, service: str) -> dict[str, str]:
    """The labels of every target of a service, in a fixed order; the four of ours win."""
    declared = catalog.services[service]
    own = labels_of(catalog, service, declared.team, str(declared.tier))
    return own | {k: v for k, v in sorted(declared.labels.items()) if k not in own}


def labels_of(catalog: Catalog, service: str, team: str, tier: str = OWN_TIER) -> dict[str, str]:
    return {
        names.SERVICE: service,
        names.TEAM: team,
        names.TIER: tier,
        names.ENVIRONMENT: catalog.stack.environment,
    }


def up_jobs(catalog: Catalog) -> tuple[list[str], list[str]]:
    """(jobs whose `up` tells of a service's instances, jobs whose `pg_up` does), sorted.

    A job has the name of its service.
    """
    plain: list[str] = []
    databases: list[str] = []
    for name, service in sorted(catalog.services.items()):
        if service.postgres is not None:
            databases.append(name)
        elif service.process is not None or has_targets(service.targets):
            plain.append(name)
    return plain, databases


def _refuse_taken_names(catalog: Catalog) -> None:
    for name in sorted(catalog.services):
        if name in (*OWN_JOBS, "postgres-exporter"):
            raise InputError(
                f"services.{name}", "is the name of a part of the stack", "choose another name"
            )


def has_targets(targets: Targets) -> bool:
    """Whether it is scraped at addresses of its own."""
    return bool(targets.static or targets.files)


def _timeout(catalog: Catalog, interval: int | None) -> Any:
    stack = catalog.stack
    timeout = stack.effective_scrape_timeout
    return type(timeout)(min(int(timeout), interval or int(stack.scrape_interval)))


def _stamp(labels: Labels) -> list[Job]:
    """Set labels by relabelling, which also wins over what a targets file says."""
    return [{"target_label": k, "replacement": v.replace("$", "$$")} for k, v in labels.items()]


def _auth(scrape: Scrape) -> Job:
    if isinstance(scrape.auth, BasicAuth):
        auth = scrape.auth
        secret = places.beside_catalog(auth.password_file)
        return {"basic_auth": {"username": auth.username, "password_file": secret}}
    return {"basic_auth": _STACK_AUTH} if scrape.auth == "stack" else {}


def _discovery(targets: Targets, files: list[str]) -> Job:
    found: Job = {}
    if targets.static:
        found["static_configs"] = [{"targets": sorted(set(targets.static))}]
    if files or targets.files:
        found["file_sd_configs"] = [
            {
                "files": [*files, *(places.beside_catalog(f) for f in sorted(set(targets.files)))],
                "refresh_interval": "5s",
            }
        ]
    return found


def _own(catalog: Catalog, options: Options) -> list[Job]:
    ports = options.ports
    parts = {
        "prometheus": [ports.prometheus],
        "alertmanager": [ports.alertmanager],
        "engine": [ports.engine],
        "console": [ports.console],
        "blackbox-exporter": [ports.blackbox_exporter],
        "node-exporter": [ports.node_exporter],
    }
    local = places.local_host(catalog)
    found = []
    for job, listening in parts.items():
        labels = labels_of(catalog, job, OWN_TEAM)
        if job == "node-exporter" and local:
            labels = labels_of(catalog, local, catalog.hosts[local].team)
        targets = [places.address(catalog.stack.bind, port) for port in listening]
        found.append(
            {
                "job_name": job,
                "basic_auth": _STACK_AUTH,
                "static_configs": [{"targets": targets}],
                "relabel_configs": _stamp(labels),
            }
        )
    return found


def _hosts(catalog: Catalog) -> list[Job]:
    found = []
    for name, host in sorted(catalog.hosts.items()):
        if not has_targets(host.targets):
            continue
        found.append(
            {
                "job_name": f"host/{name}",
                **_scrape(catalog, host.scrape),
                **_discovery(host.targets, []),
                "relabel_configs": _stamp(labels_of(catalog, name, host.team)),
            }
        )
    return found


def _scrape(catalog: Catalog, scrape: Scrape) -> Job:
    interval = scrape.interval or catalog.stack.scrape_interval
    timeout = min(int(scrape.timeout or catalog.stack.effective_scrape_timeout), int(interval))
    return {
        "scrape_interval": str(interval),
        "scrape_timeout": str(type(interval)(timeout)),
        "scheme": scrape.scheme,
        "metrics_path": scrape.path,
        **_auth(scrape),
    }


def _service(catalog: Catalog, options: Options, name: str) -> Job | None:
    service = catalog.services[name]
    labels = service_labels(catalog, name)
    if service.postgres is not None:
        return _database(catalog, options, name, labels)
    files = [f"../../{names.TARGETS_DIR}/{name}.json"] if service.process is not None else []
    if not files and not has_targets(service.targets):
        return None
    instance = {"source_labels": ["__address__"], "target_label": names.INSTANCE}
    return {
        "job_name": name,
        **_scrape(catalog, service.scrape),
        **_discovery(service.targets, files),
        "relabel_configs": [*_stamp(labels), instance],
    }


def _database(catalog: Catalog, options: Options, name: str, labels: Labels) -> Job:
    """The exporter is scraped, but the instance is the database: that is what may be down."""
    database = next(d for d in places.databases(catalog, options) if d.service == name)
    exporter = places.address(catalog.stack.bind, database.exporter_port)
    return {
        "job_name": name,
        "scrape_interval": str(scrape_interval(catalog, name)),
        "scrape_timeout": str(scrape_timeout(catalog, name)),
        "basic_auth": _STACK_AUTH,
        "static_configs": [{"targets": [exporter]}],
        "relabel_configs": _stamp({**labels, names.INSTANCE: database.instance}),
        "metric_relabel_configs": _one_setting(),
    }


def _one_setting() -> list[Job]:
    """Of the hundreds of settings that the exporter tells, the one that an alert reads."""
    mark, metric = "__tmp_kept", ["__name__"]
    return [
        {"source_labels": metric, "regex": SETTING_READ, "target_label": mark, "replacement": "1"},
        {
            "source_labels": [mark, *metric],
            "regex": ";pg_settings_.*",
            "action": "drop",
        },
        {"regex": mark, "action": "labeldrop"},
    ]


def _probe(catalog: Catalog, options: Options, name: str, probe: Probe) -> Job:
    if probe.service is not None and probe.service in catalog.services:
        labels = service_labels(catalog, probe.service) | {names.TEAM: probe.team}
    else:
        labels = labels_of(catalog, probe.service or name, probe.team)
    interval = probe.interval or catalog.stack.scrape_interval
    exporter = places.address(catalog.stack.bind, options.ports.blackbox_exporter)
    return {
        "job_name": f"probe/{name}",
        "scrape_interval": str(interval),
        "scrape_timeout": str(_timeout(catalog, int(interval))),
        "metrics_path": "/probe",
        "params": {"module": [MODULES[probe.type]]},
        "basic_auth": _STACK_AUTH,
        "static_configs": [{"targets": [places.with_ports(catalog, options, probe.target)]}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__address__"], "target_label": names.INSTANCE},
            *_stamp({**labels, "probe": name}),
            {"target_label": "__address__", "replacement": exporter},
        ],
    }
