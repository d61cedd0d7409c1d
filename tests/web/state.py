"""A state folder for an engine's process, and the process itself."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import urllib3

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.catalog.model import Catalog
from tests.support.servers import Server, running
from tests.support.stack import free_port_base
from tests.web.engine import PASSWORD, TOKEN

ROOT = Path(__file__).parents[2]
_AUTH = {"Authorization": "Basic " + base64.b64encode(f"opsloop:{PASSWORD}".encode()).decode()}


def catalog(wanted: int = 2) -> Catalog:
    return Catalog.model_validate(
        {
            "apiVersion": "opsloop/v1",
            "processes": {"web": {"command": ["x"], "slots": 4, "port": 8000}},
            "services": {
                "web": {"team": "shop", "process": "web", "instances": {"wanted": wanted}}
            },
        }
    )


class State:
    """STATE as `up` leaves it, but with nothing running on its ports."""

    def __init__(self, root: Path, port_base: int | None = None) -> None:
        self.root = root
        self.base = free_port_base() if port_base is None else port_base
        self.port = 8081 + self.base
        secrets = root / names.SECRETS_DIR
        secrets.mkdir(parents=True)
        (secrets / names.SECRET_SCRAPE_PASSWORD).write_text(PASSWORD)
        (secrets / names.SECRET_WEBHOOK_TOKEN).write_text(TOKEN)
        self.write(catalog())

    @property
    def engine_json(self) -> Path:
        return self.root / names.BUILD_DIR / names.ENGINE_JSON

    def write(self, given: Catalog) -> None:
        self.engine_json.parent.mkdir(parents=True, exist_ok=True)
        value = EngineInput(catalog=given, facts=[], port_base=self.base)
        self.engine_json.write_text(value.model_dump_json(by_alias=True))

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "opsloop.app"),
            *(arguments or ("engine", "--state", str(self.root))),
        ]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "OPSLOOP_SOCKET": str(self.root / "run" / "supervisor.sock"),
        }

    def start(self) -> contextlib.AbstractContextManager[Server]:
        """The engine, once it is ready; its log is in STATE/logs."""
        return running(
            "engine",
            self.command(),
            port=self.port,
            folder=self.root / "logs",
            ready="/healthz",
            headers=_AUTH,
            environment=self.environment(),
        )

    def refused(self, *arguments: str) -> tuple[int, str]:
        """Start what must not start: its exit code, and what it said."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stderr

    def scraped(self) -> list[str]:
        text = (self.root / names.TARGETS_DIR / "web.json").read_text()
        return [t for group in json.loads(text) for t in group["targets"]]


def send(server: Server, body: bytes, **headers: str) -> urllib3.BaseHTTPResponse:
    """One webhook; whatever comes back."""
    with urllib3.PoolManager(retries=False, timeout=60.0) as pool:
        return pool.request(
            "POST",
            server.url + "/api/v1/alerts",
            body=body,
            headers={"Authorization": f"Bearer {TOKEN}", **headers},
        )


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no process {pid}")
