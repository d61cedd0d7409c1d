"""`opsloop build`: written whole or not at all, checked by the real promtool and amtool."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from opsloop.errors import ArgumentError
from opsloop.stack import checkers, out_folder
from tests.cli.conftest import ROOT, SMALL, start

Run = Callable[..., Result]
SHOP = str(ROOT / "examples" / "shop")
BROKEN_EXPR = SMALL + "alerts:\n  Bad: {expr: sum(, severity: P1, summary: bad, service: web}\n"
BUNDLE = {
    "manifest.json": '{"format": 1, "opsloop": "0", "files": {"a/b.yml": ""}}\n',
    "a/b.yml": "x: 1\n",
}


def tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_build_then_check(run: Run, tmp_path: Path) -> None:
    done = run("build", "--catalog", SHOP, "--out", "out")
    assert done.exit_code == 0, done.stderr
    assert "passed promtool check config, promtool check rules, amtool check-config" in done.stdout
    assert not [p for p in tmp_path.iterdir() if p.name != "out"]
    first = tree(tmp_path / "out")
    assert "prometheus/prometheus.yml" in first

    done = run("build", "--catalog", SHOP, "--out", "out", "--check")
    assert (done.exit_code, done.stdout) == (0, "out: fresh\n")
    assert "nothing changed" in run("build", "--catalog", SHOP, "--out", "out").stdout
    assert tree(tmp_path / "out") == first

    (tmp_path / "out" / "prometheus" / "prometheus.yml").write_text("edited")
    (tmp_path / "out" / "alertmanager" / "alertmanager.yml").unlink()
    done = run("build", "--catalog", SHOP, "--out", "out", "--check")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "missing  alertmanager/alertmanager.yml",
        "differs  prometheus/prometheus.yml",
    ]
    assert done.stderr == "error: out: 2 files stale; run: opsloop build --out out\n"
    assert run("build", "--catalog", SHOP, "--out", "out").exit_code == 0
    assert tree(tmp_path / "out") == first


def test_check_of_a_folder_that_is_not_there(run: Run, small: Path) -> None:
    done = run("build", "--check", "--json")
    assert done.exit_code == 1
    value = json.loads(done.stdout)
    assert value["fresh"] is False
    assert {c["change"] for c in value["changed"]} == {"missing"}
    assert not Path("build").exists()


def test_json(run: Run, small: Path) -> None:
    value = json.loads(run("build", "--json").stdout)
    assert value["out"] == "build"
    assert value["files"] == len(tree(Path("build"))) == len(value["changed"])
    assert {c["status"] for c in value["checks"]} == {"ok"}
    assert value["tests"] == []
    assert json.loads(run("build", "--json").stdout)["changed"] == []


def test_a_bad_catalog_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text("apiVersion: opsloop/v2\n")
    assert run("build").exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["opsloop.yaml"]


def test_what_promtool_refuses_is_not_written(run: Run, small: Path, tmp_path: Path) -> None:
    assert run("build").exit_code == 0
    before = tree(tmp_path / "build")
    small.write_text(BROKEN_EXPR)
    for out in ("build", "new/folder"):
        done = run("build", "--out", out)
        assert done.exit_code == 2
        assert "the compiled bundle: is refused by promtool check config" in done.stderr
        assert "parse error: unclosed left parenthesis" in done.stderr
        assert str(tmp_path) not in done.stderr
    assert tree(tmp_path / "build") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build", "opsloop.yaml"]


def test_without_the_tools_it_says_what_was_skipped(
    run: Run, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("build")
    assert done.exit_code == 0
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        "warning: promtool check config was skipped: promtool is not installed",
        "warning: promtool check rules was skipped: promtool is not installed",
        "warning: amtool check-config was skipped: amtool is not installed",
        "warning: promtool on the dashboards was skipped: promtool is not installed",
    ]
    assert "passed" not in done.stdout


def test_a_tool_that_the_catalog_names_wins(run: Run, small: Path, tmp_path: Path) -> None:
    tool = tmp_path / "promtool-of-mine"
    tool.write_text("#!/bin/sh\necho no, says mine\nexit 1\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    small.write_text(SMALL + f"stack: {{binaries: {{promtool: {tool}}}}}\n")
    done = run("build")
    assert done.exit_code == 2
    assert "no, says mine" in done.stderr


def test_a_folder_with_files_of_others_is_left_alone(run: Run, small: Path) -> None:
    folder = Path("mine")
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    done = run("build", "--out", "mine")
    assert done.exit_code == 2
    assert "mine holds files that opsloop did not write" in done.stderr
    assert tree(folder) == {"thesis.txt": "years of work"}

    assert run("build").exit_code == 0
    Path("build", "notes.txt").write_text("mine")
    done = run("build")
    assert done.exit_code == 2
    assert "build holds notes.txt, which opsloop did not write" in done.stderr
    assert Path("build", "notes.txt").read_text() == "mine"

    Path("file").write_text("")
    assert run("build", "--out", "file").exit_code == 2


def test_an_empty_folder_and_a_link_to_a_folder_are_fine(run: Run, small: Path) -> None:
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    assert run("build", "--out", "link").exit_code == 0
    assert Path("link").is_symlink()
    assert Path("empty", "manifest.json").is_file()


def test_run_tests(run: Run, small: Path, tmp_path: Path) -> None:
    done = run("build", "--run-tests", "--json")
    assert done.exit_code == 0, done.stderr
    tests = json.loads(done.stdout)["tests"]
    assert [t["name"] for t in tests] == sorted(
        str(p.relative_to(tmp_path / "build"))
        for p in (tmp_path / "build").glob("prometheus/tests/*.yml")
    )
    assert {t["status"] for t in tests} == {"ok"}
    alerts = {a["alert"]: a for a in json.loads(done.stdout)["alerts"]}
    assert alerts["ServiceDown"]["kinds"]["fires"] >= 1
    assert all(a["tests"] and a["failed"] == [] for a in alerts.values())


@pytest.mark.full
def test_run_tests_prints_alerts_by_kind_of_case(run: Run, small: Path) -> None:
    done = run("build", "--run-tests")
    head, *rows, total = (line.split() for line in done.stdout.split("\n\n")[0].splitlines())
    assert head[:2] == ["alert", "fires"]
    assert {row[-1] for row in (*rows, total)} == {"ok"}
    assert "HighErrorRate" in {row[0] for row in rows}
    assert total[:2] == [str(len(rows)), "alerts"]
    assert int(total[-2]) == sum(int(row[-2]) for row in rows)
    assert f"({total[-2]} alert tests)" in done.stdout


def test_run_tests_names_the_test_that_fails(run: Run, small: Path) -> None:
    small.write_text(
        SMALL
        + """alerts:
  Stuck:
    expr: queue > 5
    severity: P1
    summary: stuck
    service: web
    tests:
      - name: wrong on purpose
        series: [{series: queue, values: 1x10}]
        expect: [{at: 1m, firing: true}]
