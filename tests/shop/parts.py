"""The shop's processes for tests: started on free ports with secrets of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from tests.support.net import free_ports
from tests.support.servers import require, stop
from tests.support.wait import wait_until

SHOP = Path(__file__).parents[2] / "examples" / "shop"
SECRETS = {
    "database_password": "a-password-'with\\quotes",
    "fault_token": "token-of-the-tests",
    "scrape_password": "password-of-the-tests",
}


@dataclass
class Shop:
    """A state folder, and what was started over it."""

    state: Path
    database_port: int
    first_port: int
    load_port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "OPSLOOP_STATE": str(self.state),
            "OPSLOOP_SECRETS": str(self.state / "secrets"),
            "SHOP_DATA": str(self.state / "data" / "database"),
            "SHOP_DATABASE_PORT": str(self.database_port),
        }

    def start(self, name: str, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.state / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, script, *arguments],
                cwd=SHOP,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
            )
        self.running[name] = process
        return process

    def start_database(self) -> subprocess.Popen[bytes]:
        require("postgres")
        return self.start("database", "database.py", "--port", str(self.database_port))

    def start_api(self, slot: int = 0) -> subprocess.Popen[bytes]:
        port = str(self.first_port + slot)
        process = self.start(f"api-{slot}", "api.py", "--port", port, "--slot", str(slot))
        wait_until(lambda: self.get("/healthz", slot).status == 200, f"api-{slot} answers")
        return process

    def start_load(self, slots: int = 2) -> None:
        first = str(self.first_port)
        arguments = ("--port", str(self.load_port), "--first-port", first, "--slots", str(slots))
        self.start("load", "load.py", *arguments)
        url = f"http://127.0.0.1:{self.load_port}"
        wait_until(lambda: call("GET", url + "/healthz").status == 200, "the load answers")

    def url(self, slot: int = 0) -> str:
        return f"http://127.0.0.1:{self.first_port + slot}"

    def get(self, path: str, slot: int = 0) -> urllib3.BaseHTTPResponse:
        return call("GET", self.url(slot) + path)

    def fault(self, slot: int = 0, **body: Any) -> dict[str, Any]:
        answer = call("POST", self.url(slot) + "/faults", body, token())
        assert answer.status == 200, answer.data
        found: dict[str, Any] = json.loads(answer.data)
        return found

    def metrics(self, slot: int = 0) -> str:
        password = SECRETS["scrape_password"]
        headers = urllib3.make_headers(basic_auth=f"opsloop:{password}")
        answer = call("GET", self.url(slot) + "/metrics", headers=headers)
        assert answer.status == 200
        return answer.data.decode()

    def log(self, name: str) -> str:
        return (self.state / f"{name}.log").read_text(errors="replace")

    def sells(self, slot: int = 0) -> bool:
        """Whether a request that needs the database is answered."""
        return self.get("/products/7", slot).status == 200


def token(value: str = SECRETS["fault_token"]) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def call(
    method: str,
    url: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> urllib3.BaseHTTPResponse:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        return pool.request(method, url, body=data, headers=dict(headers or {}))


@contextlib.contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """A shop over `folder`; everything that was started is stopped at the end."""
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    for name, value in SECRETS.items():
        (secrets / name).write_text(value + "\n")
    (folder / "data").mkdir()
    database, load, first = _ports()
    made = Shop(folder, database, first, load)
    try:
        yield made
    finally:
        for name, process in reversed(made.running.items()):
            if name == "database" and process.poll() is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(15)
            stop(process, 5)
        _remove_data(made)


def _ports() -> tuple[int, int, int]:
    """Two free ports, and the first of four in a row."""
    found = sorted(free_ports(60))
    for at in range(len(found) - 5):
        if found[at + 3] == found[at] + 3:
            rest = [p for p in found if p not in range(found[at], found[at] + 4)]
            return rest[0], rest[1], found[at]
    raise RuntimeError("no four free ports in a row")


def _remove_data(made: Shop) -> None:
    """The cluster may lie outside the state folder, where its own user can reach it."""
    record = made.state / "data" / "database.path"
    if record.exists():
        folder = Path(record.read_text().strip())
        if made.state not in folder.parents:
            subprocess.run(["rm", "-rf", str(folder.parent)], check=True)


def postmaster(made: Shop) -> int:
    """The pid of the server, as its own file tells it."""
    folder = Path((made.state / "data" / "database.path").read_text().strip())
    return int((folder / "postmaster.pid").read_text().split()[0])


def until_ended(process: subprocess.Popen[bytes], seconds: float = 30.0) -> int:
    """Its exit code."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.returncode is not None, "it did not end"
    return process.returncode
