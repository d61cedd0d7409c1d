"""The real engine's process, and real instances under a real supervisord, for storms and crashes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opsloop import names
from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.model import Catalog
from opsloop.settings import Ports

ROOT: Final = Path(__file__).parents[1]
FIRST_PORT: Final = 7000  # of the instances; ten for each service
IDEMPOTENT, ONCE = "restart", "restart-once"  # the two policies


@dataclass(frozen=True)
class Target:
    """One instance. name: supervisord's, as `s0:s0-1`; address: its `instance` label."""

    service: str
    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Shape:
    """How much there is, and how much is allowed: max_share of a service's instances at once,
    max_runs of a service within the hour."""

    services: int = 10
    instances: int = 5
    max_share: str = "40%"
    max_runs: int = 80
    verify_s: float = 5.0

    @property
    def at_once(self) -> int:
        return max(1, int(float(self.max_share.rstrip("%")) / 100 * self.instances + 1e-9))


class Rig:
    """A state folder with everything that the engine needs, on free loopback ports.

    `state` may lie on another disk; instances and their ledger never do. `source`: the code of
    the engine, another one to see that the judge finds what is broken in it.
    """

    def __init__(
        self, folder: Path, shape: Shape, state: Path | None = None, source: Path = ROOT / "src"
    ) -> None:
        self.folder = folder
        self.source = source
        self.shape = shape
        self.state = state or folder / "state"
        self.socket = folder / "s.sock"
        self.ledger = folder / "starts"
        self.log = folder / "engine.log"
        self.token, self.password = secrets.token_urlsafe(), secrets.token_urlsafe()
        self.base = _free_base(shape)
        self.ports = Ports(self.base)
        self.targets = [
            Target(f"s{s}", f"s{s}:s{s}-{n}", f"127.0.0.1:{port}", port)
            for s in range(shape.services)
            for n in range(shape.instances)
            for port in (FIRST_PORT + 10 * s + n + self.base,)
        ]
        self.engine: subprocess.Popen[bytes] | None = None
        self.lives: list[tuple[float, float]] = []  # when an engine could work, unix seconds
        self._able_since: float | None = None
        self._write()

    def policy_of(self, service: str) -> str:
        """Half of the services have steps that may not be done twice."""
        return IDEMPOTENT if int(service[1:]) % 2 == 0 else ONCE

    def _write(self) -> None:
        folder = self.state / names.SECRETS_DIR
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names.SECRET_SCRAPE_PASSWORD).write_text(self.password)
        (folder / names.SECRET_WEBHOOK_TOKEN).write_text(self.token)
        path = self.state / names.BUILD_DIR / names.ENGINE_JSON
        path.parent.mkdir(parents=True, exist_ok=True)
        given = EngineInput(
            catalog=Catalog.model_validate(self._catalog()),
            facts=[_facts(IDEMPOTENT), _facts(ONCE)],
            port_base=self.base,
        )
        path.write_text(given.model_dump_json(by_alias=True))
        (self.folder / "d.conf").write_text(self._supervisord())

    def _catalog(self) -> dict[str, Any]:
        shape, services = self.shape, [f"s{n}" for n in range(self.shape.services)]
        count = {"wanted": shape.instances, "min": shape.instances, "max": shape.instances}
        policies = {
            policy: {
                "when": {
                    "alert": [names.SERVICE_DOWN],
                    "service": [s for s in services if self.policy_of(s) == policy],
                },
                "steps": [{"restart": {}, "timeout": "20s", "idempotent": policy == IDEMPOTENT}],
                "limits": {"max_runs": shape.max_runs, "max_share": shape.max_share},
                "verify": {"hold": "200ms", "timeout": f"{shape.verify_s:g}s"},
            }
            for policy in (IDEMPOTENT, ONCE)
        }
        return {
            "apiVersion": "opsloop/v1",
            "processes": {
                s: {
                    "command": ["instance"],
                    "slots": shape.instances,
                    "port": FIRST_PORT + 10 * n,
                    "autorestart": False,
                }
                for n, s in enumerate(services)
            },
            "services": {s: {"team": "storm", "process": s, "instances": count} for s in services},
            "remediation": {"mode": "auto", "policies": policies},
        }

    def _supervisord(self) -> str:
        head = (
            f"[unix_http_server]\nfile={self.socket}\n"
            f"[supervisord]\nlogfile={self.folder}/d.log\npidfile={self.folder}/d.pid\n"
            f"childlogdir={self.folder}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        )
        program = Path(__file__).with_name("_instance.py")
        tether = "setpriv --pdeathsig KILL -- " if shutil.which("setpriv") else ""
        parts = [
            head,
            *(
                f"[program:{target.name.partition(':')[2]}]\n"
                f"command={tether}{sys.executable} -I -S {program} {self.ledger} {target.name}"
                f" {target.port}\n"
                "autorestart=false\nstartsecs=0\nstartretries=0\nstopsignal=KILL\n"
                "stdout_logfile=NONE\nstderr_logfile=NONE\n"
                for target in self.targets
            ),
        ]
        for service in sorted({t.service for t in self.targets}):
            members = [t.name.partition(":")[2] for t in self.targets if t.service == service]
            parts.append(f"[group:{service}]\nprograms={','.join(members)}\n")
        return "\n".join(parts)

    # The instances

    @contextlib.contextmanager
    def instances(self) -> Iterator[None]:
        """All instances, once each has written its first start."""
        command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-n"]
        with (self.folder / "d.out").open("wb") as out:
            process = subprocess.Popen(
                [*command, "-c", str(self.folder / "d.conf")], stdout=out, stderr=out
            )
        try:
            until(lambda: len(self.starts()) >= len(self.targets), "every instance started")
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()

    def starts(self) -> list[tuple[str, float]]:
        """(target, unix seconds) of each start of an instance, as written by itself."""
        if not self.ledger.exists():
            return []
        words = [line.split() for line in self.ledger.read_text().splitlines()]
        return [(w[0], float(w[2])) for w in words if len(w) == 3]

    # The engine

    def start_engine(self) -> subprocess.Popen[bytes]:
        """Begin one; it may not listen yet."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.source),
            "OPSLOOP_SOCKET": str(self.socket),
        }
        with self.log.open("ab") as log:
            self.engine = subprocess.Popen(
                [sys.executable, "-m", "opsloop.app", "engine", "--state", str(self.state)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        return self.engine

    def kill_engine(self) -> None:
        """kill -9; nothing happens when it is gone."""
        self.unable()
        if self.engine is not None:
            self.engine.send_signal(signal.SIGKILL)
            self.engine.wait()

    def unable(self) -> None:
        """From now on the engine cannot work: it is killed, or its disk takes nothing."""
        if self._able_since is not None:
            self.lives.append((self._able_since, time.time()))
            self._able_since = None

    def wait_ready(self, deadline_s: float = 60.0) -> float:
        """Seconds until it answers that it is ready. Raises RuntimeError when it ended."""
        began = time.monotonic()

        def ready() -> bool:
            if self.engine is None or self.engine.poll() is not None:
                tail = self.log.read_text(errors="replace").splitlines()[-3:]
                raise RuntimeError(f"the engine ended: {' / '.join(tail)}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.ask("GET", "/healthz")[0] == 200
            return False

        until(ready, "the engine is ready", deadline_s, every=0.01)
        self._able_since = time.time()
        return time.monotonic() - began

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """(status, JSON) of the engine's API."""
        pair = base64.b64encode(f"{names.SCRAPE_USER}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.engine, timeout=20)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Authorization": f"Basic {pair}"})
            answer = connection.getresponse()
            read = answer.read()
            kind = answer.headers.get_content_type()
            return answer.status, json.loads(read) if kind == "application/json" else read
        finally:
            connection.close()

    def peak_mib(self) -> float:
        """The most memory that the engine's process has had, MiB."""
        return memory_mib(self.engine.pid, "VmHWM") if self.engine is not None else 0.0


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """VmRSS (now) or VmHWM (the most so far) of a process; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def until(
    what: Callable[[], bool], described: str, deadline_s: float = 120.0, every: float = 0.05
) -> None:
    """Wait for a condition. Raises RuntimeError at the deadline."""
    end = time.monotonic() + deadline_s
    while not what():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {deadline_s:g} s: {described}")
        time.sleep(every)


def _facts(policy: str) -> AlertFacts:
    return AlertFacts(
        alert=names.SERVICE_DOWN,
        policy=policy,
        scope="instance",
        severity="P0",
        condition="down",
        fresh="fresh",
        sli="up",
        window_s=0,
        interval_s=1,
        grace_s=45,
    )


def _free_base(shape: Shape) -> int:
    """An offset at which nothing listens on any of the ports, below the kernel's own range."""
    wanted = [8081, 9090, 9093]
    wanted += [
        FIRST_PORT + 10 * s + n for s in range(shape.services) for n in range(shape.instances)
    ]
    rng = random.Random(os.getpid() ^ time.monotonic_ns())
    for _ in range(200):
        base = rng.randrange(11_000, 22_000)
        if all(_is_free(port + base) for port in wanted):
            return base
    raise RuntimeError("no free ports between 18000 and 31000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False