"""
    )
    assert run("build").exit_code == 0
    done = run("build", "--out", "other", "--run-tests")
    assert done.exit_code == 2
    assert "is refused by prometheus/tests/" in done.stderr
    assert "Stuck" in done.stderr
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("Stuck"))
    assert row[-2:] == ["1", "failed"]
    assert not Path("other").exists()


def test_a_swap_that_fails_half_way_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with out_folder.replacement(out, BUNDLE):
        pass
    real = Path.rename

    def fail_second(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with (
        pytest.raises(OSError, match="No space left"),
        out_folder.replacement(out, BUNDLE | {"c": ""}),
    ):
        pass
    assert tree(out) == BUNDLE
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    bundle = BUNDLE | {"x" * 300: "a name that no file system takes"}
    with (
        pytest.raises(OSError, match="File name too long"),
        out_folder.replacement(tmp_path / "deep" / "er" / "out", bundle),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_of_an_older_bundle_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out_folder.replacement(out, BUNDLE):
        pass
    newer = {"manifest.json": BUNDLE["manifest.json"], "c.yml": ""}
    assert [(d.path, d.kind) for d in out_folder.differences(out, newer)] == [
        ("a/b.yml", "extra"),
        ("c.yml", "missing"),
    ]
    out_folder.refuse_foreign(out)
    with out_folder.replacement(out, newer):
        pass
    assert tree(out) == newer


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"opsloop": "1"}', '{"files": {"a": ""}}'])
def test_a_manifest_of_somebody_else(manifest: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ArgumentError, match="did not write"):
        out_folder.refuse_foreign(tmp_path)


def test_checkers_on_an_empty_folder(tmp_path: Path) -> None:
    assert checkers.check_bundle(tmp_path) == []
    assert checkers.run_tests(tmp_path) == []


def test_in_a_process_of_its_own(small: Path, tmp_path: Path) -> None:
    process = start("build", "--out", "out", cwd=tmp_path, TMPDIR=str(tmp_path))
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert out.startswith("out: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["opsloop.yaml", "out"]
