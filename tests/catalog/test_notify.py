"""Notifications: what they take, what is refused, and addresses that are secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop.catalog.check_notify import secret_in_url
from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.errors import CatalogError
from opsloop.settings import Settings

BASE = """\
apiVersion: opsloop/v1
stack: {environment: ENV}
services:
  api: {team: shop, targets: {static: ["127.0.0.1:9000"]}, metrics: http}
notifications:
"""
EMAIL = "email: {to: a@example.com, from: b@example.com, smarthost: 'mail:25'"


def problems(text: str, tmp_path: Path, environment: str = "demo") -> list[str]:
    file = tmp_path / "opsloop.yaml"
    file.write_text(BASE.replace("ENV", environment) + text)
    secrets = {
        "ALERTMANAGER_SLACK_WEBHOOK": "https://x.example.com/a",
        "GRAFANA_ADMIN_PASSWORD": "p",
    }
    try:
        load(file, {}, Settings.from_env(secrets))
    except CatalogError as error:
        return [f"{p.path}: {p.message}" for p in error.problems]
    return []


def test_a_channel_may_stand_for_the_whole() -> None:
    told = {"slack": "#a", "low_priority": "#b", "teams": {"t": {"slack": "#c"}}}
    given = Catalog.model_validate({"apiVersion": "opsloop/v1", "notifications": told})
    notifications = given.notifications
    assert notifications.slack.channel == "#a"
    assert notifications.low_priority is not None
    assert notifications.low_priority.channel == "#b"
    team = notifications.teams["t"].slack
    assert team is not None
    assert team.channel == "#c"
    again = Catalog.model_validate_json(given.model_dump_json(by_alias=True))
    assert again == given


@pytest.mark.parametrize(
    "text",
    [
        "  quiet_hours: {start: '22:00', end: '07:00', location: Europe/Berlin}\n",
        "  webhook: {url: 'https://hooks.example.com/alerts', token_file: token}\n",
        "  heartbeat: {url: 'https://beat.example.com/opsloop', every: 1m}\n",
        f"  {EMAIL}, username: u, password_file: pw}}\n",
        f"  {EMAIL}, require_tls: false}}\n",
        "  teams: {shop: {slack: '#shop', pagerduty: {routing_key_file: key}}}\n",
    ],
)
def test_passes(text: str, tmp_path: Path) -> None:
    assert problems(text, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "  quiet_hours: {start: '22:00', end: '07:00', location: Europe/Berlim}\n",
            "notifications.quiet_hours.location: there is no time zone 'Europe/Berlim'",
        ),
        (
            "  quiet_hours: {start: '22:00', end: '22:00'}\n",
            "notifications.quiet_hours.end: quiet hours end when they start",
        ),
        (
            "  heartbeat: {url: 'https://beat.example.com/x', every: 5s}\n",
            "notifications.heartbeat.every: must be between 10s and 1d",
        ),
        (
            "  webhook: {url: 'ftp://x/y'}\n",
            "notifications.webhook.url: is not an address of the web",
        ),
        (
            "  webhook: {url: 'http://x/y', severities: []}\n",
            "notifications.webhook.severities: names no severity",
        ),
        (
            f"  {EMAIL}, username: u}}\n",
            "notifications.email: a user needs a password: password_file is missing",
        ),
        (
            "  email: {to: nobody, from: b@example.com, smarthost: 'mail:25'}\n",
            "notifications.email.to: 'nobody' is not an e-mail address",
        ),
        (
            "  teams: {shop: {pagerduty: {}}}\n",
            "notifications.teams.shop.pagerduty: has no key of its own",
        ),
    ],
)
def test_refused(text: str, problem: str, tmp_path: Path) -> None:
    assert problems(text, tmp_path) == [problem]


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://hooks.slack.com/services/T0/B0/xyz", "xyz"),
        ("https://sesame@example.com/hook", "sesame"),
        ("https://:sesame@example.com/hook", "sesame"),
        ("https://example.com/hook?token=abc", "abc"),
        ("https://example.com/hook?x=1&api_key=abc", "abc"),
        ("https://hc-ping.com/eb095278-f28d-448d-87fb-7b75c171a6aa", "eb095278"),
        ("https://example.com/in/9f86d081884c7d659a2feaa0c55ad015", "9f86d0"),
        ("https://discord.com/api/webhooks/1/xyz", "xyz"),
    ],
)
@pytest.mark.parametrize("way", ["webhook", "heartbeat"])
def test_an_address_that_is_a_secret_is_refused_and_not_shown(
    url: str, secret: str, way: str, tmp_path: Path
) -> None:
    found = problems(f"  {way}: {{url: '{url}'}}\n", tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"notifications.{way}.url: ")
    assert "secret" in found[0].replace(url, "")
    assert secret not in found[0]


@pytest.mark.parametrize(
    "url",
    [
        "https://alerts.example.com/opsloop/production",
        "http://127.0.0.1:9000/in?from=opsloop",
        "https://example.com/a-path-of-many-words-is-no-secret",
    ],
)
def test_a_plain_address_is_no_secret(url: str) -> None:
    assert list(secret_in_url(url)) == []


def test_production_needs_every_secret_file(tmp_path: Path) -> None:
    text = "  teams: {shop: {slack: {channel: '#shop', url_file: shop.url}}}\n"
    assert problems(text, tmp_path, "demo") == []
    message = "there is no secret in the file 'shop.url', and production has no stand-in"
    where = "notifications.teams.shop.slack.url_file"
    assert problems(text, tmp_path, "production") == [f"{where}: {message}"]
    (tmp_path / "shop.url").write_text(" \n")
    assert problems(text, tmp_path, "production") == [f"{where}: {message}"]
    (tmp_path / "shop.url").write_text("https://hooks.example.com/x\n")
    assert problems(text, tmp_path, "production") == []
