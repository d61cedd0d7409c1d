"""Matchers as text, and Alertmanager and Prometheus themselves behind the two lists."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.drivers import listed
from opsloop.drivers.http import HttpClient
from opsloop.drivers.listed import Matcher, match_value
from opsloop.drivers.rules import AlertRules
from opsloop.drivers.silences import AlertDesk
from opsloop.errors import AlertmanagerError, ArgumentError, PrometheusError
from tests.support.net import free_port
from tests.support.servers import alertmanager
from tests.support.wait import wait_until
from tests.support.webhook import receiver

CONFIG = """\
route: {receiver: people}
receivers: [{name: people, webhook_configs: [{url: "http://127.0.0.1:1/"}]}]
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlertDesk]:
    with alertmanager(CONFIG, tmp_path_factory.mktemp("alertmanager")) as server:
        server.post("/api/v2/alerts", [{"labels": {"alertname": "A", "service": "api"}}])
        found = AlertDesk(HttpClient(), [server.url])
        wait_until(found.listed, "the alert is listed")
        yield found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a=b", ("a", "=", "b")),
        ("a!=b", ("a", "!=", "b")),
        ("a=~b|c", ("a", "=~", "b|c")),
        ("a!~b", ("a", "!~", "b")),
        ("a=", ("a", "=", "")),
        ("a==b", ("a", "=", "=b")),
        ('a="b c"', ("a", "=", "b c")),
        (r'a="\"\\\n\d"', ("a", "=", '"\\\n\\d')),
        (" a = b ", ("a", "=", "b")),
        ("a=b=c", ("a", "=", "b=c")),
    ],
)
def test_a_matcher_from_text(text: str, wanted: tuple[str, str, str]) -> None:
    found = Matcher.parse(text)
    assert (found.name, found.operator, found.value) == wanted


@pytest.mark.parametrize("text", ["", "a", "=b", "a-b=c", "a~b", 'a="b', 'a="'])
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(ArgumentError):
        Matcher.parse(text)


@given(st.sampled_from(["=", "!=", "=~", "!~"]), st.text())
def test_a_matcher_survives_its_own_text(operator: str, value: str) -> None:
    matcher = Matcher("a", operator, value)  # type: ignore[arg-type]
    assert Matcher.parse(str(matcher)) == matcher


@pytest.mark.parametrize(
    ("matcher", "value", "wanted"),
    [
        (Matcher("a", "=", "b"), "b", True),
        (Matcher("a", "!=", "b"), "", True),
        (Matcher("a", "=~", "b"), "bb", False),
        (Matcher("a", "=~", "b+"), "bb", True),
        (Matcher("a", "!~", "b+"), "bb", False),
        (Matcher("a", "!~", "b"), "bb", True),
    ],
)
def test_a_regular_expression_is_for_the_whole_value(
    matcher: Matcher, value: str, wanted: bool
) -> None:
    assert match_value(matcher, value) is wanted


def test_a_silence_from_its_beginning_to_its_end(desk: AlertDesk) -> None:
    now = time.time()
    matchers = [Matcher("service", "=~", "a.*"), Matcher("alertname", "!=", 'ü"\\')]
    number = desk.silence(matchers, now, now + 600, "ann", 'why "so"')
    found = next(s for s in desk.every_silence() if s.id == number)
    assert set(found.matchers) == set(matchers)
    assert (found.state, found.created_by, found.comment) == ("active", "ann", 'why "so"')
    assert found.ends_at == pytest.approx(now + 600, abs=0.01)
    (alert,) = wait_until(
        lambda: [a for a in desk.listed() if a.alert.silenced_by], "the alert is muted"
    )
    assert alert.alert.silenced_by == (number,)
    assert alert.receivers == ("people",)
    desk.end_silence(number)
    desk.end_silence(number)
    assert next(s.state for s in desk.every_silence() if s.id == number) == "expired"


def test_the_filter_is_alertmanagers_own(desk: AlertDesk) -> None:
    assert len(desk.listed([Matcher("service", "=~", "a.i")])) == 1
    assert desk.listed([Matcher("service", "!=", "api")]) == []
    with pytest.raises(ArgumentError, match="error parsing regexp: missing closing"):
        desk.listed([Matcher("service", "=~", "a(")])


def test_what_it_refuses_and_what_it_does_not_know(desk: AlertDesk) -> None:
    now = time.time()
    with pytest.raises(ArgumentError, match="must not match the empty string"):
        desk.silence([Matcher("a", "=~", ".*")], now, now + 60, "ann", "x")
    with pytest.raises(AlertmanagerError, match="silence not found"):
        desk.end_silence("00000000-0000-0000-0000-000000000000")


def test_configuration_and_metrics(desk: AlertDesk) -> None:
    assert "name: people" in desk.configuration()
    assert "alertmanager_notifications_failed_total" in desk.metrics()


def test_the_second_is_asked_where_the_first_is_away(desk: AlertDesk) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert len(AlertDesk(HttpClient(), [nobody, *desk.urls]).listed()) == 1
    with pytest.raises(AlertmanagerError, match="connection refused"):
        AlertDesk(HttpClient(), [nobody, nobody]).listed()


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"labels": 1}]', b"[" * 100_000])
def test_odd_answers_are_one_sentence(body: bytes) -> None:
    with receiver() as odd:
        odd.answer(200, body)
        with pytest.raises(AlertmanagerError, match="answered oddly"):
            AlertDesk(HttpClient(), [odd.url]).listed()
        with pytest.raises(PrometheusError, match="answered oddly"):
            AlertRules(HttpClient(), odd.url).rules()
        odd.answer(503, b"starting")
        with pytest.raises(PrometheusError, match="HTTP 503: starting"):
            AlertRules(HttpClient(), odd.url).label_values("service", 0.0)


def test_rules_as_prometheus_tells_them() -> None:
    alert = (
        b'{"state": "pending", "activeAt": "2026-01-02T03:04:05.123456789Z", "value": "+Inf",'
        b' "labels": {"alertname": "A"}, "annotations": {}}'
    )
    rule = b'{"type": "alerting", "name": "A", "duration": 60, "health": "err", "lastError": "bad"'
    body = b'{"data": {"groups": [{"rules": [' + rule + b', "alerts": [' + alert + b"]},"
    (found,) = listed.rules(body + b'{"type": "recording", "name": "b", "health": "ok"}]}]}}')
    assert (found.name, found.for_s, found.error) == ("A", 60, "bad")
    assert found.alerts[0].value is None
    assert found.alerts[0].active_at == pytest.approx(1767323045.123456)


def test_newer_alertmanagers_name_the_time_interval() -> None:
    body = (
        b'[{"labels": {}, "fingerprint": "a1", "startsAt": "2026-01-02T03:04:05Z",'
        b' "receivers": [], "status": {"state": "suppressed", "mutedBy": ["night"]}}]'
    )
    assert listed.alerts(body)[0].muted_by == ("night",)
