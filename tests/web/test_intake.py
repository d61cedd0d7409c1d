"""The intake: durable before 200, every refusal with its reason and counted, never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsloop.errors import StoreError, StoreUnusable
from opsloop.web import intake
from tests.drivers.test_wire import ALERT, REFUSED, payload
from tests.web.asgi import Response, call
from tests.web.engine import BEARER, Face


@pytest.fixture
def face(tmp_path: Path) -> Iterator[Face]:
    made = Face(tmp_path)
    yield made
    made.store.close()


def post(face: Face, body: Any, *headers: tuple[str, str]) -> Response:
    return asyncio.run(face.post(body, *headers))


def alerts(*numbers: int, **changes: Any) -> bytes:
    return payload(*({**ALERT, "fingerprint": f"{n:016x}", **changes} for n in numbers))


def heard(face: Face) -> float | None:
    return face.intake.watchdog_at


async def turns(count: int) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until_held(face: Face) -> None:
    for _ in range(10_000):
        if face.watched.held:
            return
        await asyncio.sleep(0)
    raise AssertionError("nothing reached the store")


def test_an_alert_is_in_the_store_when_the_answer_comes(face: Face) -> None:
    response = post(face, payload())
    assert (response.status, response.json()) == (200, {"status": "ok"})
    (episode,) = face.store.firing()
    assert episode.alert == "ServiceDown"
    assert face.changed == [episode.id]
    assert face.outcomes() == {"accepted": 1}
    assert face.metrics.intake.alerts == 1


def test_no_answer_before_the_store_says_durable(face: Face) -> None:
    async def scenario() -> None:
        face.watched.held = []
        asking = asyncio.ensure_future(face.post(payload()))
        await until_held(face)
        await turns(50)
        assert not asking.done()
        assert face.store.firing() == []
        face.watched.held.pop()()
        assert (await asking).status == 200
        assert len(face.store.firing()) == 1

    asyncio.run(scenario())


def test_what_comes_while_the_store_commits_is_one_more_commit(face: Face) -> None:
    async def scenario() -> None:
        face.watched.held = []
        asking = [asyncio.ensure_future(face.post(alerts(0)))]
        await until_held(face)
        asking += [asyncio.ensure_future(face.post(alerts(n))) for n in range(1, 40)]
        await turns(50)
        assert face.watched.calls == [1]
        held, face.watched.held = face.watched.held, None
        held.pop()()
        assert [r.status for r in await asyncio.gather(*asking)] == [200] * 40

    asyncio.run(scenario())
    assert face.watched.calls == [1, 39]
    assert len(face.store.firing()) == 40


def test_a_repeat_is_taken_and_is_no_news(face: Face) -> None:
    post(face, payload())
    face.changed.clear()
    face.now += 30
    assert post(face, payload()).status == 200
    assert face.changed == []
    assert len(face.store.episodes(closed=True)) == 1


def test_each_alert_of_a_mixed_group_has_its_own_status(face: Face) -> None:
    post(face, alerts(1, 2))
    resolved = {**ALERT, "fingerprint": f"{1:016x}", "status": "resolved"}
    firing = {**ALERT, "fingerprint": f"{2:016x}"}
    post(face, payload(resolved, firing, status="firing"))
    assert [e.fingerprint for e in face.store.firing()] == [f"{2:016x}"]


def test_alerts_that_were_left_out_are_fetched_at_once(face: Face) -> None:
    post(face, payload())
    assert face.reconciled == 0
    post(face, payload(truncatedAlerts=3))
    assert face.reconciled == 1


def test_the_watchdog_is_remembered_and_is_no_episode(face: Face) -> None:
    watchdog = {**ALERT, "labels": {"alertname": "Watchdog"}}
    assert post(face, payload({**watchdog, "status": "resolved"})).status == 200
    assert heard(face) is None
    assert post(face, payload(watchdog)).status == 200
    assert heard(face) == face.now
    assert face.store.episodes(closed=True) == []
    assert b"opsloop_watchdog_timestamp_seconds 1.8e+09" in face.metrics.text()
    assert face.watched.calls == []


@pytest.mark.parametrize("name", ["RemediationFailed", "RemediationRunning", "ApprovalNeeded"])
def test_what_the_engine_said_itself_is_no_episode(face: Face, name: str) -> None:
    assert post(face, payload({**ALERT, "labels": {"alertname": name}})).status == 200
    assert face.store.episodes(closed=True) == []


def test_an_empty_payload_is_fine(face: Face) -> None:
    assert post(face, payload(alerts=[])).status == 200
    assert face.watched.calls == []


# Refusals


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_payload_is_400_with_the_reason_and_counted(
    face: Face, body: bytes, reason: str
) -> None:
    response = post(face, body)
    assert response.status == 400
    assert response.json()["error"]
    assert sum(face.outcomes().values()) == 1
    assert set(face.outcomes()) <= {"bad_payload", "not_json"}
    assert face.store.episodes(closed=True) == []
    assert post(face, payload()).status == 200  # and it lives on


@pytest.mark.parametrize(
    "headers",
    [
        [("x", "y")],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer wrong")],
        [("authorization", "Bearer a-token-and-more")],
        [("authorization", "Bearer a-toke")],
        [("authorization", "Basic a-token")],
        [("authorization", "a-token")],
        [("authorization", "Bearer \xff\xfe")],
    ],
)
def test_without_the_token_it_is_401(face: Face, headers: list[tuple[str, str]]) -> None:
    response = post(face, payload(), *headers)
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert face.outcomes() == {"unauthorized": 1}
    assert face.store.episodes(closed=True) == []


def test_a_token_that_was_changed_is_taken(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsloop.web.auth.LOOK_EVERY_S", 0.0)
    face.token_file.write_text("a-new-token, and longer")
    assert post(face, payload()).status == 401
    assert post(face, payload(), ("authorization", "Bearer a-new-token, and longer")).status == 200
    face.token_file.unlink()  # away for a moment: the last one holds
    assert post(face, payload(), ("authorization", "Bearer a-new-token, and longer")).status == 200


def test_a_body_that_says_it_is_too_large_is_not_read(face: Face) -> None:
    response = post(face, [None], BEARER, ("content-length", str(intake.MAX_BODY + 1)))
    assert response.status == 413
    assert str(intake.MAX_BODY) in response.json()["error"]
    assert face.outcomes() == {"too_large": 1}


def test_a_body_that_turns_out_too_large_is_dropped_while_it_is_read(face: Face) -> None:
    piece = b"x" * (1024 * 1024)
    response = post(face, [piece] * 9 + [None])
    assert response.status == 413


def test_a_body_of_just_the_limit_is_read(face: Face) -> None:
    assert post(face, b" " * (intake.MAX_BODY - len(payload())) + payload()).status == 200


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "", "٣"])
def test_a_length_that_is_no_number_is_400(face: Face, length: str) -> None:
    headers = [(b"authorization", BEARER[1].encode()), (b"content-length", length.encode())]

    async def scenario() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": payload()}

        await face.intake({"type": "http", "headers": headers}, receive, send)
        return int(sent[0]["status"])

    assert asyncio.run(scenario()) == 400


def test_an_encoded_body_is_400(face: Face) -> None:
    assert post(face, payload(), BEARER, ("content-encoding", "gzip")).status == 400


def test_a_sender_that_goes_away_is_no_failure(face: Face) -> None:
    response = post(face, [payload()[:50], b"GONE", b""])
    assert response.status == 400
    assert face.outcomes() == {"disconnected": 1}
    assert face.intake._waiting == 0


def test_a_sender_that_stops_in_the_middle_is_given_up(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BODY_TIMEOUT_S", 0.1)

    async def scenario() -> list[Response]:
        stuck = [asyncio.ensure_future(face.post([b"{", None])) for _ in range(3)]
        never = asyncio.ensure_future(face.post([None]))
        good = await face.post(payload())
        return [good, *await asyncio.gather(*stuck), await never]

    good, *slow = asyncio.run(scenario())
    assert good.status == 200
    assert [r.status for r in slow] == [408] * 4
    assert face.outcomes() == {"accepted": 1, "slow": 4}
    assert face.intake._reading == {}


def test_a_cancelled_request_is_not_taken_for_a_slow_one(face: Face) -> None:
    async def scenario() -> None:
        asking = asyncio.ensure_future(face.post([b"{", None]))
        await turns(20)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(scenario())
    assert face.intake._waiting == 0


def test_a_full_queue_is_503_and_drains(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_WAITING", 5)

    async def scenario() -> list[int]:
        face.watched.held = []
        asking = [asyncio.ensure_future(face.post(alerts(n))) for n in range(8)]
        await turns(200)
        refused = [t.result() for t in asking if t.done()]
        assert [r.status for r in refused] == [503] * 3
        assert all(r.headers["retry-after"] == "1" for r in refused)
        held, face.watched.held = face.watched.held, None
        for release in held:
            release()
        statuses = [r.status for r in await asyncio.gather(*asking)]
        assert (await face.post(alerts(99))).status == 200
        return statuses

    statuses = asyncio.run(scenario())
    assert sorted(statuses) == [200] * 5 + [503] * 3
    assert face.outcomes() == {"accepted": 6, "busy": 3}


def test_large_bodies_that_wait_are_bounded_too(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MAX_WAITING_BYTES", 10_000)

    async def scenario() -> int:
        face.watched.held = []
        first = asyncio.ensure_future(face.post(b" " * 10_000 + payload()))
        await until_held(face)
        second = await face.post(payload())
        face.watched.held.pop()()
        assert (await first).status == 200
        return second.status

    assert asyncio.run(scenario()) == 503


def test_a_store_that_refuses_is_503_with_its_reason(face: Face) -> None:
    face.watched.refuse = lambda _: StoreUnusable("engine.sqlite", "the disk is full", "make room")
    response = post(face, payload())
    assert response.status == 503
    assert "the disk is full; make room; try again" in response.json()["error"]
    assert face.outcomes() == {"store": 1}
    face.watched.refuse = lambda _: None
    assert post(face, payload()).status == 200


def test_a_bug_is_503_too(face: Face) -> None:
    face.watched.refuse = lambda _: ZeroDivisionError()
    assert post(face, payload()).status == 503
    face.watched.refuse = lambda _: None
    assert post(face, payload()).status == 200


def test_one_payload_that_the_store_refuses_takes_no_other_with_it(face: Face) -> None:
    """They came in one group; each is tried alone then."""
    bad = f"{7:016x}"
    face.watched.refuse = lambda given: (
        StoreError("x", "odd") if any(a.fingerprint == bad for a in given) else None
    )

    async def scenario() -> list[int]:
        face.watched.held = []
        first = asyncio.ensure_future(face.post(alerts(100)))
        await until_held(face)
        rest = [asyncio.ensure_future(face.post(alerts(n))) for n in range(5, 10)]
        await turns(50)
        held, face.watched.held = face.watched.held, None
        held.pop()()
        return [r.status for r in await asyncio.gather(first, *rest)]

    assert asyncio.run(scenario()) == [200, 200, 200, 503, 200, 200]


def test_a_host_name_that_is_not_ours_is_refused(face: Face) -> None:
    """A web page that has its own name point at loopback gets nothing."""

    async def ask(host: str) -> int:
        response = await call(face.app, "POST", intake.PATH, payload(), [BEARER], host=host)
        return response.status

    for host in ("127.0.0.1:8081", "localhost:8081", "LOCALHOST", "[::1]:8081"):
        assert asyncio.run(ask(host)) == 200
    for host in ("evil.example:8081", "127.0.0.1.evil.example", "", "[::2]", "127.0.0.2"):
        assert asyncio.run(ask(host)) == 421


# Fuzzing

_text = st.text(max_size=40)
_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=15,
)
_alert = st.fixed_dictionaries(
    {},
    optional={
        **{name: _json | st.just(value) for name, value in ALERT.items()},
        "labels": st.dictionaries(_text, _text, max_size=5) | _json,
        "fingerprint": st.from_regex(r"[0-9a-f]{16}", fullmatch=True) | _text,
        "startsAt": st.datetimes().map(lambda d: d.isoformat() + "Z") | _text,
    },
)
_body = (
    st.binary(max_size=200)
    | _json.map(lambda v: json.dumps(v).encode())
    | st.lists(_alert, max_size=4).map(lambda a: payload(alerts=a))
    | st.lists(_alert.map(lambda a: {**ALERT, **a}), max_size=4).map(lambda a: payload(alerts=a))
    | st.tuples(st.just(payload()), st.integers(0, 400), st.binary(max_size=6)).map(
        lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + len(t[2]) :]
    )
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=_body)
def test_any_body_is_taken_or_refused_and_never_a_500(face: Face, body: bytes) -> None:
    response = post(face, body)
    assert response.status in (200, 400)
    if response.status == 400:
        assert response.json()["error"]
    assert face.intake._waiting == 0
    assert face.store.paused() == (False, "")  # the store is well


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(labels=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=60), max_size=8))
def test_any_labels_come_back_as_they_were_sent(face: Face, labels: dict[str, str]) -> None:
    """Quotes, control characters, SQL and emoji are only text."""
    name = f"{abs(hash(tuple(sorted(labels.items())))):016x}"[:16]
    sent = {**labels, "alertname": "Odd"}
    assert post(face, payload({**ALERT, "fingerprint": name, "labels": sent})).status == 200
    found = [e for e in face.store.episodes(10_000) if e.fingerprint == name]
    assert [dict(e.labels) for e in found] == [sent]
