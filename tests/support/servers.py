"""Real servers for a test: started on free loopback ports, stopped by pid whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.net import free_port
from tests.support.wait import wait_until

_TAIL = 40  # lines of its log that a server leaves in the output of a failed test
_STOP_SECONDS = 15.0
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/sbin", "/sbin")
_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "prometheus-postgres-exporter": "prometheus-postgres-exporter",
    "postgres": "postgresql",
    "initdb": "postgresql",
}


def require(*names: str) -> Path:
    """The path of the first of these programs that is installed.

    Where none is, the test fails under CI and is skipped on a person's machine; both say why.
    """
    for name in names:
        found = shutil.which(name) or next(iter(_outside_path(name)), None)
        if found:
            return Path(found)
    package = _PACKAGES.get(names[0], names[0])
    reason = f"{' or '.join(names)} is not installed; run: sudo apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _outside_path(name: str) -> Iterator[str]:
    for place in _PLACES:
        root = Path("/")
        yield from sorted(map(str, root.glob(f"{place.lstrip('/')}/{name}")), reverse=True)


@dataclass(slots=True)
class Server:
    """A running server. `url` has no slash at its end; `log` is its stdout and stderr."""

    name: str
    url: str
    port: int
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """host:port, as a target or an `instance` label has it."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(self, path: str, **fields: str) -> Any:
        """GET `path` with query `fields`; the JSON of a 200, else AssertionError."""
        return _json(_request("GET", self.url + path, headers=self.headers, fields=fields))

    def post(self, path: str, body: object = None) -> Any:
        """POST `body` as JSON; the JSON of a 200, else AssertionError."""
        data = b"" if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        return _json(_request("POST", self.url + path, headers=headers, body=data))

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result vector of an instant query of Prometheus."""
        answer: list[dict[str, Any]] = self.get("/api/v1/query", query=expr)["data"]["result"]
        return answer

    def reload(self) -> None:
        """Have Prometheus or Alertmanager read its configuration again."""
        _request("POST", self.url + "/-/reload", headers=self.headers)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server, as long as it runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def tail(self, lines: int = _TAIL) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    port: int,
    folder: Path,
    ready: str,
    headers: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    deadline: float = 60.0,
) -> Iterator[Server]:
    """Start `command` in `folder`, wait until GET `ready` answers 200, and stop it at the end.

    Its log's tail goes to stderr at the end, which pytest shows for a failed test only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            # The server ends with the test process, even when that one is killed.
            ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    server = Server(
        name, f"http://127.0.0.1:{port}", port, folder, log, process, dict(headers or {})
    )
    try:
        wait_until(lambda: _answers(server, ready), f"{name} is ready", deadline)
        yield server
    finally:
        stop(process)
        print(f"--- {name}: the last lines of {log}\n{server.tail()}", file=sys.stderr)


def stop(process: subprocess.Popen[bytes], seconds: float = _STOP_SECONDS) -> None:
    """End a process that a test started: SIGTERM, then SIGKILL after `seconds`."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a stopped process would not see SIGTERM
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def prometheus(
    config: str | Path,
    folder: Path,
    *,
    port: int | None = None,
    flags: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> AbstractContextManager[Server]:
    """A context manager: Prometheus with `config` (its text, or the path of a file).

    `folder` takes data and log, and a text is written to folder/prometheus.yml, so that
    relative names in it are found there. headers: sent with each request (basic auth).
    """
    number = port or free_port()
    command: list[str | Path] = [
        require("prometheus"),
        f"--config.file={_config(config, folder, 'prometheus.yml')}",
        f"--storage.tsdb.path={folder / 'prometheus-data'}",
        f"--web.listen-address=127.0.0.1:{number}",
        "--web.enable-lifecycle",
        *flags,
    ]
    return running(
        "prometheus", command, port=number, folder=folder, ready="/-/ready", headers=headers
    )


def alertmanager(
    config: str | Path,
    folder: Path,
    *,
    port: int | None = None,
    flags: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> AbstractContextManager[Server]:
    """A context manager: Alertmanager with `config`, alone (no cluster); else as prometheus()."""
    number = port or free_port()
    command: list[str | Path] = [
        require("prometheus-alertmanager", "alertmanager"),
        f"--config.file={_config(config, folder, 'alertmanager.yml')}",
        f"--storage.path={folder / 'alertmanager-data'}",
        f"--web.listen-address=127.0.0.1:{number}",
        "--cluster.listen-address=",
        *flags,
    ]
    return running(
        "alertmanager", command, port=number, folder=folder, ready="/-/ready", headers=headers
    )


def _config(config: str | Path, folder: Path, name: str) -> Path:
    if isinstance(config, Path):
        return config.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(config)
    return path


def _answers(server: Server, path: str) -> bool:
    code = server.process.poll()
    if code is not None:
        pytest.fail(f"{server.name} ended with {code} before it was ready:\n{server.tail()}")
    with urllib3.PoolManager(retries=False, timeout=2.0) as pool:
        answer = pool.request("GET", server.url + path, headers=dict(server.headers))
    return answer.status == 200


def _request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    fields: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(retries=False, timeout=10.0) as pool:
        if body is None:
            answer = pool.request(method, url, headers=dict(headers), fields=dict(fields or {}))
        else:
            answer = pool.request(method, url, headers=dict(headers), body=body)
    assert answer.status == 200, f"{method} {url}: {answer.status} {answer.data[:500]!r}"
    return answer


def _json(answer: urllib3.BaseHTTPResponse) -> Any:
    return json.loads(answer.data) if answer.data.strip() else None
