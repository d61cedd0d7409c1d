"""`opsloop import` on golden pairs: files of other tools, the catalog, and what is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import SLO, event_floor, pairs_of
from opsloop.cli.main import cli
from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.slo_spec import Counters, Rates, Ratio, SLOSpec, Source
from tests.cli.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "import"
CASES = sorted(p.name for p in GOLDEN.iterdir() if p.is_dir())
Run = Callable[..., Result]
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)
GOOD = (GOLDEN / "sloth-windows" / "input.yaml").read_text()


def imported(case: str, *arguments: str) -> Result:
    here = Path.cwd()
    os.chdir(GOLDEN)
    try:
        return CliRunner().invoke(cli, ["import", case, *arguments], catch_exceptions=False)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("case", CASES)
def test_pair(case: str) -> None:
    done = imported(case)
    assert done.exit_code == 0
    assert done.stdout == (GOLDEN / f"{case}.catalog.yaml").read_text()
    assert done.stderr == (GOLDEN / f"{case}.report.txt").read_text()


def test_the_pairs_are_whole() -> None:
    assert len(CASES) >= 8
    for suffix in (".catalog.yaml", ".report.txt"):
        assert sorted(p.name.removesuffix(suffix) for p in GOLDEN.glob(f"*{suffix}")) == CASES


@pytest.mark.parametrize("case", CASES)
def test_the_catalog_is_fine_and_says_what_was_meant(case: str, tmp_path: Path) -> None:
    value = json.loads(imported(case, "--json").stdout)
    path = tmp_path / "opsloop.yaml"
    path.write_text(value["catalog"])
    loaded = load(path, {})
    there = {(s, n) for s, service in loaded.catalog.services.items() for n in service.slos}
    assert there == {(slo["service"], slo["slo"]) for slo in value["slos"]}
    for slo in value["slos"]:
        assert slo["exact"] == (slo["sli"] == "events") == (not slo["why"])


def queries(catalog: Catalog) -> Iterator[str]:
    """Each query of the SLIs as Prometheus is asked it."""
    for service in catalog.services.values():
        for slo in service.slos.values():
            events, promql = slo.sli.events, slo.sli.promql
            if events is not None:
                yield from filter(None, (events.total, events.errors, events.good))
            if promql is not None:
                found = (promql.error_ratio, promql.errors, promql.total)
                yield from (q.replace("{window}", "5m") for q in found if q)


def promtool_takes(groups: list[dict[str, Any]], path: Path) -> None:
    path.write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("case", CASES)
def test_promtool_takes_every_query(case: str, tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(imported(case).stdout)
    catalog = load(tmp_path / "opsloop.yaml", {}).catalog
    rules = [{"record": f"r{i}", "expr": q} for i, q in enumerate(queries(catalog))]
    assert rules
    promtool_takes([{"name": "g", "rules": rules}], tmp_path / "rules.yml")


def sources(slo: SLO) -> Source:
    events, promql = slo.sli.events, slo.sli.promql
    if events is not None:
        return Counters(events.total, events.errors, events.good, own=False)
    assert promql is not None
    if promql.error_ratio is not None:
        return Ratio(promql.error_ratio)
    return Rates(promql.errors or "", promql.total or "")


@needs_promtool
@pytest.mark.parametrize("case", CASES)
def test_promtool_takes_the_rules_of_every_objective(case: str, tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(imported(case).stdout)
    specs = [
        SLOSpec(
            slo=name,
            service=service,
            sli=f"{service}-{name}",
            source=sources(slo),
            objective=slo.objective,
            period=slo.window,
            pairs=pairs_of(slo),
            floors=tuple(event_floor(pair, slo.objective) for pair in pairs_of(slo)),
        )
        for service, given in load(tmp_path / "opsloop.yaml", {}).catalog.services.items()
        for name, slo in given.slos.items()
    ]
    promtool_takes(slo_groups(specs), tmp_path / "rules.yml")


@needs_promtool
@pytest.mark.parametrize("case", CASES)
def test_it_builds(run: Run, tmp_path: Path, case: str) -> None:
    (tmp_path / "opsloop.yaml").write_text(imported(case).stdout)
    done = run("build", "--json")
    assert done.exit_code == 0, done.stderr
    checks = {c["name"]: c["status"] for c in json.loads(done.stdout)["checks"]}
    assert "ok" in checks.values()
    assert "failed" not in checks.values()
    rules = "".join(p.read_text() for p in (tmp_path / "build/prometheus/rules").glob("*.yml"))
    for slo in json.loads(imported(case, "--json").stdout)["slos"]:
        assert f"slo: {slo['slo']}" in rules


def test_out_is_whole_and_never_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slos.yaml").write_text(GOOD)
    done = run("import", "slos.yaml", "--out", "opsloop.yaml")
    assert (done.exit_code, done.stdout) == (
        0,
        "opsloop.yaml: written; next: opsloop check --catalog opsloop.yaml\n",
    )
    written = (tmp_path / "opsloop.yaml").read_text()
    assert written == run("import", "slos.yaml").stdout
    assert run("check").stdout.startswith("opsloop.yaml: fine: 1 service")

    (tmp_path / "opsloop.yaml").write_text("mine")
    again = run("import", "slos.yaml", "--out", "opsloop.yaml")
    assert again.exit_code == 2
    assert "opsloop.yaml: is there already; give --force to write over it" in again.stderr
    assert (tmp_path / "opsloop.yaml").read_text() == "mine"
    assert run("import", "slos.yaml", "--out", "opsloop.yaml", "--force").exit_code == 0
    assert (tmp_path / "opsloop.yaml").read_text() == written
    assert sorted(p.name for p in tmp_path.iterdir()) == ["opsloop.yaml", "slos.yaml"]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_what_is_half_valid_writes_nothing(run: Run, tmp_path: Path, force: list[str]) -> None:
    (tmp_path / "slos.yaml").write_text(GOOD + "---\nversion: prometheus/v1\nservice: b\n")
    if force:
        (tmp_path / "opsloop.yaml").write_text("mine")
    before = sorted((p.name, p.read_text()) for p in tmp_path.iterdir())
    done = run("import", "slos.yaml", "--out", "opsloop.yaml", *force)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "slos.yaml:24: slos: slos is missing (add slos:)\n"
        "error: import: 1 problem; nothing was written\n"
    )
    assert sorted((p.name, p.read_text()) for p in tmp_path.iterdir()) == before
    value = json.loads(run("import", "slos.yaml", "--json").stdout)
    assert value["catalog"] == ""
    assert [(e["line"], e["path"]) for e in value["errors"]] == [(24, "slos")]


def test_json_says_all(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slos.yaml").write_text(GOOD)
    done = run("import", "slos.yaml", "--json", "--out", "opsloop.yaml")
    assert (done.exit_code, done.stderr) == (0, "")
    value = json.loads(done.stdout)
    assert list(value) == ["catalog", "out", "slos", "not_carried", "changed", "errors"]
    assert value["catalog"] == (tmp_path / "opsloop.yaml").read_text()
    assert value["slos"] == [
        {
            "service": "search", "slo": "answers", "file": "slos.yaml", "line": 16,
            "sli": "events", "exact": True, "why": "",
        }
    ]  # fmt: skip
    (left,) = value["not_carried"]
    assert list(left) == ["file", "line", "path", "what", "why", "instead"]
    assert (left["line"], left["path"]) == (7, "spec.page.slow")
    assert [c["now"] for c in value["changed"]] == ["28d"]


def test_nothing_to_carry_is_said(run: Run, tmp_path: Path) -> None:
    text = GOOD.replace("objective: 99", "objective: 100")
    (tmp_path / "slos.yaml").write_text(text)
    done = run("import", "slos.yaml", "--out", "opsloop.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not carried: slos.yaml:17: slos[0].objective: the SLO, whose objective" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: import: nothing can be carried over")
    assert not (tmp_path / "opsloop.yaml").exists()
    value = json.loads(run("import", "slos.yaml", "--json").stdout)
    assert len(value["not_carried"]) == 3
    assert len(value["errors"]) == 1


def test_a_folder_with_folders_and_hidden_ones(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slos" / "deep" / ".git").mkdir(parents=True)
    (tmp_path / "slos" / "deep" / "a.yml").write_text(GOOD)
    (tmp_path / "slos" / "deep" / ".git" / "b.yaml").write_text("no")
    (tmp_path / "slos" / "notes.txt").write_text("no")
    value = json.loads(run("import", "slos", "--json").stdout)
    assert [s["file"] for s in value["slos"]] == ["slos/deep/a.yml"]
    (tmp_path / "empty").mkdir()
    assert "has no *.yaml file" in run("import", "empty").stderr


def test_stdin_and_team(run: Run) -> None:
    text = GOOD.replace("labels: {team: search}\n", "")
    done = CliRunner().invoke(cli, ["import", "-", "--team", "finders"], input=text)
    assert done.exit_code == 0
    assert "    team: finders\n" in done.stdout
    assert "# from -:15; exact" in done.stdout
    bad = run("import", "-", "--team", "Big Team")
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert "--team: 'Big Team' is no name" in bad.stderr


def test_files_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    missing = run("import", "nowhere.yaml")
    assert (missing.exit_code, missing.stderr) == (
        2,
        "error: nowhere.yaml: cannot be read: No such file or directory\n",
    )
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    assert "latin.yaml: is not UTF-8 on line 2" in run("import", "latin.yaml").stderr
    (tmp_path / "slos.yaml").write_text(GOOD)
    nowhere = run("import", "slos.yaml", "--out", "no/such/opsloop.yaml")
    assert nowhere.exit_code == 2
    assert "its folder is not there; mkdir -p no/such" in nowhere.stderr


def test_the_same_thing_in_many_places_is_one_line(run: Run, tmp_path: Path) -> None:
    one = "\n".join(line for line in GOOD.split("---\n")[1].splitlines())
    slos = one.split("slos:\n")[1]
    more = [
        slos.replace("name: answers", f"name: answers-{i}").replace("tive: 99", f"tive: 98.{i}")
        for i in range(5)
    ]
    text = one + "\n" + "\n".join(more)
    (tmp_path / "slos.yaml").write_text(text.replace("alerting: {}", "alerting: {name: Same}"))
    done = run("import", "slos.yaml")
    assert done.stderr.count("SLOBurnRateCritical") == 1
    assert "[and 5 more, see --json]" in done.stderr
    assert len(json.loads(run("import", "slos.yaml", "--json").stdout)["not_carried"]) == 6
