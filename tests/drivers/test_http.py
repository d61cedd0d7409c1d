"""The HTTP client and the two drivers over it, against servers that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from opsloop.drivers.alertmanager import Alertmanagers
from opsloop.drivers.http import BasicAuth, HttpClient
from opsloop.drivers.prometheus import Prometheus
from opsloop.errors import AlertmanagerError, PrometheusError, SourceError
from tests.support.net import free_port
from tests.support.webhook import receiver


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what `talk` says."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with closing(connection):
                connection.settimeout(5)
                try:
                    connection.recv(65536)
                    talk(connection)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join(30)
        listener.close()


@pytest.fixture
def http() -> Iterator[HttpClient]:
    client = HttpClient(timeout_s=20.0, max_answer=100_000)
    yield client
    client.close()


def test_a_password_file_is_read_at_each_call(http: HttpClient, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("one\n")
    auth = BasicAuth("opsloop", path)
    with receiver() as server:
        http.call("GET", server.url, auth=auth)
        path.write_text("two\n")
        http.call("GET", server.url, auth=auth)
        path.unlink()
        with pytest.raises(SourceError, match="password: cannot be read"):
            http.call("GET", server.url, auth=auth)
    sent = [r.headers["authorization"] for r in server.received]
    assert sent == ["Basic b3BzbG9vcDpvbmU=", "Basic b3BzbG9vcDp0d28="]


def test_no_answer_is_one_sentence(http: HttpClient) -> None:
    with pytest.raises(SourceError, match=r"http://127.0.0.1:\d+/x: connection refused"):
        http.call("GET", f"http://127.0.0.1:{free_port()}/x")


def test_a_server_that_says_nothing_times_out(http: HttpClient) -> None:
    over = threading.Event()

    def say_nothing(_connection: socket.socket) -> None:
        over.wait(30)

    with raw_server(say_nothing) as url:
        try:
            with pytest.raises(SourceError, match="timed out"):
                http.call("GET", url, timeout_s=0.2)
        finally:
            over.set()


def test_a_server_that_drips_times_out(http: HttpClient) -> None:
    """Each byte is in time, the whole is not."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n")
        while not over.wait(0.02):
            connection.sendall(b"x")

    with raw_server(drip) as url:
        try:
            with pytest.raises(SourceError, match="timed out"):
                http.call("GET", url, timeout_s=0.4)
        finally:
            over.set()


def test_a_large_answer_is_cut_off(http: HttpClient) -> None:
    with receiver() as server:
        server.answer(200, b"x" * 100_001)
        with pytest.raises(SourceError, match="more than 100000 bytes"):
            http.call("GET", server.url)


def test_redirects_are_not_followed(http: HttpClient) -> None:
    with raw_server(
        lambda c: c.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        )
    ) as url:
        assert http.call("GET", url).status == 302


def test_proxies_of_the_environment_are_not_used(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with receiver() as server:
        server.answer(200, b"here")
        assert http.call("GET", server.url).body == b"here"


def test_a_kept_connection_that_was_closed_is_no_failure(http: HttpClient) -> None:
    """The server closes after each answer without saying so."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with raw_server(lambda c: c.sendall(answer)) as url:
        for _ in range(5):
            assert http.call("POST", url, body=b"x").body == b"ok"


BAD_ANSWERS = {
    "not JSON": (200, b"<html>", "no result"),
    "a list": (200, b"[]", "no result"),
    "no data": (200, b'{"status":"success"}', "no result"),
    "a string as data": (200, b'{"status":"success","data":"x"}', "no result"),
    "a matrix": (
        200,
        b'{"status":"success","data":{"resultType":"matrix","result":[]}}',
        "no result",
    ),
    "an error": (
        400,
        b'{"status":"error","errorType":"bad_data","error":"parse error"}',
        "refused 'up': parse error",
    ),
    "unauthorized": (401, b"Unauthorized", "HTTP 401"),
    "starting": (503, b"Service Unavailable", "HTTP 503"),
    "missing data": (
        200,
        b'{"status":"success","warnings":["remote read: away"],"data":{}}',
        "has not all data",
    ),
    "a value that is none": (
        200,
        b'{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}',
        "no result",
    ),
    "deep": (200, b'{"a":' * 10_000, "no result"),
}


@pytest.mark.parametrize(("status", "body", "reason"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_what_prometheus_answers_oddly_is_no_answer(
    http: HttpClient, status: int, body: bytes, reason: str
) -> None:
    with receiver() as server:
        server.answer(status, body)
        with pytest.raises(PrometheusError, match=reason):
            Prometheus(http, server.url).query("up")


def test_notes_about_the_expression_are_no_failure(http: HttpClient) -> None:
    with receiver() as server:
        server.answer(
            200,
            b'{"status":"success","warnings":["PromQL warning: a note"],'
            b'"data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"2"]}]}}',
        )
        (sample,) = Prometheus(http, server.url).query("up")
    assert (sample.labels, sample.value) == ({"a": "b"}, 2.0)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"no JSON"), (200, b"{}"), (200, b'[{"labels":{}}]'), (500, b"boom"), (302, b"")],
)
def test_what_alertmanager_answers_oddly_is_no_answer(
    http: HttpClient, status: int, body: bytes
) -> None:
    with receiver() as server:
        server.answer(status, body)
        with pytest.raises(AlertmanagerError):
            Alertmanagers(http, [server.url]).alerts()
