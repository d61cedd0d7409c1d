"""Finding programs: the catalog's choice, PATH, the package's folder, or a command that helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop.catalog.model import Catalog
from opsloop.errors import MissingBinary
from opsloop.stack.binaries import PROGRAMS, Program, environment, find, find_all, in_conf, needed


def program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_catalog_wins_over_path(tmp_path: Path) -> None:
    on_path = program(tmp_path / "path", "prometheus")
    own = program(tmp_path / "own", "prom-3")
    path = str(on_path.parent)
    assert find(PROGRAMS["prometheus"], {}, path) == on_path
    assert find(PROGRAMS["prometheus"], {"prometheus": str(own)}, path) == own


def test_debians_name_comes_first(tmp_path: Path) -> None:
    plain = program(tmp_path, "alertmanager")
    assert find(PROGRAMS["alertmanager"], path=str(tmp_path)) == plain
    debian = program(tmp_path, "prometheus-alertmanager")
    assert find(PROGRAMS["alertmanager"], path=str(tmp_path)) == debian


def test_the_newest_version_of_a_package_folder(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/*/bin"
    server = Program("postgres", ("postgres",), "postgresql", (pattern,))
    assert find(server, path=str(tmp_path)) is None
    program(tmp_path / "9" / "bin", "postgres")
    newest = program(tmp_path / "15" / "bin", "postgres")
    assert find(server, path=str(tmp_path)) == newest


def test_a_wrong_path_in_the_catalog_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingBinary, match=r"stack\.binaries names /nowhere/prometheus"):
        find(PROGRAMS["prometheus"], {"prometheus": "/nowhere/prometheus"}, str(tmp_path))


def test_what_lacks_is_told_at_once_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "prometheus")
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = [PROGRAMS[n] for n in ("prometheus", "alertmanager", "amtool", "setpriv")]
    with pytest.raises(MissingBinary) as error:
        find_all(wanted)
    text = str(error.value)
    assert text.startswith("alertmanager, amtool, setpriv: are not installed; run: ")
    assert error.value.exit_code == 3


def test_a_catalog_needs_only_what_it_uses() -> None:
    small = Catalog.model_validate({"apiVersion": "opsloop/v1"})
    names = {p.name for p in needed(small)}
    assert "postgres" not in names
    assert "postgres-exporter" not in names
    assert {"prometheus", "alertmanager", "node-exporter", "setpriv"} <= names
    watched = {"services": {"db": {"team": "a", "postgres": {}}}}
    names = {p.name for p in needed(Catalog.model_validate({"apiVersion": "opsloop/v1"} | watched))}
    assert "postgres-exporter" in names
    assert "postgres" not in names  # it is somewhere else
    assert {p.name for p in needed(None)} == set(PROGRAMS)


def test_variables_for_supervisord_conf(tmp_path: Path) -> None:
    found = environment({"node-exporter": tmp_path / "x"})
    assert found == {"OPSLOOP_BIN_NODE_EXPORTER": str(tmp_path / "x")}
    conf = "command=setpriv -- %(ENV_OPSLOOP_BIN_NODE_EXPORTER)s\n"
    assert [p.name for p in in_conf(conf)] == ["node-exporter"]
