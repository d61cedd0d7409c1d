"""What `init` sees of real servers, real supervisord, and of what is no server of metrics."""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from opsloop.catalog.scaffold import Found, FoundService, Selectors
from opsloop.stack.discover import MOST_PORTS, discover, published, supervised
from opsloop.stack.exposition import recognise
from opsloop.stack.listeners import Listener, listeners
from tests.support.net import free_port
from tests.support.servers import Server, prometheus, require, running, stop
from tests.support.wait import wait_until

NO_DOCKER = Path("nowhere.sock")
SERVE = """\
import sys, time
from prometheus_client import Counter, Histogram, start_http_server
label = sys.argv[2]
requests = Counter("http_requests", "requests", [label])
requests.labels("200").inc()
Histogram("http_request_duration_seconds", "durations").observe(0.1)
start_http_server(int(sys.argv[1]), "127.0.0.1")
time.sleep(3600)
"""


@contextmanager
def serving(folder: Path, label: str = "code", name: str = "shop-api") -> Iterator[Server]:
    """A Python program with metrics of its own."""
    folder.mkdir(exist_ok=True)
    script = folder / f"{name}.py"
    script.write_text(SERVE)
    port = free_port()
    command: list[str | Path] = [sys.executable, script, str(port), label]
    with running(name, command, port=port, folder=folder, ready="/metrics") as server:
        yield server


def at(*ports: int) -> list[Listener]:
    return [item for item in listeners() if item.port in ports]


def seen(*ports: int, look_s: float = 30.0) -> Found:
    """What is found there, with time enough for a busy machine."""
    return discover(at(*ports), supervisors=(), docker=NO_DOCKER, look_s=look_s)


