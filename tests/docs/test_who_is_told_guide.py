"""The guide to notifications: its catalog is good, and its commands exist."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from opsloop.catalog.load import load
from opsloop.cli.main import cli
from tests.docs.pages import blocks

PAGE = "docs/guides/who-is-told.md"


def test_its_catalog_is_good_and_uses_every_field(tmp_path: Path) -> None:
    (text,) = blocks(PAGE, "yaml")
    file = tmp_path / "opsloop.yaml"
    file.write_text(text, encoding="utf-8")
    loaded = load(file, {})
    assert loaded.warnings == ()
    told = loaded.catalog.notifications
    unused = {name for name in type(told).model_fields if name not in told.model_fields_set}
    assert unused == {"pagerduty", "repeat_interval"}


def test_its_commands_exist() -> None:
    for words in (["inbox", "misbehave"], ["build"], ["up"]):
        assert CliRunner().invoke(cli, [*words, "--help"]).exit_code == 0
