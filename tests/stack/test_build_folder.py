"""The bundle on disk: exactly the bundle, only changed files touched, all or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop.errors import StateUnusable
from opsloop.stack.build_folder import changes, write

BUNDLE = {"prometheus/prometheus.yml": "a\n", "native/supervisord.conf": "b\n"}


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_becomes_the_bundle(tmp_path: Path) -> None:
    first = write(tmp_path, BUNDLE)
    assert contents(tmp_path) == BUNDLE
    assert first.conf
    assert first.readers == ["prometheus"]
    assert not write(tmp_path, BUNDLE)
    inode = (tmp_path / "native/supervisord.conf").stat().st_ino
    (tmp_path / "left.yml").write_text("old")
    new = {**BUNDLE, "prometheus/prometheus.yml": "c\n"}
    assert changes(tmp_path, new).paths == ("left.yml", "prometheus/prometheus.yml")
    done = write(tmp_path, new)
    assert contents(tmp_path) == new
    assert not done.conf
    assert (tmp_path / "native/supervisord.conf").stat().st_ino == inode


@pytest.mark.parametrize(
    ("path", "readers"),
    [
        ("prometheus/rules/alerts.yml", ["prometheus"]),
        ("prometheus/tests/alerts.yml", []),
        ("alertmanager/alertmanager.yml", ["alertmanager"]),
        ("alertmanager/routes.yml", []),
        ("exporters/blackbox.yml", ["blackbox-exporter"]),
        ("engine/engine.json", ["engine"]),
        ("manifest.json", []),
    ],
)
def test_who_reads_what(tmp_path: Path, path: str, readers: list[str]) -> None:
    assert write(tmp_path, {path: "x"}).readers == readers


def test_a_failure_half_way_leaves_the_old_bundle(tmp_path: Path) -> None:
    write(tmp_path, BUNDLE)
    # A folder's name where a file has to be made: the second file fails, after the first.
    blocked = {**BUNDLE, "native/supervisord.conf": "new\n", "prometheus/prometheus.yml/x": "y"}
    with pytest.raises(StateUnusable):
        write(tmp_path, blocked)
    assert contents(tmp_path) == BUNDLE
