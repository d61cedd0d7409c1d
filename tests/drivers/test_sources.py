"""Prometheus and Alertmanager themselves behind the two drivers."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from opsloop.drivers import wire
from opsloop.drivers.alertmanager import Alertmanagers
from opsloop.drivers.http import BasicAuth, HttpClient
from opsloop.drivers.prometheus import Prometheus
from opsloop.errors import AlertmanagerError, PrometheusError
from opsloop.remediation.episode import Alert
from opsloop.remediation.ports import PostedAlert
from opsloop.store.sqlite import SqliteStore
from tests.support.net import free_port
from tests.support.servers import Server, alertmanager, prometheus
from tests.support.wait import wait_until
from tests.support.webhook import Receiver, receiver

PASSWORD = "a-password"  # of this test
PROMETHEUS = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
ALERTMANAGER = """\
route:
  receiver: engine
  group_by: ["..."]
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: engine
    webhook_configs:
      - url: {url}
"""


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "scrape_password"
    path.write_text(PASSWORD + "\n")
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus behind basic auth."""
    folder = tmp_path_factory.mktemp("prometheus")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "web.yml").write_text(f"basic_auth_users: {{opsloop: '{hashed}'}}\n")
    pair = base64.b64encode(f"opsloop:{PASSWORD}".encode()).decode()
    with prometheus(
        PROMETHEUS,
        folder,
        flags=[f"--web.config.file={folder / 'web.yml'}"],
        headers={"Authorization": f"Basic {pair}"},
    ) as server:
        yield server


@pytest.fixture(scope="module")
def source(guarded: Server, password: Path) -> Prometheus:
    return Prometheus(HttpClient(), guarded.url, BasicAuth("opsloop", password))


def test_a_vector(source: Prometheus) -> None:
    (sample,) = source.query('label_replace(vector(2.5), "service", "api", "", "")')
    assert (sample.labels, sample.value) == ({"service": "api"}, 2.5)


def test_a_scalar_and_nothing(source: Prometheus) -> None:
    (sample,) = source.query("1 + 1")
    assert (sample.labels, sample.value) == ({}, 2.0)
    assert source.query("nosuch_metric") == []


def test_nan_is_no_value_and_infinity_is_one(source: Prometheus) -> None:
    assert source.query("vector(0) / 0") == []
    (sample,) = source.query("vector(1) / 0")
    assert sample.value == float("inf")


def test_a_query_with_odd_characters_arrives_whole(source: Prometheus) -> None:
    text = 'a&b=c;ü"\\n'
    (sample,) = source.query(f"""label_replace(vector(1), "x", '{text}', "", "")""")
    assert sample.labels == {"x": 'a&b=c;ü"\n'}


def test_a_broken_query_says_why(source: Prometheus) -> None:
    with pytest.raises(PrometheusError, match=r"refused 'sum\(': .*parse error") as caught:
        source.query("sum(")
    assert caught.value.retryable


def test_ready_and_a_wrong_password(guarded: Server, source: Prometheus, tmp_path: Path) -> None:
    assert source.ready()
    (tmp_path / "wrong").write_text("wrong")
    stranger = Prometheus(HttpClient(), guarded.url, BasicAuth("opsloop", tmp_path / "wrong"))
    assert not stranger.ready()
    with pytest.raises(PrometheusError, match="HTTP 401"):
        stranger.query("up")


def test_nobody_there() -> None:
    nobody = Prometheus(HttpClient(), f"http://127.0.0.1:{free_port()}")
    assert not nobody.ready()
    with pytest.raises(PrometheusError, match="connection refused"):
        nobody.query("up")


def posted(name: str = "RemediationFailed", life_s: float = 300.0) -> PostedAlert:
    now = time.time()
    return PostedAlert(
        labels={"alertname": name, "service": "api", "odd": 'ü"\\\n'},
        annotations={"summary": "tried, and failed"},
        starts_at=now - 5,
        ends_at=now + life_s,
    )


def test_alerts_are_posted_to_every_alertmanager_and_listed_once(tmp_path: Path) -> None:
    with receiver() as engine:
        config = ALERTMANAGER.format(url=engine.url)
        with (
            alertmanager(config, tmp_path / "one") as one,
            alertmanager(config, tmp_path / "two") as two,
        ):
            both = Alertmanagers(HttpClient(), [one.url, two.url + "/"])
            assert both.alerts() == []
            sent = posted()
            both.post([sent])
            both.post([])
            for server in (one, two):
                (alone,) = Alertmanagers(HttpClient(), [server.url]).alerts()
                assert alone.labels == sent.labels
            (alert,) = both.alerts()
            assert alert.name == "RemediationFailed"
            assert alert.firing
            assert alert.annotations == sent.annotations
            assert alert.starts_at == pytest.approx(sent.starts_at, abs=0.0011)
            assert alert.ends_at == pytest.approx(sent.ends_at, abs=0.0011)
            assert alert.silenced_by == ()

            _silence(one)
            (alert,) = wait_until(
                lambda: [a for a in both.alerts() if a.silenced_by], "the silence is seen"
            )
            assert len(alert.silenced_by) == 1
            (silence,) = Alertmanagers(HttpClient(), [one.url]).silences()
            assert silence.id == alert.silenced_by[0]
            assert silence.matchers == ('service="api"', 'team!~"a.*"')
            assert silence.created_by == "a person"
            assert silence.ends_at > time.time()

            # One of the two away: the other's word counts. Both away: an error.
            two.process.kill()
            two.process.wait()
            assert len(both.alerts()) == 1
            both.post([posted("Another")])
            one.process.kill()
            one.process.wait()
            with pytest.raises(AlertmanagerError):
                both.alerts()
            with pytest.raises(AlertmanagerError):
                both.post([posted()])


def _silence(server: Server) -> None:
    now = time.time()
    server.post(
        "/api/v2/silences",
        {
            "matchers": [
                {"name": "service", "value": "api", "isRegex": False, "isEqual": True},
                {"name": "team", "value": "a.*", "isRegex": True, "isEqual": False},
            ],
            "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 60)),
            "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 600)),
            "createdBy": "a person",
            "comment": "by hand",
        },
    )


def test_what_alertmanager_sends_and_what_it_lists_is_one_episode(tmp_path: Path) -> None:
    """The webhook and /api/v2/alerts tell times in different forms."""
    with (
        receiver() as engine,
        alertmanager(ALERTMANAGER.format(url=engine.url), tmp_path / "am") as server,
    ):
        source = Alertmanagers(HttpClient(), [server.url])
        now = time.time()
        labels = {"alertname": "ServiceDown", "service": "api"}
        source.post([PostedAlert(labels, {"summary": "x"}, now - 3.987654, now + 300)])
        (alert,) = wire.webhook(engine.wait_for(1)[0].body).alerts
        with SqliteStore(tmp_path / "e.sqlite") as store:
            assert len(store.intake([alert], now)) == 1
            assert store.intake(source.alerts(), now) == []
            assert len(store.firing()) == 1
        # Its end comes as resolved, for the same episode.
        source.post([PostedAlert(labels, {}, now - 3.987654, time.time() - 0.001)])
        ended = wait_until(lambda: _resolved(engine), "the end is sent")
        assert [(a.fingerprint, a.starts_at) for a in ended] == [
            (alert.fingerprint, alert.starts_at)
        ]
        assert source.alerts() == []


def _resolved(engine: Receiver) -> list[Alert]:
    alerts = [a for request in engine.received for a in wire.webhook(request.body).alerts]
    return [a for a in alerts if not a.firing]
