"""The shop's API over a real PostgreSQL: routes, signals, faults, and a lost database."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import urllib3

from tests.shop.parts import SECRETS, Shop, call, shop, token, until_ended
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("api") / "state") as made:
        made.start_database()
        made.start_api()
        wait_until(made.sells, "the shop sells")
        yield made


@pytest.fixture(autouse=True)
def _mended(made: Shop) -> Iterator[None]:
    yield
    made.fault(kind="clear")


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not in the metrics"
    return float(found[1])


def test_it_sells(made: Shop) -> None:
    assert json.loads(made.get("/").data) == {"shop": "opsloop demo", "products": 200}
    assert len(json.loads(made.get("/products").data)) == 20
    product = json.loads(made.get("/products/7").data)
    assert product == {"id": 7, "name": "Product 7", "price_cents": 359}
    answer = call("POST", made.url() + "/orders", {"product": 7, "quantity": 2})
    assert answer.status == 201
    assert json.loads(answer.data)["order"] >= 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/products/9999", None, 404),
        ("GET", "/products/99999999999999999999", None, 404),
        ("GET", "/products/x", None, 404),
        ("GET", "/nothing", None, 404),
        ("DELETE", "/products", None, 405),
        ("POST", "/orders", {"product": 9999}, 404),
        ("POST", "/orders", {"product": 7, "quantity": 0}, 400),
        ("POST", "/orders", {"product": True}, 400),
        ("POST", "/orders", b"not json", 400),
        ("POST", "/orders", b"[1]", 400),
        ("POST", "/orders", b"x" * 10_000, 400),
    ],
)
def test_what_is_wrong_is_no_server_error(
    made: Shop, method: str, path: str, body: object, status: int
) -> None:
    assert call(method, made.url() + path, body).status == status


def test_metrics_need_the_password(made: Shop) -> None:
    assert made.get("/metrics").status == 401
    wrong = urllib3.make_headers(basic_auth="opsloop:wrong")
    assert call("GET", made.url() + "/metrics", headers=wrong).status == 401
    assert "http_requests_total" in made.metrics()


def test_every_answer_is_counted_once(made: Shop) -> None:
    name = 'http_requests_total{code="200",method="GET",route="/products/{id}"}'
    bucket = 'http_request_duration_seconds_count{method="GET",route="/products/{id}"}'
    before = made.metrics()
    for product in range(1, 6):
        made.get(f"/products/{product}")
    after = made.metrics()
    assert sample(after, name) - sample(before, name) == 5
    assert sample(after, bucket) - sample(before, bucket) == 5
    assert sample(after, "http_requests_in_flight") == 0
    assert sample(after, "shop_workers") == 2


def test_errors_begin_at_zero(made: Shop) -> None:
    """A counter that appears with its first error hides that error from rate()."""
    assert 'http_requests_total{code="503",method="POST",route="/orders"} 0.0' in made.metrics()


def test_looks_are_not_counted_as_requests(made: Shop) -> None:
    made.get("/healthz")
    text = made.metrics()
    assert 'route="/healthz"' not in text
    assert 'route="/metrics"' not in text


def test_true_counts_agree_with_the_metrics(made: Shop) -> None:
    made.get("/products/3")
    counts = json.loads(call("GET", made.url() + "/counts", headers=token()).data)
    served = re.findall(r"^http_requests_total\{.*\} (\S+)$", made.metrics(), re.MULTILINE)
    assert sum(counts["codes"].values()) == sum(map(float, served))
    assert made.get("/counts").status == 401


@pytest.mark.parametrize("headers", [{}, token("wrong"), {"Authorization": "Basic x"}])
def test_faults_need_the_token(made: Shop, headers: dict[str, str]) -> None:
    answer = call("POST", made.url() + "/faults", {"kind": "errors", "share": 1}, headers)
    assert answer.status == 401
    assert made.get("/products/7").status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "explode"},
        {},
        [1],
        b"not json",
        {"kind": "errors", "share": 2},
        {"kind": "errors", "share": "half"},
        {"kind": "latency", "ms": -1},
        {"kind": "leak", "count": 0},
        b"x" * 10_000,
    ],
)
def test_a_bad_fault_is_refused(made: Shop, body: object) -> None:
    answer = call("POST", made.url() + "/faults", body, token())
    assert answer.status == 400
    assert json.loads(answer.data)["error"]
    assert made.get("/products/7").status == 200


def test_errors(made: Shop) -> None:
    assert made.fault(kind="errors", share=1)["active"] == [{"kind": "errors", "share": 1.0}]
    assert made.get("/products/7").status == 500
    assert made.get("/healthz").status == 200
    assert made.fault(kind="clear")["active"] == []
    assert made.get("/products/7").status == 200


def test_latency(made: Shop) -> None:
    assert made.fault(kind="latency", ms=400)["active"] == [{"kind": "latency", "ms": 400}]
    began = time.monotonic()
    assert made.get("/products/7").status == 200
    assert time.monotonic() - began >= 0.4


def test_leaked_connections_are_missed(made: Shop) -> None:
    assert made.fault(kind="leak")["active"] == [{"kind": "leak", "count": 3}]
    answer = made.get("/products/7")
    assert answer.status == 503
    assert b"no free connection" in answer.data
    made.fault(kind="clear")
    assert made.get("/products/7").status == 200


def test_more_load_than_workers_waits_in_a_queue(made: Shop) -> None:
    """Two workers serve; of eight at once the other six wait, and all are served in the end."""
    made.fault(kind="latency", ms=3000)
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(made.get("/products/7").status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: sample(made.metrics(), "shop_queue_length") == 6, "six wait")
    assert sample(made.metrics(), "shop_workers_busy") == 2
    made.fault(kind="clear")
    for thread in threads:
        thread.join(60)
    assert codes == [200] * 8
    assert sample(made.metrics(), "shop_queue_length") == 0


def test_a_full_queue_answers_503_at_once(made: Shop) -> None:
    made.fault(kind="latency", ms=3000)
    codes: list[int] = []

    def ask() -> None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # those that wait till the kill
            codes.append(made.get("/products/7").status)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(210)]
    for thread in threads:
        thread.start()
    wait_until(lambda: codes.count(503) >= 5, "some are refused", 30)
    assert 200 not in codes
    made.running["api-0"].kill()  # those that wait would wait for minutes
    until_ended(made.running["api-0"])
    for thread in threads:
        thread.join(30)
    made.start_api()
    wait_until(made.sells, "the shop sells again")


def test_a_hang_keeps_the_port_open_and_nothing_answers(made: Shop) -> None:
    made.start_api(1)
    made.fault(slot=1, kind="hang")

    def silent() -> bool:
        try:
            call("GET", made.url(1) + "/healthz", timeout=0.5)
        except urllib3.exceptions.ReadTimeoutError:
            return True
        return False

    wait_until(silent, "the port is open and nothing answers")
    hung = made.running["api-1"]
    hung.send_signal(signal.SIGTERM)  # it does not even hear that it should end
    assert silent()
    assert hung.poll() is None
    hung.kill()
    until_ended(hung)


def test_kill_is_a_kill(made: Shop) -> None:
    process = made.start_api(2)
    with pytest.raises(urllib3.exceptions.HTTPError):
        made.fault(slot=2, kind="kill")
    assert until_ended(process) == -signal.SIGKILL


def test_a_lost_database_fails_fast_and_comes_back(made: Shop) -> None:
    made.running["database"].kill()
    until_ended(made.running["database"])
    wait_until(lambda: made.get("/products/7").status == 503, "requests fail")
    assert made.get("/healthz").status == 200  # it is not this instance that is ill
    text = made.metrics()
    assert sample(text, "shop_workers_busy") == 0
    made.start_database()
    wait_until(made.sells, "the shop sells again", 30)
    for _ in range(6):  # every kept connection has found its way back
        assert made.get("/products/7").status == 200


def test_it_starts_without_a_database(made: Shop) -> None:
    lost = Shop(made.state, made.database_port + 1, made.first_port, made.load_port)
    process = lost.start_api(3)
    try:
        assert lost.get("/products/7", 3).status == 503
    finally:
        process.terminate()
        until_ended(process)


def test_no_secret_reaches_the_log(made: Shop) -> None:
    text = made.log("api-0") + made.log("database")
    assert not [name for name, value in SECRETS.items() if value in text]
