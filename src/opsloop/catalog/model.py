"""The catalog's models: what people declare, with unknown keys refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from opsloop.catalog.console import Console
from opsloop.catalog.notify import Notifications
from opsloop.catalog.policy import Remediation
from opsloop.catalog.slo import RETENTION_UNSET, SLO, required_retention
from opsloop.catalog.steps import Argv
from opsloop.catalog.subject import Subject
from opsloop.catalog.units import Duration, Share

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
"""A name of ours: lower case, digits and dashes; safe as label, file and program name."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-\[\]:]+:\d{1,5}$")]
Severity = Literal["P0", "P1", "P2"]
Port = Annotated[int, Field(ge=1024, le=65535)]
FAILS_FOR = Duration(60_000)
EXPIRES_WITHIN = Duration(7 * 86_400_000)


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StackSLO(Model):
    """How objectives are recorded."""

    sloth_names: bool = False  # Sloth's metric names beside ours, for dashboards made for Sloth


class Stack(Model):
    """The stack itself: intervals, retention, where it runs and binds."""

    environment: Name = "demo"
    cluster: Name | None = None
    retention: Duration | None = None  # unset: the larger of 15d and what objectives need
    scrape_interval: Duration = Duration(15_000)
    scrape_timeout: Duration | None = None  # unset: the smaller of 10s and the interval
    evaluation_interval: Duration = Duration(15_000)
    loop_interval: Duration = Duration(1_000)  # rules of alerts that the loop acts on
    bind: str = "127.0.0.1"
    runtime: Literal["native", "docker", "external"] | None = None  # unset: what the machine has
    external_labels: dict[LabelName, str] = {}
    slo: StackSLO = StackSLO()
    console_url: str | None = None  # unset: the console's own address
    grafana_url: str | None = None  # where alerts link to dashboards; unset: in the console
    runbook_url: str | None = None  # page with a section for each alert; unset: RUNBOOK.md
    clock_skew: Duration | Literal[False] = Duration(2_000)  # of a host, against Prometheus
    binaries: dict[Name, str] = {}  # program name -> path, wins over PATH

    @property
    def effective_scrape_timeout(self) -> Duration:
        return self.scrape_timeout or Duration(min(10_000, int(self.scrape_interval)))

    @property
    def production(self) -> bool:
        return self.environment == "production"


class Targets(Model):
    """Where a service's metrics are: addresses, or file_sd files."""

    static: list[Address] = []
    files: list[str] = []


class BasicAuth(Model):
    username: str
    password_file: str


class Scrape(Model):
    """How a service's metrics are fetched."""

    scheme: Literal["http", "https"] = "http"
    path: str = "/metrics"
    interval: Duration | None = None
    timeout: Duration | None = None
    auth: Literal["none", "stack"] | BasicAuth = "none"  # stack: the stack's own scrape password


class Metrics(Model):
    """Own selectors, where no profile fits. A selector is a metric with matchers, as `m{a="b"}`."""

    requests: Text | None = None  # counter of all events
    errors: Text | None = None  # counter of the failed ones, a subset of requests
    latency: Text | None = None  # classic histogram, base name without _bucket, matchers allowed
    buckets: list[Duration] = []  # the bounds of its buckets, without +Inf; empty: not known


class Saturation(Model):
    """A signal of how full a service is: a PromQL ratio 0..1, one series per service or instance."""

    name: Name
    query: Text


class Instances(Model):
    """How many instances of a process-backed service there should be."""

    wanted: Annotated[int, Field(ge=1)] = 1
    min: Annotated[int, Field(ge=1)] = 1
    max: Annotated[int, Field(ge=1)] | None = None  # unset: the process's slots


class ServiceAlerts(Model):
    """Thresholds of the shipped alerts; `false` leaves an alert out for this service."""

    service_down: bool = True
    error_ratio: Share | Literal[False] = Share(0.05)
    latency_p95: Duration | Literal[False] = Duration(500)
    window: Duration = Duration(60_000)  # of the error and latency alerts
    min_requests: Annotated[int, Field(ge=1)] = 20  # in the window; a share of fewer says nothing
    connections: Share | Literal[False] = Share(0.80)  # used of a database's max_connections


class Postgres(Model):
    """A PostgreSQL database, watched through an exporter that the stack runs."""

    host: str = "127.0.0.1"
    port: Port = 5432  # of a process of the catalog: its own port, moved with --port-base
    user: str = "opsloop"
    database: str = "postgres"
    password_file: str | None = None  # unset: the stack's own database_password


class Service(Model):
    """A service: who owns it, where it is scraped, what its signals are."""

    team: Name
    tier: Annotated[int, Field(ge=1, le=4)] = 2
    description: str = ""
    runbook: str | None = None
    targets: Targets = Targets()
    process: Name | None = None  # its instances are the slots of this process
    instances: Instances = Instances()
    scrape: Scrape = Scrape()
    metrics: Literal["http", "none"] | Metrics = "none"
    postgres: Postgres | None = None
    saturation: list[Saturation] = []
    depends_on: list[Name] = []
    alerts: ServiceAlerts = ServiceAlerts()
    slos: dict[Name, SLO] = {}
    labels: dict[LabelName, str] = {}


