"""supervisord.conf of the native runtime: the stack's programs and the catalog's processes."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile import places
from opsloop.compile.grafana_files import read_at_start
from opsloop.compile.options import Options
from opsloop.errors import InputError

STATE = "%(ENV_OPSLOOP_STATE)s"
PYTHON = "%(ENV_OPSLOOP_PYTHON)s"
CATALOG_DIR = "%(ENV_OPSLOOP_CATALOG_DIR)s"
GRAFANA_HOME = "%(ENV_OPSLOOP_GRAFANA_HOME)s"  # where its defaults and pages are
_WEB_CONFIG = f"--web.config.file={STATE}/{names.SECRETS_DIR}/{names.SECRET_WEB_CONFIG}"
# These only log errors where there is no systemd.
_QUIET = ("--no-collector.systemd", "--no-collector.thermal_zone")
# What `opsloop backup-run` leaves.
_TEXTFILE = f"--collector.textfile.directory={STATE}/{names.TEXTFILE_DIR}"
_WORD = re.compile(r"\{(python|port|slot|state|catalog_dir|port:[a-z][a-z0-9-]*)\}")
_ENV = re.compile(r"%\(ENV_[A-Z_]+\)s")

_HEAD = f"""\
; Written by opsloop build. Absolute facts come from the environment that `up` sets.
[unix_http_server]
file=%(ENV_OPSLOOP_SOCKET)s
chmod=0700