def test_a_service_with_the_usual_names(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        found = seen(server.port)
    (service,) = found.services
    assert (service.name, service.address, service.metrics) == (
        "shop-api",
        f"127.0.0.1:{server.port}",
        "http",
    )
    assert service.what.endswith("shop-api.py")


def test_a_service_with_another_label_for_the_status(tmp_path: Path) -> None:
    with serving(tmp_path, label="status") as server:
        (service,) = seen(server.port).services
    assert service.metrics == Selectors(
        "http_requests_total",
        'http_requests_total{status=~"5.."}',
        "http_request_duration_seconds",
    )


def test_prometheus_and_node_exporter(tmp_path: Path) -> None:
    program, port = require("prometheus-node-exporter", "node_exporter"), free_port()
    command: list[str | Path] = [program, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults",
               "--collector.cpu"]  # fmt: skip
    with ExitStack() as stack:
        node = stack.enter_context(
            running("node", command, port=port, folder=tmp_path, ready="/metrics")
        )
        server = stack.enter_context(prometheus("global: {}\n", tmp_path))
        found = seen(node.port, server.port)
    assert found.node_exporters == (node.address,)
    (service,) = found.services
    assert (service.name, service.address) == ("prometheus-2", server.address)
    assert isinstance(service.metrics, Selectors)
    assert service.metrics.requests == "prometheus_http_requests_total"


def test_supervisor_programs_give_their_names(tmp_path: Path) -> None:
    port, sock = free_port(), Path(f"/tmp/opsloop-supervisor-{os.getpid()}.sock")
    (tmp_path / "x.py").write_text(SERVE)
    (tmp_path / "supervisord.conf").write_text(
        f"[unix_http_server]\nfile={sock}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        "[supervisord]\nnodaemon=true\n"
        f"[program:Checkout_API]\ncommand={sys.executable} x.py {port} code\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: "Checkout_API" in supervised([sock]).values(), "supervisord runs it")
        wait_until(lambda: at(port), "the program listens")
        found = discover(at(port), supervisors=[sock], docker=NO_DOCKER, look_s=30)
        assert "Checkout_API" in supervised([sock, NO_DOCKER]).values()
    finally:
        stop(process)
    assert found.services == (
        FoundService(
            "checkout-api", f"127.0.0.1:{port}", "supervisor program Checkout_API", "http"
        ),
    )


class Docker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers as Docker's engine does to GET /containers/json."""

    body = b"[]"
    daemon_threads = True


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert self.rfile.readline() == b"GET /containers/json HTTP/1.0\r\n"
        body = self.server.body  # type: ignore[attr-defined]
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)


@contextmanager
def docker(path: Path, body: object) -> Iterator[None]:
    with Docker(str(path), _Answer) as server:
        server.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_containers_give_their_names(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with serving(tmp_path) as server:
        containers = [
            {
                "Names": ["/web_1"],
                "Ports": [
                    {"PrivatePort": 80, "PublicPort": server.port, "Type": "tcp"},
                    {"PrivatePort": 81, "Type": "tcp"},
                    {"PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
                ],
            },
            {"Names": ["/idle"], "Ports": None},
        ]
        with docker(path, containers):
            assert published(path) == {server.port: "web_1"}
            (service,) = discover(at(server.port), supervisors=(), docker=path, look_s=30).services
    assert (service.name, service.what) == ("web-1", "container web_1")


@pytest.mark.parametrize("body", [b"", b"{", {}, [1], [{"Names": []}], {"message": "no"}, None])
def test_a_docker_that_answers_nonsense(body: object, tmp_path: Path) -> None:
    with docker(tmp_path / "docker.sock", body):
        assert published(tmp_path / "docker.sock") == {}


class Handler(http.server.BaseHTTPRequestHandler):
    """Pages that are no metrics, or not for us."""

    def do_GET(self) -> None:
        status, text = self.server.page  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """The test's output is not its place."""


@contextmanager
def page(status: int, text: str) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.page = (status, text)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "text"),
    [(200, "<html>hello</html>\n<p>\n"), (404, "up 1\n"), (500, ""), (200, ""), (302, "")],
)
def test_pages_that_are_no_metrics(status: int, text: str) -> None:
    with page(status, text) as port:
        assert seen(port) == Found()


def test_a_page_that_wants_a_password_is_named() -> None:
    with page(401, "no") as port:
        found = seen(port)
    assert found.services == ()
    (note,) = found.notes
    assert note.endswith(f"127.0.0.1:{port}: /metrics wants a password (scrape: auth:)")


def test_a_server_that_never_ends_its_answer() -> None:
    """It drips for ever; what came until the deadline is looked at, and nothing waits for more."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while not done.wait(0.05):
                    try:
                        connection.sendall(b"queue_length 1\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            (service,) = seen(server.getsockname()[1], look_s=1.0).services
        finally:
            done.set()
            thread.join()
    assert service.metrics == "none"


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH\r\n", b"\x16\x03\x01\x00", b"HTTP/9.9"])
def test_servers_that_do_not_speak_http(words: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        found = seen(server.getsockname()[1])
        thread.join()
    assert found == Found()


def test_more_ports_than_are_looked_at() -> None:
    port = free_port()
    many = [Listener(port, "127.0.0.1", 0, "x") for _ in range(MOST_PORTS + 3)]
    found = discover(many, supervisors=(), docker=NO_DOCKER)
    assert found.notes == ("3 more listening ports, which were not looked at",)


def test_listeners_of_every_kind_of_address() -> None:
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for family, host in (
            (socket.AF_INET, "127.0.0.1"),
            (socket.AF_INET, "0.0.0.0"),
            (socket.AF_INET, "127.0.0.2"),
            (socket.AF_INET6, "::1"),
            (socket.AF_INET6, "::"),
        ):
            try:
                server = stack.enter_context(socket.create_server((host, 0), family=family))
            except OSError:
                continue  # a machine without IPv6; what it has is still held below
            ports[host] = server.getsockname()[1]
        found = {item.port: item for item in listeners()}
    expected = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::1": "[::1]", "::": "127.0.0.1"}
    assert "127.0.0.1" in ports
    for host, port in ports.items():
        if host == "127.0.0.2":
            assert port not in found
            continue
        assert found[port].host == expected[host]
        assert found[port].pid == os.getpid()
    assert listeners(Path("/nonexistent")) == []


@pytest.mark.parametrize(
    ("text", "name", "metrics"),
    [
        ("pg_up 1\n", "postgres", "none"),
        ('memcached_exporter_build_info{version="1"} 1\n', "memcached", "none"),
        ('http_requests_total{method="GET"} 5\n', "", "none"),
        (
            (
                'http_server_requests_seconds_count{status="200"} 5\n'
                'http_server_requests_seconds_bucket{le="0.1"} 5\n'
            ),
            "",
            Selectors(
                "http_server_requests_seconds_count",
                'http_server_requests_seconds_count{status=~"5.."}',
                "http_server_requests_seconds",
            ),
        ),
        (
            'my_http_request_duration_seconds_bucket{le="+Inf"} 5 1700000000\n',
            "",
            Selectors(None, None, "my_http_request_duration_seconds"),
        ),
        ('a{b="c # {d"} 1 # {trace="x"} 0.5\nb NaN\nc{x="cut o', "", "none"),
    ],
)
def test_recognise(text: str, name: str, metrics: object) -> None:
    found = recognise(text)
    assert found is not None
    assert (found.name, found.metrics) == (name, metrics)


@pytest.mark.parametrize("text", ["", "# HELP only\n", "hello world\nand more\n", '{"a": 1}\n'])
def test_what_is_no_page_of_metrics(text: str) -> None:
    assert recognise(text) is None
