"""Webhooks against real servers over HTTP and TLS: the contract, and what a receiver sees."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsloop.drivers.webhook import WebhookDriver
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, Work
from tests.drivers.driver_contract import DriverContract
from tests.support.net import free_port


class Receiver:
    """Answers /STATUS with it; /hang never, /drip slowly, /away with a redirect to itself."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.over = threading.Event()
        self.codes: list[int] = []  # answered first, by /codes
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {k.lower(): v for k, v in self.headers.items()}
                outer.seen.append((self.path, headers, json.loads(body)))
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https" if context else "http"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        word = handler.path.strip("/").partition("?")[0]
        if word == "hang":
            self.over.wait(60)
            return
        if word == "codes":
            word = str(self.codes.pop(0))
        status = 302 if word == "away" else int(word)
        handler.send_response(status)
        if word == "away":
            handler.send_header("Location", f"{self.url}/200")
        text = b"told \x1b[1m you \x00" * (10_000 if word == "201" else 1)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(30)


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    made = Receiver(context)
    try:
        yield made
    finally:
        made.close()


class WebhookRig:
    def __init__(self, receiver: Receiver, folder: Path) -> None:
        self.receiver = receiver
        self.driver = WebhookDriver(Words(folder, folder, {}))

    def action(self, path: str, limit_s: float = 30.0, *, idempotent: bool = False) -> Action:
        work = Work(id="a-17", url=f"{self.receiver.url}{path}", values=(("OPSLOOP_ALERT", "X"),))
        return Action("webhook", "api", "api", limit_s=limit_s, idempotent=idempotent, work=work)

    def good(self) -> Action:
        return self.action("/200")

    def bad(self) -> Action:
        return self.action("/400")

    def slow(self) -> Action:
        return self.action("/hang", limit_s=1.0)

    def impossible(self) -> Action:
        action = self.good()
        assert action.work is not None
        work = replace(action.work, url=f"http://127.0.0.1:{free_port()}/")
        return replace(action, work=work)

    def effects(self) -> int:
        return len(self.receiver.seen)

    def quiet(self) -> bool:
        return True


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[WebhookRig]:
    with receiving() as receiver:
        yield WebhookRig(receiver, tmp_path)


class TestWebhook(DriverContract):
    pass


def test_a_receiver_can_tell_a_repeat_and_who_it_is(rig: WebhookRig, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    action = rig.good()
    assert action.work is not None
    action = replace(action, work=replace(action.work, token_file="token"))
    assert rig.driver.perform(action, 1).ok
    ((path, headers, body),) = rig.receiver.seen
    assert (path, headers["idempotency-key"]) == ("/200", "a-17")
    assert headers["authorization"] == "Bearer s3cret"
    assert body == {"id": "a-17", "OPSLOOP_ALERT": "X"}
    (tmp_path / "token").write_text("two\nlines\n")
    with pytest.raises(DriverError, match="holds no token") as caught:
        rig.driver.perform(action, 1)
    assert not caught.value.started
    assert len(rig.receiver.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429])
def test_4xx_is_a_failure_that_did_nothing(rig: WebhookRig, status: int) -> None:
    result = rig.driver.perform(rig.action(f"/{status}"), 1)
    assert (result.ok, result.started) == (False, False)
    assert f"answered HTTP {status}: told" in result.output


@pytest.mark.parametrize("path", ["/500", "/503", "/hang"])
def test_5xx_or_silence_is_not_known_and_not_sent_again(rig: WebhookRig, path: str) -> None:
    with pytest.raises(DriverError) as caught:
        rig.driver.perform(rig.action(path, limit_s=2.0), 1)
    assert caught.value.started
    assert len(rig.receiver.seen) == 1


def test_what_may_be_done_twice_is_tried_again_with_the_same_key(rig: WebhookRig) -> None:
    rig.receiver.codes = [503, 500, 200]
    assert rig.driver.perform(rig.action("/codes", idempotent=True), 1).ok
    assert [h["idempotency-key"] for _, h, _ in rig.receiver.seen] == ["a-17"] * 3
    result = rig.driver.perform(rig.action("/500", limit_s=2.5, idempotent=True), 1)
    assert (result.ok, result.started) == (False, True)


def test_a_redirect_is_not_followed(rig: WebhookRig) -> None:
    result = rig.driver.perform(rig.action("/away"), 1)
    assert (result.ok, result.started) == (False, False)
    assert "is not followed" in result.output
    assert len(rig.receiver.seen) == 1


def test_a_server_that_drips_is_not_waited_for(tmp_path: Path) -> None:
    with dripping() as url:
        driver = WebhookDriver(Words(tmp_path, tmp_path, {}))
        action = Action("webhook", "a", "a", limit_s=1.0, work=Work(id="1", url=url))
        begun = time.monotonic()
        assert driver.perform(action, 1).ok  # its status came in time
        assert time.monotonic() - begun < 20


@contextmanager
def dripping() -> Iterator[str]:
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not over.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        over.set()
        thread.join(30)
        listener.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=receiver"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def served(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_tls_is_verified(authority: Path, tmp_path: Path) -> None:
    with receiving(served(authority)) as receiver:
        rig = WebhookRig(receiver, tmp_path)
        with pytest.raises(DriverError, match=r"TLS: .*self.signed") as caught:
            rig.driver.perform(rig.good(), 1)
        assert not caught.value.started
        assert receiver.seen == []
        action = rig.good()
        assert action.work is not None
        trusted = replace(action.work, ca_file=str(authority / "cert.pem"))
        assert rig.driver.perform(replace(action, work=trusted), 1).ok
        other = replace(trusted, url=trusted.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(DriverError, match="TLS"):
            rig.driver.perform(replace(action, work=other), 1)
        assert len(receiver.seen) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: replace(w, token_file="nowhere"), "nowhere: cannot be read"),
        (lambda w: replace(w, ca_file="nowhere"), "cannot be read as certificates"),
        (lambda w: replace(w, url="http://{port:nosuch}/"), "no such process"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_sent(
    rig: WebhookRig, change: Callable[[Work], Work], reason: str
) -> None:
    action = rig.good()
    assert action.work is not None
    with pytest.raises(DriverError, match=reason) as caught:
        rig.driver.perform(replace(action, work=change(action.work)), 1)
    assert not caught.value.started
    assert rig.receiver.seen == []