[supervisord]
logfile={STATE}/{names.LOGS_DIR}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
pidfile={STATE}/run/supervisord.pid
childlogdir={STATE}/{names.LOGS_DIR}
nodaemon=true
silent=true
umask=077
minfds=1024
environment=LANG="C.UTF-8",LC_ALL="C.UTF-8",PYTHONUNBUFFERED="1"

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(ENV_OPSLOOP_SOCKET)s
"""


@dataclass(frozen=True, slots=True)
class Program:
    """One [program:...] section. `command` holds words; `environment` plain values."""

    name: str
    command: tuple[str, ...]
    directory: str = STATE
    priority: int = 100
    autostart: bool = True
    autorestart: bool = True
    stop_signal: str = "TERM"
    stop_wait_s: int = 10
    environment: tuple[tuple[str, str], ...] = ()

    def section(self) -> str:
        """Its text; every child dies with supervisord, however that ends."""
        words = ["setpriv", "--pdeathsig", self.stop_signal, "--"]
        if self.environment:
            words += ["env", *(f"{k}={v}" for k, v in self.environment)]
        command = " ".join(word(w) for w in (*words, *self.command))
        log = f"{STATE}/{names.LOGS_DIR}/{self.name}.log"
        restart = "true" if self.autorestart else "false"
        return (
            f"[program:{self.name}]\n"
            f"command={command}\n"
            f"directory={self.directory}\n"
            f"priority={self.priority}\n"
            f"autostart={'true' if self.autostart else 'false'}\n"
            f"autorestart={restart}\n"
            f"startsecs=1\n"
            f"startretries=5\n"
            f"stopsignal={self.stop_signal}\n"
            f"stopwaitsecs={self.stop_wait_s}\n"
            f"killasgroup=true\n"
            f"redirect_stderr=true\n"
            f"stdout_logfile={log}\n"
            f"stdout_logfile_maxbytes=5MB\n"
            f"stdout_logfile_backups=2\n"
        )


def supervisord_conf(catalog: Catalog, options: Options) -> str:
    """The whole file."""
    sections = [p.section() for p in _stack(catalog, options)]
    for name in sorted(catalog.processes):
        programs = _slots(catalog, options, name)
        members = ",".join(p.name for p in programs)
        sections.append(f"[group:{name}]\nprograms={members}\npriority={programs[0].priority}\n")
        sections += [p.section() for p in programs]
    return "\n".join([_HEAD, *sections])


def word(text: str) -> str:
    """One word of a command for supervisor: %(ENV_...)s is expanded, all else is literal.

    supervisor expands %, then splits like a shell, and takes ` ;` and ` #` for a comment
    even inside quotes. Raises InputError for a line break, which its files cannot hold.
    """
    if "\n" in text or "\r" in text:
        raise InputError(repr(text), "a command word has a line break", "put it in a script")
    pieces, at = [], 0
    for match in _ENV.finditer(text):
        pieces.append(_literal(text[at : match.start()]))
        pieces.append(f'"{match.group()}"')
        at = match.end()
    pieces.append(_literal(text[at:]))
    return "".join(pieces) or "''"


def _literal(text: str) -> str:
    if not text:
        return ""
    quoted = shlex.quote(text).replace("%", "%%")
    return re.sub(r"(\s)([;#])", r"\1''\2", quoted)


def _binary(program: str) -> str:
    return f"%(ENV_OPSLOOP_BIN_{program.upper().replace('-', '_')})s"


def _stack(catalog: Catalog, options: Options) -> list[Program]:
    bind, ports = catalog.stack.bind, options.ports
    build = f"{STATE}/{names.BUILD_DIR}"

    def exporter(name: str, port: int, *flags: str) -> tuple[str, ...]:
        address = f"--web.listen-address={places.listen(bind, port)}"
        return (_binary(name), address, _WEB_CONFIG, *flags)

    retention = options.retention or catalog.retention
    programs = [
        Program(
            "prometheus",
            exporter(
                "prometheus",
                ports.prometheus,
                f"--config.file={build}/{names.PROMETHEUS_YML}",
                f"--storage.tsdb.path={STATE}/{names.DATA_DIR}/prometheus",
                f"--storage.tsdb.retention.time={retention}",
            ),
            directory=f"{build}/prometheus",
            # `up` starts it when the others are healthy, and of all it stops first: what is
            # still starting or already stopped is no fault to heal.
            priority=900,
            autostart=False,
            stop_wait_s=30,
        ),
        Program(
            "alertmanager",
            exporter(
                "alertmanager",
                ports.alertmanager,
                f"--config.file={build}/{names.ALERTMANAGER_YML}",
                f"--storage.path={STATE}/{names.DATA_DIR}/alertmanager",
                "--cluster.listen-address=",
            ),
            directory=f"{build}/alertmanager",  # its secret files are relative to it
            priority=30,
        ),
        Program(
            "node-exporter", exporter("node-exporter", ports.node_exporter, *_QUIET, _TEXTFILE)
        ),
        Program(
            "blackbox-exporter",
            exporter(
                "blackbox-exporter",
                ports.blackbox_exporter,
                f"--config.file={build}/{names.BLACKBOX_YML}",
            ),
        ),
    ]
    programs += [_postgres_exporter(catalog, d) for d in places.databases(catalog, options)]
    if options.grafana:
        programs.append(_grafana(build, read_at_start(catalog, options)))
    console = replace(_own("console", 40), environment=_sign_in(catalog))
    programs += [_own("engine", 20), console]
    if options.inbox:
        programs.append(_own("inbox", 10, "--port", str(ports.inbox)))
    return programs


def _own(name: str, priority: int, *more: str) -> Program:
    """A process of opsloop itself."""
    command = (PYTHON, "-m", "opsloop.app", name, "--state", STATE, *more)
    return Program(name, command, priority=priority)


def _sign_in(catalog: Catalog) -> tuple[tuple[str, str], ...]:
    """A digest of what the console reads only when it starts, so that a change starts it again.

    Nothing where the catalog says nothing of it, as the demo.
    """
    settings = catalog.console.model_dump_json(exclude_defaults=True)
    if settings == "{}" and catalog.stack.console_url is None:
        return ()
    text = f"{settings} {catalog.stack.console_url}"
    return (("OPSLOOP_SETTINGS", hashlib.sha256(text.encode()).hexdigest()[:12]),)


def _grafana(build: str, settings: str) -> Program:
    """Its files name secrets and dashboards relative to where it is started.

    settings: a digest of what it reads only then, so that a change starts it again.
    """
    return Program(
        "grafana",
        (
            _binary("grafana"),
            "server",
            f"--config={build}/{names.GRAFANA_INI}",
            f"--homepath={GRAFANA_HOME}",
        ),
        directory=f"{build}/{names.GRAFANA_DIR}",
        stop_wait_s=20,
        environment=(("OPSLOOP_SETTINGS", settings),),
    )


def _postgres_exporter(catalog: Catalog, database: places.Database) -> Program:
    secret = f"{STATE}/{names.SECRETS_DIR}/{names.SECRET_DATABASE_PASSWORD}"
    if database.password_file:
        beside = "" if database.password_file.startswith("/") else f"{CATALOG_DIR}/"
        secret = f"{beside}{database.password_file}"
    address = places.listen(catalog.stack.bind, database.exporter_port)
    return Program(
        database.program,
        (
            _binary("postgres-exporter"),
            f"--web.listen-address={address}",
            _WEB_CONFIG,
        ),
        environment=(
            ("DATA_SOURCE_PASS_FILE", secret),
            (
                "DATA_SOURCE_URI",
                f"{database.instance}/{database.database}?sslmode=disable&connect_timeout=1",
            ),
            ("DATA_SOURCE_USER", database.user),
        ),
    )


def _slots(catalog: Catalog, options: Options, name: str) -> list[Program]:
    process = catalog.processes[name]
    # How many slots of a service run is the store's word, which `up` follows.
    counted = any(s.process == name for s in catalog.services.values())
    priority = 200 + _depth(catalog, name, ())
    programs = []
    for slot in range(process.slots):
        own = (
            ("OPSLOOP_STATE", STATE),
            ("OPSLOOP_SECRETS", f"{STATE}/{names.SECRETS_DIR}"),
            ("OPSLOOP_PROCESS", f"{name}-{slot}"),
        )
        declared = tuple(
            (k, _replaced(catalog, options, name, slot, v))
            for k, v in sorted(process.environment.items())
        )
        programs.append(
            Program(
                name=f"{name}-{slot}",
                command=tuple(_replaced(catalog, options, name, slot, w) for w in process.command),
                directory=CATALOG_DIR,
                priority=priority,
                autostart=not counted,
                autorestart=process.autorestart,
                stop_signal=process.stop_signal,
                stop_wait_s=max(1, round(process.stop_wait.seconds)),
                environment=own + declared,
            )
        )
    return programs


def _depth(catalog: Catalog, name: str, seen: Sequence[str]) -> int:
    """How far down the line of `after` a process stands; InputError on a circle."""
    if name in seen:
        raise InputError(f"processes.{name}.after", "goes in a circle", "remove one of them")
    after = catalog.processes[name].after if name in catalog.processes else []
    return 1 + max((_depth(catalog, a, (*seen, name)) for a in after), default=-1)


def _replaced(catalog: Catalog, options: Options, name: str, slot: int, text: str) -> str:
    process = catalog.processes[name]

    def value(match: re.Match[str]) -> str:
        key = match.group(1)
        if key.startswith("port:"):
            return str(places.process_port(catalog, options, key.removeprefix("port:")))
        if key == "port":
            if process.port is None:
                raise InputError(f"processes.{name}", "{port} is used but no port is given")
            return str(options.ports.process(process.port, slot))
        fixed = {"python": PYTHON, "slot": str(slot), "state": STATE, "catalog_dir": CATALOG_DIR}
        return fixed[key]

    if found := _ENV.search(text):
        raise InputError(f"processes.{name}", f"{found.group()!r} is supervisor's own form")
    return _WORD.sub(value, text)
