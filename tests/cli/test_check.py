"""`opsloop check`, as people and as programs read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from tests.catalog.test_all_at_once import TEN
from tests.cli.conftest import ROOT, SMALL, start

Run = Callable[..., Result]


def test_a_fine_catalog_is_one_line(run: Run, small: Path) -> None:
    done = run("check")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "opsloop.yaml: fine: 1 service, 1 host\n"


def test_the_shop(run: Run) -> None:
    done = run("check", "--catalog", str(ROOT / "examples" / "shop"))
    assert done.exit_code == 0
    assert done.stdout.endswith(
        "2 services, 3 objectives, 3 processes, 1 host, 1 probe, 1 certificate,"
        " 1 backup, 1 alert, 7 policies (auto)\n"
        "samples are kept 32d: the objectives over 30d need it\n"
    )


def test_ten_mistakes_in_ten_lines(run: Run, tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(TEN)
    done = run("check")
    assert done.exit_code == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 11
    assert lines[3] == (
        "opsloop.yaml:10: services.api.process: there is no process 'apy' (did you mean 'api'?)"
    )
    assert lines[-1] == "error: catalog: 10 problems"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["opsloop.yaml"]


def test_json_of_problems(run: Run, tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(TEN)
    done = run("check", "--json")
    assert (done.exit_code, done.stderr) == (2, "")
    value = json.loads(done.stdout)
    assert list(value) == ["errors", "warnings"]
    assert len(value["errors"]) == 10
    assert value["errors"][3] == {
        "file": "opsloop.yaml",
        "line": 10,
        "path": "services.api.process",
        "message": "there is no process 'apy'",
        "hint": "did you mean 'api'?",
    }


def test_warnings_do_not_fail(run: Run, small: Path) -> None:
    small.write_text(SMALL + "stack: {bind: 0.0.0.0}\n")
    done = run("check")
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: opsloop.yaml:9: stack.bind: the stack can be reached")
    value = json.loads(run("check", "--json").stdout)
    assert value["errors"] == []
    assert [w["path"] for w in value["warnings"]] == ["stack.bind"]


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(TEN)
    process = start("check", cwd=tmp_path)
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, out) == (2, "")
    assert errors.count("\n") == 11


def test_what_is_declared_is_counted(run: Run, small: Path) -> None:
    small.write_text(
        small.read_text()
        + "certificates: {edge: {file: edge.pem}}\nbackups: {orders: {every: 24h}, files: {every: 7d}}\n"
    )
    done = run("check")
    assert "1 service, 1 host, 1 certificate, 2 backups" in done.stdout
