"""Wiring: the processes engine, console and inbox, each made of store, drivers, core and HTTP.

`python -m opsloop.app engine --state DIR`, `... console --state DIR`, and
`... inbox --state DIR --port N`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import ipaddress
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsloop import __version__, names
from opsloop.errors import (
    InputError,
    NotRunning,
    OpsloopError,
    StateUnusable,
    StoreError,
)
from opsloop.log import configure

if TYPE_CHECKING:
    from opsloop.catalog.facts import EngineInput
    from opsloop.catalog.policy import Policy
    from opsloop.drivers.fleet import ProcessFleet
    from opsloop.remediation.engine import Engine
    from opsloop.store.sqlite import SqliteStore
    from opsloop.web.intake import Intake
    from opsloop.web.metrics import EngineMetrics, Facts

ENV_SOCKET: Final = "OPSLOOP_SOCKET"
LOCK_FILE: Final = "data/engine.lock"
CONSOLE_QUERY_S: Final = 5.0  # a page waits
CONSOLE_ANSWER: Final = 16 * 1024 * 1024  # bytes of one answer
MARKS_TOLD: Final = 20  # as metrics, for dashboards elsewhere
DRAIN_S: Final = 7.0  # for actions under way at SIGTERM; supervisord kills after 10
SWITCH_S: Final = 0.0005  # a thread that computes holds an answer up for so long, not for 5 ms
log = logging.getLogger("opsloop.app")


def read_input(state: Path) -> EngineInput:
    """engine.json of the bundle in STATE/build. Raises NotRunning or InputError."""
    from pydantic import ValidationError

    from opsloop.catalog.facts import EngineInput

    path = state / names.BUILD_DIR / names.ENGINE_JSON
    try:
        return EngineInput.model_validate_json(path.read_bytes())
    except OSError as error:
        raise NotRunning(str(path), f"{error.strerror}", "run `opsloop up`") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise InputError(str(path), f"{where}: {first['msg']}", "run `opsloop up`") from error


def supervisor_socket(state: Path, environ: Mapping[str, str]) -> Path:
    """Where supervisord listens: from its children's environment, else from stack.json."""
    if environ.get(ENV_SOCKET):
        return Path(environ[ENV_SOCKET])
    from opsloop.stack.state import StateFolder

    info = StateFolder(state).read()
    if info is None:
        raise NotRunning(str(state), "there is no stack.json", "run `opsloop up`")
    return Path(info.socket)