class Process(Model):
    """A program that the native runtime runs beside the stack, in one or more slots.

    In `command` and `environment` these words are replaced: {python}, {port}, {slot},
    {state}, {catalog_dir}, and {port:NAME} for the first port of another process.
    """

    command: Annotated[list[str], Field(min_length=1)]
    slots: Annotated[int, Field(ge=1, le=64)] = 1
    port: Port | None = None  # slot n listens on port + n
    environment: dict[str, str] = {}
    health: str | None = None  # path that answers 200 when the instance serves
    autorestart: bool = True
    stop_wait: Duration = Duration(10_000)
    stop_signal: Literal["TERM", "INT", "QUIT", "HUP", "KILL"] = "TERM"
    after: list[Name] = []  # processes that start first
    fault_path: str | None = None  # where drills reach its fault switches


class Host(Model):
    """A machine, watched by node-exporter; without targets, the stack runs one on this machine."""

    team: Name = "platform"
    targets: Targets = Targets()
    scrape: Scrape = Scrape()
    disk_full: Share = Share(0.85)
    disk_will_fill: Duration | Literal[False] = Duration(86_400_000)  # at the pace of 6 hours
    memory_high: Share = Share(0.90)
    mountpoints: str = "/|/home.*|/var.*|/srv.*|/data.*"  # regular expression, anchored


class Probe(Model):
    """A look from outside through blackbox-exporter."""

    type: Literal["http", "tcp", "icmp", "tls"] = "http"
    target: Text
    team: Name = "platform"
    service: Name | None = None
    interval: Duration | None = None
    fails_for: Duration | Literal[False] = FAILS_FOR  # that people are not told
    expires_within: Duration | Literal[False] = EXPIRES_WITHIN  # of tls and https: too soon

    @property
    def shows_certificate(self) -> bool:
        return self.type == "tls" or (self.type == "http" and self.target.startswith("https://"))


class Certificate(Model):
    """A certificate in a file that the engine reads; with several in it, the first to expire."""

    file: Text  # PEM, relative to the catalog's folder; {state} is the stack's state folder
    expires_within: Duration = EXPIRES_WITHIN
    renew: Argv | None = None  # the command that a `renew` step runs; words as in a script's
    service: Name | None = None
    team: Name | None = None  # unset: the service's, else platform


class Backup(Model):
    """A backup that `opsloop backup-run NAME` runs, and how often it must succeed."""

    every: Duration
    command: Argv | None = None  # what a `backup` step runs; words as in a script's
    grace: Duration | None = None  # how late it may be; unset: a quarter of `every`
    service: Name | None = None
    team: Name | None = None  # unset: the service's, else platform

    @property
    def oldest(self) -> Duration:
        """How old the last success may be."""
        grace = int(self.every) // 4 if self.grace is None else int(self.grace)
        return Duration(int(self.every) + grace)


class Rule(Model):
    """A recording rule of the user's own."""

    expr: Text
    labels: dict[LabelName, str] = {}


class Alert(Model):
    """An alert of the user's own: same severities, routes and policies as ours."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    expr: Text
    for_: Duration = Field(default=Duration(0), alias="for")
    severity: Severity
    service: Name | None = None
    team: Name | None = None  # unset: the service's
    summary: Text
    description: str = ""
    runbook: str | None = None
    labels: dict[LabelName, str] = {}
    tests: list[AlertTest] = []


class TestSeries(Model):
    series: Text
    values: Text


class ExpectedAt(Model):
    at: Duration
    firing: bool
    labels: dict[LabelName, str] = {}


class AlertTest(Model):
    """A promtool unit test of an own alert: series in, firing or not at moments."""

    name: Text
    interval: Duration = Duration(15_000)
    series: Annotated[list[TestSeries], Field(min_length=1)]
    expect: Annotated[list[ExpectedAt], Field(min_length=1)]


AlertName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{1,63}$")]


class Catalog(Model):
    """Everything, as one value. `directory` is where the catalog lies (for relative paths)."""

    apiVersion: Literal["opsloop/v1"]
    stack: Stack = Stack()
    services: dict[Name, Service] = {}
    processes: dict[Name, Process] = {}
    hosts: dict[Name, Host] = {}
    probes: dict[Name, Probe] = {}
    certificates: dict[Name, Certificate] = {}
    backups: dict[Name, Backup] = {}
    notifications: Notifications = Notifications()
    rules: dict[MetricName, Rule] = {}
    alerts: dict[AlertName, Alert] = {}
    remediation: Remediation = Remediation()
    console: Console = Console()

    @property
    def retention(self) -> Duration:
        """How long samples are kept: as set, else the larger of 15d and what objectives need."""
        if self.stack.retention is not None:
            return self.stack.retention
        needed = [
            required_retention(slo.window)
            for service in self.services.values()
            for slo in service.slos.values()
        ]
        return max([RETENTION_UNSET, *needed], key=int)

    def process_of(self, service: str) -> Process | None:
        name = self.services[service].process
        return self.processes[name] if name else None

    def team_of(self, subject: Subject) -> str | None:
        """Whose it is; None for what is not in the catalog."""
        if subject.kind == "host":
            host = self.hosts.get(subject.name)
            return host.team if host else None
        given: Certificate | Backup | None = None
        if subject.kind == "certificate":
            given = self.certificates.get(subject.name)
        elif subject.kind == "backup":
            given = self.backups.get(subject.name)
        service = given.service if given else subject.name
        if given is not None and given.team:
            return given.team
        owner = self.services.get(service or "")
        return owner.team if owner else ("platform" if given else None)

    def policy_for(self, alert: str, subject: Subject | None) -> str | None:
        """The policy that meets a shipped alert about `subject`, or None."""
        team = self.team_of(subject) if subject is not None else None
        return self.remediation.meeting_subject(alert, subject, team)

    def max_instances(self, service: str) -> int | None:
        process = self.process_of(service)
        if process is None:
            return None
        return min(self.services[service].instances.max or process.slots, process.slots)
