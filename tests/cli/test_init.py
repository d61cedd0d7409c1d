"""`opsloop init`: a first catalog that checks and builds as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.test_discover import serving

Run = Callable[..., Result]


def test_init_check_build_in_a_row(run: Run, tmp_path: Path) -> None:
    """On this machine as it is, with a server of the test among what is found."""
    with serving(tmp_path / "program") as server:
        done = run("init")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("opsloop.yaml: written, with ")
    assert server.address in done.stdout
    assert f'- "{server.address}"' in Path("opsloop.yaml").read_text()
    for command in ("check", "build"):
        done = run(command)
        assert done.exit_code == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build", "opsloop.yaml", "program"]


def test_without_discovery(run: Run) -> None:
    done = run("init", "--no-discovery")
    assert "with 0 services found" in done.stdout
    assert run("check").stdout == "opsloop.yaml: fine: 1 host\n"
    assert run("build", "--run-tests").exit_code == 0


@pytest.mark.parametrize("kind", ["file", "dangling link", "folder with one"])
def test_never_writes_over_a_catalog_unasked(kind: str, run: Run, tmp_path: Path) -> None:
    arguments = ["init", "--no-discovery"]
    path = Path("opsloop.yaml")
    if kind == "file":
        path.write_text("mine")
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    else:
        Path("catalog").mkdir()
        path = Path("catalog/opsloop.yaml")
        path.write_text("mine")
        arguments += ["--catalog", "catalog"]
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr == f"error: {path}: is there already; give --force to write over it\n"
    if kind != "dangling link":
        assert path.read_text() == "mine"
    assert run(*arguments, "--force").exit_code == 0
    assert path.read_text().startswith("# A first catalog")


def test_where_it_goes(run: Run, tmp_path: Path) -> None:
    assert run("init", "--no-discovery", "--catalog", "deep/er/c.yaml").exit_code == 0
    assert Path("deep/er/c.yaml").stat().st_mode & 0o777 == 0o644
    Path("folder").mkdir()
    done = run("init", "--no-discovery", "--catalog", "folder")
    assert "next: read it, then opsloop check --catalog folder" in done.stdout
    assert [p.name for p in Path("folder").iterdir()] == ["opsloop.yaml"]


def test_a_place_that_cannot_be_written(run: Run) -> None:
    Path("file").write_text("")
    done = run("init", "--no-discovery", "--catalog", "file/opsloop.yaml")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: file")
    assert "Traceback" not in done.stderr
