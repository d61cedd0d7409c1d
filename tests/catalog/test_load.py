"""Loading: defaults, folders, limits, the environment, and all problems at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opsloop.catalog import files
from opsloop.catalog.load import Loaded, load
from opsloop.catalog.units import Duration
from opsloop.errors import CatalogError, Problem
from opsloop.settings import Ports, Settings

SHOP = Path(__file__).parents[2] / "examples" / "shop"
HEAD = "apiVersion: opsloop/v1\n"
WEB = 'services:\n  web: {team: shop, targets: {static: ["127.0.0.1:8000"]}, metrics: http}\n'


def problems(path: Path | None, environ: dict[str, str] | None = None) -> list[Problem]:
    with pytest.raises(CatalogError) as caught:
        load(path, environ or {})
    return caught.value.problems


def loads(text: str, tmp_path: Path, environ: dict[str, str] | None = None) -> Loaded:
    file = tmp_path / "opsloop.yaml"
    file.write_text(text)
    return load(file, environ or {})


def test_the_shop_loads() -> None:
    loaded = load(SHOP / "opsloop.yaml", {})
    assert sorted(loaded.catalog.services) == ["api", "database"]
    assert list(loaded.catalog.remediation.policies) == [
        "restart-down",
        "restart-on-errors",
        "scale-on-latency",
        "clean-spool",
        "clean-disk",
        "renew-certificate",
        "rerun-backup",
    ]
    assert loaded.catalog.stack.retention is None
    assert loaded.catalog.retention == Duration.parse("32d")  # its objectives are over 30d
    assert loaded.directory == SHOP
    assert loaded.files == (SHOP / "opsloop.yaml",)
    assert loaded.warnings == ()


def test_the_shop_loads_as_a_folder_too() -> None:
    assert load(SHOP, {}).catalog == load(SHOP / "opsloop.yaml", {}).catalog


def test_default_is_the_file_then_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert problems(None) == [
        Problem(
            "opsloop.yaml",
            0,
            "",
            "there is no catalog here",
            "opsloop init writes a first one; --catalog PATH names another",
        )
    ]
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "a.yml").write_text(HEAD + WEB)
    assert load(None, {}).files == (Path("catalog/a.yml"),)
    (tmp_path / "opsloop.yaml").write_text(HEAD + WEB)
    assert load(None, {}).files == (Path("opsloop.yaml"),)


def test_a_folder_is_merged_by_name(tmp_path: Path) -> None:
    (tmp_path / "10-stack.yaml").write_text(HEAD + "stack: {environment: staging}\n" + WEB)
    (tmp_path / "20-api.yml").write_text(
        "processes: {api: {command: [api], port: 8001}}\n"
        "services:\n  api: {team: shop, process: api}\n"
        "remediation:\n  policies:\n"
        "    second: {when: {alert: [HighLatency], service: [web]}, mode: off, steps: [restart]}\n"
    )
    (tmp_path / "05-policies.yaml").write_text(
        "remediation:\n  mode: auto\n  policies:\n"
        "    first: {when: {alert: [ServiceDown], service: [api]}, limits: {max_runs: 6, window: 1h}, steps: [restart]}\n"
    )
    (tmp_path / ".hidden.yaml").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")
    loaded = load(tmp_path, {})
    assert [f.name for f in loaded.files] == ["05-policies.yaml", "10-stack.yaml", "20-api.yml"]
    assert sorted(loaded.catalog.services) == ["api", "web"]
    assert list(loaded.catalog.remediation.policies) == ["first", "second"]
    assert loaded.catalog.remediation.mode == "auto"
    assert loaded.catalog.stack.environment == "staging"
    assert loaded.directory == tmp_path


def test_a_name_in_two_files_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD + WEB + "stack: {environment: one}\n")
    (tmp_path / "b.yaml").write_text(WEB + "stack: {environment: two}\n")
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    assert [str(p) for p in problems(tmp_path)] == [
        f"{b}:2: services.web: 'web' is also in {a}:3 (keep one of them)",
        f"{b}:3: stack: 'stack' is also in {a}:4 (keep stack in one file)",
    ]


def test_remediation_mode_and_policies_have_one_owner_each(tmp_path: Path) -> None:
    policy = "{when: {alert: [ServiceDown]}, mode: off, steps: [restart]}"
    (tmp_path / "a.yaml").write_text(
        f"{HEAD}{WEB}remediation:\n  mode: auto\n  policies:\n    p: {policy}\n"
    )
    (tmp_path / "b.yaml").write_text(f"remediation:\n  mode: off\n  policies:\n    p: {policy}\n")
    found = [(p.line, p.path) for p in problems(tmp_path)]
    assert found == [(2, "remediation.mode"), (4, "remediation.policies.p")]


def test_a_wrong_version_in_any_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD + WEB)
    (tmp_path / "b.yaml").write_text("apiVersion: opsloop/v2\n")
    assert [p.path for p in problems(tmp_path)] == ["apiVersion"]


def test_a_section_that_is_no_mapping_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD + "services: web\n")
    (tmp_path / "b.yaml").write_text(WEB + "remediation:\n  policies: none\n")
    assert [p.path for p in problems(tmp_path)] == ["services", "remediation.policies"]


def test_references_into_a_file_that_cannot_be_read_are_not_called_unknown(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.yaml").write_text(
        f"{HEAD}{WEB}probes:\n  p: {{target: 'http://127.0.0.1', service: api}}\n"
    )
    (tmp_path / "b.yaml").write_text("services: {api: {team: shop\n")
    (found,) = problems(tmp_path)
    assert found.file.endswith("b.yaml")


@pytest.mark.parametrize("name", ["folder", "no-yaml", "missing", "fifo", "a\0b"])
def test_places_without_a_catalog(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "no-yaml").mkdir()
    (tmp_path / "no-yaml" / "readme.md").write_text("hello")
    os.mkfifo(tmp_path / "fifo")
    (found,) = problems(tmp_path / name)
    assert found.line == 0
    assert found.message in (
        "the folder has no *.yaml file",
        "there is no such file or folder",
        "is neither a file nor a folder",
        "cannot be read: embedded null byte",
    )


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    file = tmp_path / "opsloop.yaml"
    file.write_bytes(HEAD.encode() + b"# caf\xe9\n")
    assert [str(p) for p in problems(file)] == [f"{file}: is not UTF-8: byte 0xe9 on line 2"]


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "opsloop.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + (HEAD + WEB).encode())
    assert list(load(file, {}).catalog.services) == ["web"]


def test_limits_on_size_depth_and_aliases(tmp_path: Path) -> None:
    file = tmp_path / "opsloop.yaml"
    file.write_bytes(b"#" * (files.MAX_BYTES + 1))
    assert problems(file)[0].message == "is larger than 4 MiB"
    file.write_text("[" * 1_000_000)  # libyaml's own composer ends the process here
    assert problems(file)[0].message == "nested deeper than 40 levels"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for last, name in zip("abcdefg", "bcdefgh", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{last}'] * 10)}]\n"
    file.write_text(bomb)
    assert problems(file)[0].message == "more than 1,000,000 values when its aliases are expanded"


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    loaded = loads(
        HEAD + "services:\n"
        "  web: &web {team: shop, tier: 1, targets: {static: ['127.0.0.1:8000']}}\n"
        "  www:\n    <<: *web\n    tier: 2\n    targets: {static: ['127.0.0.1:8001']}\n",
        tmp_path,
    )
    assert loaded.catalog.services["www"].team == "shop"
    assert loaded.catalog.services["www"].tier == 2


def test_scalars_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    loaded = loads(
        HEAD + WEB + "notifications:\n  maintenance:\n    night: {start: 22:00, end: 23:30}\n"
        "remediation:\n  mode: off\n"
        "hosts:\n",
        tmp_path,
    )
    assert loaded.catalog.notifications.maintenance["night"].start == "22:00"
    assert loaded.catalog.remediation.mode == "off"
    assert loaded.catalog.hosts == {}


def test_the_environment_fills_values(tmp_path: Path) -> None:
    text = (
        HEAD
        + "processes:\n  api: {command: [api, '$${x}'], port: '${PORT}', slots: '${SLOTS:-3}'}\n"
        "services:\n  api: {team: '${TEAM}', process: api}\n"
    )
    process = loads(text, tmp_path, {"PORT": "8100", "TEAM": "shop"}).catalog.processes["api"]
    assert (process.port, process.slots, process.command) == (8100, 3, ["api", "${x}"])
    found = problems(tmp_path / "opsloop.yaml", {"PORT": "eighty", "SLOTS": "x"})
    assert [(p.line, p.path, p.message) for p in found] == [
        (3, "processes.api.slots", "a whole number is wanted here, not 'x'"),
        (3, "processes.api.port", "a whole number is wanted here, not 'eighty'"),
        (5, "services.api.team", "environment variable TEAM is not set"),
    ]


def test_the_environment_never_changes_structure(tmp_path: Path) -> None:
    text = HEAD + WEB + "stack: {external_labels: '${LABELS}'}\n"
    (tmp_path / "opsloop.yaml").write_text(text)
    (found,) = problems(tmp_path / "opsloop.yaml", {"LABELS": "{a: b}"})
    assert found.message == "a mapping is wanted here, not '{a: b}'"


def test_retention_of_the_environment_wins(tmp_path: Path) -> None:
    text = HEAD + WEB + "stack: {retention: 30d}\n"
    assert loads(text, tmp_path).catalog.stack.retention == Duration.parse("30d")
    found = loads(text, tmp_path, {"PROMETHEUS_RETENTION": "2d"})
    assert found.catalog.stack.retention == Duration.parse("2d")
    found = loads(HEAD + WEB, tmp_path, {"PROMETHEUS_RETENTION": "3d"})
    assert found.catalog.stack.retention == Duration.parse("3d")
    (problem,) = problems(tmp_path / "opsloop.yaml", {"PROMETHEUS_RETENTION": "2 days"})
    assert str(problem).startswith("PROMETHEUS_RETENTION: stack.retention: '2 days' is not a")


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    secret = "https://hooks.slack.com/services/T0/B0/verysecret"
    (tmp_path / "opsloop.yaml").write_text(
        f'{HEAD}{WEB}notifications: {{slack: {{channel: "{secret}"}}}}\n'
    )
    (found,) = problems(tmp_path / "opsloop.yaml")
    assert "Slack webhook" in found.message
    assert "verysecret" not in str(found)


def test_production_counts_a_secret_that_an_earlier_up_kept(tmp_path: Path) -> None:
    file = tmp_path / "opsloop.yaml"
    file.write_text(HEAD + WEB + "stack: {environment: production}\n")
    state = tmp_path / "state"
    settings = Settings(state=state)
    with pytest.raises(CatalogError) as caught:
        load(file, {}, settings)
    assert len(caught.value.problems) == 2
    (state / "secrets").mkdir(parents=True)
    (state / "secrets" / "slack_url").write_text("kept")
    (state / "secrets" / "grafana_password").write_text("kept")
    (warning,) = load(file, {}, settings).warnings
    assert "P0 alerts go to Slack alone" in warning.message
    environ = {"PAGERDUTY_INTEGRATION_KEY": "x"}
    assert load(file, environ, Settings.from_env(environ, state=str(state))).warnings == ()


def test_ports_move_with_the_port_base(tmp_path: Path) -> None:
    file = tmp_path / "opsloop.yaml"
    file.write_text(
        f"{HEAD}processes: {{api: {{command: [a], port: 60000}}}}\n"
        "services: {api: {team: shop, process: api}}\n"
    )
    assert load(file, {}).catalog.processes["api"].port == 60000
    with pytest.raises(CatalogError) as caught:
        load(file, {}, Settings(ports=Ports(6000)))
    assert "66000..66000" in str(caught.value)
