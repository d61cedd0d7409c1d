"""Secret files: modes, kept values, stand-ins, refusals that never show a value."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from opsloop.catalog.model import Catalog
from opsloop.errors import ArgumentError, StateUnusable
from opsloop.settings import Ports
from opsloop.stack.secrets import make_secrets, scrape_password, vendors

SLACK = "https://hooks.slack.com/services/T0/B0/veryverysecret"
KEY = "0123456789abcdef0123456789abcdef"


def catalog(environment: str = "demo", **rest: Any) -> Catalog:
    return Catalog.model_validate(
        {"apiVersion": "opsloop/v1", "stack": {"environment": environment}, **rest}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.mkdir()
    return path


def contents(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir()}


def test_files_are_private_and_a_second_time_changes_nothing(folder: Path) -> None:
    make_secrets(folder, catalog(), {}, Ports())
    first = contents(folder)
    assert set(first) == {
        *("scrape_password", "web.yml", "webhook_token", "fault_token", "database_password"),
        *("slack_url", "pagerduty_key", "grafana_password", "grafana_secret_key"),
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    inodes = {p.name: p.stat().st_ino for p in folder.iterdir()}
    make_secrets(folder, catalog(), {}, Ports())
    assert contents(folder) == first
    assert {p.name: p.stat().st_ino for p in folder.iterdir()} == inodes


def test_generated_values_differ_and_are_long(folder: Path) -> None:
    make_secrets(folder, catalog(), {}, Ports())
    values = contents(folder)
    made = [values[n] for n in ("scrape_password", "webhook_token", "fault_token")]
    made += [values["database_password"], values["grafana_password"]]
    assert len(set(made)) == 5
    assert all(len(v) >= 32 and v == v.strip() for v in made)


def test_web_yml_holds_a_cheap_hash_of_the_password(folder: Path) -> None:
    make_secrets(folder, catalog(), {}, Ports())
    users = yaml.safe_load((folder / "web.yml").read_text())["basic_auth_users"]
    hashed = users["opsloop"]
    assert bcrypt.checkpw(scrape_password(folder).encode(), hashed.encode())
    assert hashed.split("$")[2] == "08"
    (folder / "scrape_password").write_text("another")
    make_secrets(folder, catalog(), {}, Ports())
    users = yaml.safe_load((folder / "web.yml").read_text())["basic_auth_users"]
    assert bcrypt.checkpw(b"another", users["opsloop"].encode())


def test_the_inbox_stands_in_and_moves_with_its_port(folder: Path) -> None:
    found = make_secrets(folder, catalog(), {}, Ports(100))
    assert (found.slack, found.pagerduty) == ("stand-in", "stand-in")
    assert len(found.stand_ins) == 2
    assert (folder / "slack_url").read_text() == "http://127.0.0.1:8182/slack/services/demo"
    make_secrets(folder, catalog(), {}, Ports(200))
    assert (folder / "slack_url").read_text() == "http://127.0.0.1:8282/slack/services/demo"


def test_real_vendors_are_used_and_kept(folder: Path) -> None:
    environ = {"ALERTMANAGER_SLACK_WEBHOOK": SLACK, "PAGERDUTY_INTEGRATION_KEY": KEY}
    found = make_secrets(folder, catalog(), environ, Ports())
    assert (found.slack, found.pagerduty, found.stand_ins) == ("real", "real", [])
    assert (folder / "slack_url").read_text() == SLACK
    # A reload from another shell must not send pages to the inbox.
    again = make_secrets(folder, catalog(), {}, Ports())
    assert (again.slack, again.pagerduty) == ("real", "real")
    assert again.kept == ("Slack", "PagerDuty")
    assert (folder / "slack_url").read_text() == SLACK
    assert (folder / "pagerduty_key").read_text() == KEY


def test_without_pagerduty_in_the_catalog_there_is_no_key(folder: Path) -> None:
    without = catalog(notifications={"pagerduty": None})
    found = make_secrets(folder, without, {"PAGERDUTY_INTEGRATION_KEY": KEY}, Ports())
    assert found.pagerduty == "none"
    assert "pagerduty" not in contents(folder)


def test_production_has_no_stand_in(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="ALERTMANAGER_SLACK_WEBHOOK: is not set"):
        make_secrets(folder, catalog("production"), {}, Ports())
    assert contents(folder) == {}
    environ = {"ALERTMANAGER_SLACK_WEBHOOK": SLACK}
    found = make_secrets(folder, catalog("production"), environ, Ports())
    assert (found.slack, found.pagerduty) == ("real", "none")
    assert "grafana_password" not in contents(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERTMANAGER_SLACK_WEBHOOK", "hooks.slack.com/secret-part"),
        ("ALERTMANAGER_SLACK_WEBHOOK", "https://hooks.slack.com/secret-part with space"),
        ("ALERTMANAGER_SLACK_WEBHOOK", "http://[secret-part"),
        ("PAGERDUTY_INTEGRATION_KEY", "secret-part"),
    ],
)
def test_a_broken_value_is_named_and_never_shown(folder: Path, name: str, value: str) -> None:
    with pytest.raises(ArgumentError, match=name) as error:
        vendors(folder, catalog(), {name: value})
    assert "secret-part" not in str(error.value)


def test_a_linked_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(StateUnusable):
        make_secrets(link, catalog(), {}, Ports())
    assert contents(folder) == {}


TEAMS: dict[str, Any] = {
    "pagerduty": {"routing_key_file": "key"},
    "teams": {"shop": {"slack": {"channel": "#shop", "url_file": "shop.url"}}},
}


def test_a_secret_file_that_is_not_there_is_stood_in_for_and_said(folder: Path) -> None:
    (folder.parent / "key").write_text(KEY)
    found = make_secrets(folder, catalog(notifications=TEAMS), {}, Ports(), folder.parent)
    assert (found.slack, found.pagerduty) == ("stand-in", "real")
    assert found.missing_files == ("shop.url",)
    assert found.stand_ins[1:] == ["teams.shop.slack.url_file (write the secret into shop.url)"]
    assert "pagerduty_key" not in contents(folder)
    (folder.parent / "shop.url").write_text(f"{SLACK}\n")
    found = make_secrets(folder, catalog(notifications=TEAMS), {}, Ports(), folder.parent)
    assert found.missing_files == ()


def test_in_production_every_secret_file_is_needed(folder: Path) -> None:
    environ = {"ALERTMANAGER_SLACK_WEBHOOK": SLACK}
    production = catalog("production", notifications=TEAMS)
    with pytest.raises(ArgumentError) as error:
        make_secrets(folder, production, environ, Ports(), folder.parent)
    assert "key (pagerduty.routing_key_file)" in str(error.value)
    assert "shop.url (teams.shop.slack.url_file)" in str(error.value)
    assert contents(folder) == {}


def test_a_webhook_of_slack_may_be_a_file(folder: Path) -> None:
    (folder.parent / "url").write_text(SLACK)
    told = {"slack": {"channel": "#a", "url_file": "url"}}
    production = catalog("production", notifications=told)
    found = make_secrets(folder, production, {}, Ports(), folder.parent)
    assert (found.slack, found.stand_ins) == ("real", [])
    assert "slack_url" not in contents(folder)
