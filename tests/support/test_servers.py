"""The real servers of the test support start, answer, and leave nothing behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import urllib3

from tests.support.net import free_port
from tests.support.servers import alertmanager, prometheus, require, running
from tests.support.wait import wait_until
from tests.support.webhook import receiver

SCRAPES_ITSELF = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs: [{{job_name: own, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""

TELLS_ALL = """
route: {{receiver: all, group_wait: 0s, group_interval: 1s}}
receivers: [{{name: all, webhook_configs: [{{url: "{url}/hook"}}]}}]
"""


def test_prometheus_answers_queries_and_is_gone_afterwards(tmp_path: Path) -> None:
    port = free_port()
    with prometheus(SCRAPES_ITSELF.format(port=port), tmp_path, port=port) as server:
        samples = wait_until(lambda: server.query("up == 1"), "a sample of up")
        assert samples[0]["metric"]["instance"] == server.address
    assert server.process.returncode is not None
    with pytest.raises(urllib3.exceptions.HTTPError):
        server.get("/-/ready")


def test_alertmanager_tells_the_receiver(tmp_path: Path) -> None:
    with (
        receiver() as hook,
        alertmanager(TELLS_ALL.format(url=hook.url), tmp_path) as server,
    ):
        hook.answer(503, times=1)
        server.post("/api/v2/alerts", [{"labels": {"alertname": "Test"}}])
        first, second = hook.wait_for(2)[:2]
        assert first.body == second.body  # told again after the 503
        assert second.json()["alerts"][0]["labels"] == {"alertname": "Test"}
        assert second.path == "/hook"
        assert second.at >= first.at


def test_a_server_that_cannot_start_fails_with_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(pytest.fail.Exception, match=r"(?s)before it was ready.*nonsense"),
        prometheus("nonsense: true\n", tmp_path),
    ):
        pass
    assert "nonsense" in capsys.readouterr().err


def test_a_stopped_server_is_ended_too(tmp_path: Path) -> None:
    port = free_port()
    command = ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running("files", command, port=port, folder=tmp_path, ready="/") as server:
        server.signal(signal.SIGSTOP)
    assert server.process.returncode == -signal.SIGTERM


def test_a_missing_program_fails_under_ci_and_is_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reason = "no-such-program is not installed; run: sudo apt-get install no-such-program"
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=reason):
        require("no-such-program")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=reason):
        require("no-such-program")