@contextlib.contextmanager
def only_engine(state: Path) -> Iterator[None]:
    """Hold the state folder against a second engine; the kernel frees it with the process."""
    path = state / LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(
            str(path), f"cannot be written: {error.strerror}", "choose another --state"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise StateUnusable(
            str(path), f"another engine runs on it (pid {holder})", "stop that one first"
        ) from None
    finally:
        os.close(descriptor)


class EngineProcess:
    """All parts of the engine, wired. Raises an OpsloopError for the part that is missing."""

    def __init__(self, state: Path, environ: Mapping[str, str]) -> None:
        from opsloop.drivers.alertmanager import Alertmanagers
        from opsloop.drivers.certificates import CertificateFiles
        from opsloop.drivers.fleet import ProcessFleet
        from opsloop.drivers.http import BasicAuth, HttpClient
        from opsloop.drivers.loop import EngineLoop
        from opsloop.drivers.prometheus import Prometheus
        from opsloop.drivers.supervisor import Supervisor
        from opsloop.drivers.workers import ThreadWorkers
        from opsloop.settings import Ports
        from opsloop.store.sqlite import SqliteStore
        from opsloop.web.auth import Secret
        from opsloop.web.metrics import EngineMetrics

        self.state = state
        given = read_input(state)
        self.ports = Ports(given.port_base)
        self.bind = given.catalog.stack.bind
        self.password = Secret(state / names.SECRETS_DIR / names.SECRET_SCRAPE_PASSWORD)
        self.token = Secret(state / names.SECRETS_DIR / names.SECRET_WEBHOOK_TOKEN)
        host = reachable(self.bind)
        http, auth = HttpClient(), BasicAuth(names.SCRAPE_USER, self.password.path)
        self._prometheus = Prometheus(http, f"http://{host}:{self.ports.prometheus}", auth)
        self._alerts = Alertmanagers(http, [f"http://{host}:{self.ports.alertmanager}"], auth)
        self._supervisor = Supervisor(supervisor_socket(state, environ))
        self.store: SqliteStore = SqliteStore(state / names.STORE_FILE)
        self.store.drop_lease()  # we hold the lock: whoever had it is gone
        self.metrics: EngineMetrics = EngineMetrics()
        self.workers = ThreadWorkers(self._wake)
        self.fleet: ProcessFleet | None = None
        self._fleet_type = ProcessFleet
        self._files_type = CertificateFiles
        self.certificates = CertificateFiles({})
        self.policies: Mapping[str, Policy] = {}
        self.loop = EngineLoop(self._engine, self.workers)
        self.intake: Intake | None = None
        self.metrics.read_at_scrape(self._facts)

    def _engine(self) -> Engine:
        from opsloop.compile.places import CATALOG_LINK
        from opsloop.drivers.dispatch import all_drivers
        from opsloop.drivers.words import Words
        from opsloop.remediation.engine import Engine

        given = read_input(self.state)
        self.fleet = self._fleet_type(
            self._supervisor, given.catalog, self.ports, self.state, self.store.wanted
        )
        self.fleet.write_all_targets()
        self.policies = given.catalog.remediation.policies
        beside = (self.state / CATALOG_LINK).resolve()
        words = Words.of(given.catalog, self.state, beside, self.ports)
        self.certificates = self._files_type(
            {name: words.path(c.file) for name, c in given.catalog.certificates.items()}
        )
        return Engine(
            given,
            store=self.store,
            metrics=self._prometheus,
            alerts=self._alerts,
            fleet=all_drivers(self.fleet, words, self._prometheus),
            workers=self.workers,
            signals=self.metrics,
            holder=f"{socket.gethostname()}:{os.getpid()}",
        )

    def _wake(self) -> None:
        self.loop.wake()

    def application(self) -> Callable[..., Any]:
        """The ASGI application over these parts."""
        from opsloop.web import api, auth, intake

        self.intake = intake.Intake(
            self.store,
            auth.bearer(self.token),
            self.metrics,
            changed=lambda _: self.loop.wake(),
            reconcile=self.loop.reconcile,
        )
        alerts = self.intake
        face = api.Api(
            self.store,
            auth.basic(self.password),
            self.metrics,
            ready=self.loop.not_ready,
            watchdog_at=lambda: alerts.watchdog_at,
            changed=self.loop.wake,
        )
        return api.create(face.app(), alerts, auth.hosts_for(self.bind))

    def stop(self) -> None:
        """Begin nothing more, let what is under way end, and say so in the store."""
        log.info("the engine stops", extra={"action": "stop"})
        self.store.stop_actions("the engine stops")
        self.loop.stop(DRAIN_S)
        with contextlib.suppress(StoreError):
            self.store.drop_lease()

    def _facts(self) -> Facts:
        from opsloop.remediation import breaker

        found: dict[str, dict[tuple[str, ...], float]] = {
            "opsloop_build_info": {(__version__,): 1.0},
            "opsloop_active": {(): float(self.loop.active)},
            "opsloop_loop_silent_seconds": {(): self.loop.silent_s},
            "opsloop_config_last_reload_successful": {(): float(self.loop.read_ok)},
            "opsloop_config_last_reload_success_timestamp_seconds": {(): self.loop.read_at},
            "opsloop_actions_under_way": {(): float(self.workers.pending)},
            "opsloop_intake_waiting": {(): float(self.intake.waiting if self.intake else 0)},
            "opsloop_store_queue": {(): float(self.store.writer.waiting)},
            "opsloop_store_commits": {(): float(self.store.writer.commits)},
            names.CERTIFICATE_NOT_AFTER: {
                (name,): when for name, when in self.certificates.not_after().items()
            },
        }
        with contextlib.suppress(StoreError):
            found["opsloop_paused"] = {(): float(self.store.paused()[0])}
            found["opsloop_episodes"] = {
                (state,): float(count) for state, count in self.store.counts().items()
            }
            runs = self.store.run_counts()
            found[names.RUNS_KEPT] = {key: float(count) for key, (count, _) in runs.items()}
            found[names.ANNOTATED] = _annotations(self.store, time.time())
            found[names.LAST_RUN] = {key: when for key, (_, when) in runs.items()}
            found["opsloop_runs_open"] = {(): float(len(self.store.open_runs()))}
            found["opsloop_approvals_open"] = {(): float(len(self.store.approvals()))}
            found["opsloop_escalations_open"] = {(): float(len(self.store.escalations()))}
            found[names.BREAKER_OPEN] = {
                (policy,): float(count)
                for policy, count in breaker.open_by_policy(
                    self.policies, self.store.history(time.time() - breaker.MEMORY_S), time.time()
                ).items()
            }
        return found


def _annotations(store: SqliteStore, now: float) -> dict[tuple[str, ...], float]:
    """The newest marks of two days: each is a series."""
    notes = store.notes("annotation", now - 2 * 86_400.0, now, MARKS_TOLD)
    found: dict[tuple[str, ...], float] = {}
    for note in reversed(notes):
        body = note["body"]
        found["deploy", str(body.get("service", "")), str(body.get("text", ""))] = note["at"]
    return found


def reachable(bind: str) -> str:
    """The host by which parts that listen on `bind` are reached from this machine."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(bind)
        if address.is_unspecified:
            bind = "127.0.0.1" if address.version == 4 else "::1"
        return f"[{bind}]" if ":" in bind else bind
    return bind


def run_engine(state: Path) -> None:
    """Serve until SIGTERM or SIGINT. Raises an OpsloopError when it cannot start."""
    from opsloop.drivers.command import sweep
    from opsloop.web.server import listen_on, serve

    sys.setswitchinterval(SWITCH_S)
    with only_engine(state):
        ended = sweep(state)
        if ended:
            log.warning("ended what actions of an engine that died left running: %s", ended)
        engine = EngineProcess(state, os.environ)
        try:
            sock = listen_on(engine.bind, engine.ports.engine)
            engine.loop.start()
            log.info("the engine listens on port %d", engine.ports.engine)
            serve(engine.application(), sock, on_stop=engine.stop, on_hangup=engine.loop.reload)
        finally:
            engine.store.close()


def run_console(state: Path) -> None:
    """Serve the console until SIGTERM or SIGINT. Raises an OpsloopError when it cannot start."""
    from opsloop.drivers.http import BasicAuth, HttpClient
    from opsloop.drivers.rules import AlertRules
    from opsloop.drivers.silences import AlertDesk
    from opsloop.settings import Ports
    from opsloop.web import console
    from opsloop.web.auth import Secret
    from opsloop.web.server import listen_on, serve
    from opsloop.web.world import World

    given = read_input(state)
    ports, bind = Ports(given.port_base), given.catalog.stack.bind
    password = Secret(state / names.SECRETS_DIR / names.SECRET_SCRAPE_PASSWORD)
    host, auth = reachable(bind), BasicAuth(names.SCRAPE_USER, password.path)
    http = HttpClient(timeout_s=CONSOLE_QUERY_S, max_answer=CONSOLE_ANSWER)
    world = World(
        state,
        AlertRules(http, f"http://{host}:{ports.prometheus}", auth, timeout_s=CONSOLE_QUERY_S),
        AlertDesk(http, [f"http://{host}:{ports.alertmanager}"], auth, timeout_s=3.0),
    )
    application = console.create(world, password, bind, ports.console)
    sock = listen_on(bind, ports.console)
    log.info("the console listens on port %d", ports.console)
    serve(application, sock)


def run_inbox(state: Path, port: int) -> None:
    """Serve the inbox on loopback. Who has the fault token may make a vendor misbehave."""
    from opsloop.web import auth, inbox
    from opsloop.web.server import listen_on, serve

    sock = listen_on("127.0.0.1", port)
    token = state / names.SECRETS_DIR / names.SECRET_FAULT_TOKEN
    allowed = auth.bearer(auth.Secret(token)) if token.is_file() else None
    serve(inbox.create(state / names.INBOX_FILE, allowed), sock)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 stopped as asked, else that of the error, which is one line of the log."""
    parser = argparse.ArgumentParser(prog="opsloop.app", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    engine = parts.add_parser("engine", help="the closed loop and its webhook intake")
    inbox = parts.add_parser("inbox", help="stands in for Slack and PagerDuty")
    console = parts.add_parser("console", help="the pages that people look at")
    for part in (engine, console, inbox):
        part.add_argument("--state", type=Path, required=True, help="state folder of the stack")
    inbox.add_argument("--port", type=int, required=True)
    given = parser.parse_args(arguments)
    configure()
    try:
        if given.part == "engine":
            run_engine(given.state.absolute())
        elif given.part == "console":
            run_console(given.state.absolute())
        else:
            run_inbox(given.state.absolute(), given.port)
    except OpsloopError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
