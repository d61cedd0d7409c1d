"""Frozen settings of one process, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opsloop.errors import ArgumentError

DEFAULT_STATE = ".opsloop"
ENV_STATE = "OPSLOOP_STATE"
ENV_CATALOG = "OPSLOOP_CATALOG"
ENV_PORT_BASE = "OPSLOOP_PORT_BASE"
ENV_RETENTION = "PROMETHEUS_RETENTION"
ENV_SLACK = "ALERTMANAGER_SLACK_WEBHOOK"
ENV_PAGERDUTY = "PAGERDUTY_INTEGRATION_KEY"
ENV_GRAFANA = "GRAFANA_ADMIN_PASSWORD"


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable. unset: what holds where it is not set."""

    name: str
    means: str
    unset: str = ""


# Every variable that a person may set; a test holds that nothing else is read.
VARIABLES = (
    Variable(ENV_STATE, "The state folder of the stack; `--state`.", f"`{DEFAULT_STATE}`"),
    Variable(
        ENV_CATALOG, "The catalog, a file or a folder; `--catalog`.", "`opsloop.yaml`, `catalog/`"
    ),
    Variable(ENV_PORT_BASE, "Moves every port by this offset; `--port-base`.", "0"),
    Variable(ENV_RETENTION, "How long Prometheus keeps samples, as `30d`.", "`stack.retention`"),
    Variable(
        ENV_SLACK, "Secret: the URL of Slack's incoming webhook.", "the inbox, not in production"
    ),
    Variable(
        ENV_PAGERDUTY, "Secret: PagerDuty's integration key (Events API v2).", "P0 goes to Slack"
    ),
    Variable(ENV_GRAFANA, "Secret: the password of Grafana's user admin.", "made by `opsloop up`"),
    Variable("DOCKER_HOST", "Where a Docker engine is looked for.", "`/var/run/docker.sock`"),
    Variable("NO_COLOR", "Any value: no colours.", "colours on a terminal"),
    Variable("TERM", "`dumb`: no colours."),
    Variable("USER", "Who sets a silence, unless `--author` says it."),
    Variable("SUDO_USER", "Who approves or rejects a plan, where `sudo` runs the command."),
)
# What the processes of the catalog find in their environment.
GIVEN = (
    Variable(ENV_STATE, "The state folder, absolute."),
    Variable("OPSLOOP_SECRETS", "Its folder of secrets."),
    Variable("OPSLOOP_PROCESS", "The name of the process in the catalog."),
    Variable("OPSLOOP_PYTHON", "The Python that opsloop runs on."),
    Variable("OPSLOOP_CATALOG_DIR", "The folder of the catalog."),
    Variable("OPSLOOP_SOCKET", "supervisord's socket."),
    Variable("OPSLOOP_BIN_*", "The path of each program of the stack."),
    Variable(
        "OPSLOOP_ALERT",
        "To what a policy runs: the alert that it answers; further labels likewise.",
    ),
    Variable("OPSLOOP_ACTION_ID", "To what a policy runs: the action, the same when asked again."),
    Variable("OPSLOOP_ACTION_OF", "Marks the processes of an action, so that none is left behind."),
    Variable("OPSLOOP_GRAFANA_HOME", "Where a Grafana that is run has its defaults and pages."),
    Variable(
        "OPSLOOP_ACTION_RUN",
        "Of an action's command: which one of them, so that all of it can be ended.",
    ),
    Variable("OPSLOOP_SETTINGS", "Of Grafana: a digest of what it reads only when it starts."),
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Default ports of the stack's parts; `base` moves all of them by one offset."""

    base: int = 0

    @property
    def prometheus(self) -> int:
        return 9090 + self.base

    @property
    def alertmanager(self) -> int:
        return 9093 + self.base

    @property
    def console(self) -> int:
        return 8080 + self.base

    @property
    def engine(self) -> int:
        return 8081 + self.base

    @property
    def inbox(self) -> int:
        return 8082 + self.base

    @property
    def grafana(self) -> int:
        return 3000 + self.base

    @property
    def node_exporter(self) -> int:
        return 9100 + self.base

    @property
    def blackbox_exporter(self) -> int:
        return 9115 + self.base

    @property
    def postgres_exporter(self) -> int:
        return 9187 + self.base

    def process(self, port: int, slot: int = 0) -> int:
        """The port of slot `slot` of a catalog process whose first port is `port`."""
        return port + slot + self.base

    def check(self) -> None:
        """Refuse an offset that moves a port out of 1024..65535."""
        if not -1900 <= self.base <= 56000:
            raise ArgumentError(
                "--port-base", f"{self.base} is not in -1900..56000", "choose a smaller offset"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says; secrets stay references until `up` writes them to files."""

    state: Path = Path(DEFAULT_STATE)
    catalog: Path | None = None
    ports: Ports = field(default_factory=Ports)
    retention: str | None = None
    has_slack: bool = False
    has_pagerduty: bool = False
    has_grafana: bool = False

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str],
        *,
        state: str | None = None,
        catalog: str | None = None,
        port_base: int | None = None,
    ) -> Settings:
        """Read the environment; arguments given on the command line win."""
        base = port_base
        if base is None:
            text = environ.get(ENV_PORT_BASE, "0").strip() or "0"
            try:
                base = int(text)
            except ValueError:
                raise ArgumentError(
                    ENV_PORT_BASE, f"{text!r} is not a whole number", "unset it or give an offset"
                ) from None
        ports = Ports(base)
        ports.check()
        path = catalog or environ.get(ENV_CATALOG) or None
        return cls(
            state=Path(state or environ.get(ENV_STATE) or DEFAULT_STATE),
            catalog=Path(path) if path else None,
            ports=ports,
            retention=environ.get(ENV_RETENTION) or None,
            has_slack=bool(environ.get(ENV_SLACK)),
            has_pagerduty=bool(environ.get(ENV_PAGERDUTY)),
            has_grafana=bool(environ.get(ENV_GRAFANA)),
        )
