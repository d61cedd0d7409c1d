"""Every shipped alert is broken in each small way, and promtool's tests must see it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.compile import catalogs
from tests.compile.mutants import Mutant, Rule, mutants
from tests.support.servers import require

# Which mutants may live, and why: the alert (or any), how the mutant's words begin.
SURVIVORS = {
    ("Watchdog", "1 to "): "its value is not read",
    ("", "min by to max by"): "an instance has one series: it is scraped by one job",
    ("", "max by to min by"): "a file system, and a machine's memory, have one series",
    ("", "rate( to irate("): "steady rates look the same at their end",
    ("DiskWillFill", "0 to 1 "): "full in less than a second is as good as full",
    ("DiskWillFill", "86400 to 95040 (6)"): "both windows have the limit; the long one decides",
    ("BackupMissing", "label backup dropped"): "absent() gives it, from its own matcher",
    ("EngineStuck", "0 to 1 (4)"): "a time of 1970 is none",
}
# The others are of the stack and of hosts, of what is declared; all of their mutants take most of
# an hour, so each 11th is taken; MUTANTS_EVERY=1 takes all.
SOME = 11
OF_SERVICES = {"ServiceDown", "HighErrorRate", "HighLatency", "DiskFull", "MemoryHigh", "Watchdog"}


def alerting_rules(build: Path) -> list[tuple[str, Rule]]:
    """(file, rule) of every alerting rule; those of objectives have mutants of their own."""
    return [
        (path.name, rule)
        for path in (build / f"prometheus/rules/{name}.yml" for name in ("alerts", "loop"))
        if path.exists()
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def named_tests(build: Path, rule: Rule) -> list[Path]:
    policy = rule["labels"].get("policy")
    part = rule["labels"].get("backup") or rule["labels"].get("certificate")
    if part is None and "probe" in rule["labels"]:
        part = f"probe.{rule['labels']['probe']}"
    stem = re.escape(".".join(x for x in (rule["alert"], policy, part) if x))
    found = (build / "prometheus/tests").glob("*.yml")
    return [p for p in found if re.fullmatch(rf"{stem}(\.\d+)?\.yml", p.name)]


def living(build: Path, folder: Path, file: str, rule: Rule, changed: list[Mutant]) -> set[str]:
    """The mutants whose tests all pass; each has its rule alone in a folder of its own."""
    named = named_tests(build, rule)
    assert named, f"no tests of {rule['alert']}"
    paths: dict[str, str] = {}
    for at, mutant in enumerate(changed):
        (folder / f"{at}/rules").mkdir(parents=True)
        (folder / f"{at}/tests").mkdir()
        group = {"name": file.removesuffix(".yml"), "rules": [mutant.rule]}
        (folder / f"{at}/rules/{file}").write_text(json.dumps({"groups": [group]}))
        for test in named:
            path = folder / f"{at}/tests/{test.name}"
            path.write_text(test.read_text())
            paths[str(path)] = mutant.what
    done = subprocess.run(
        [require("promtool"), "test", "rules", *paths], capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    passed = dict.fromkeys(re.findall(r"Unit Testing: +(\S+)\n +SUCCESS", done.stdout))
    seen = re.findall(r"Unit Testing: +(\S+)\n", done.stdout)
    assert sorted(seen) == sorted(paths), "promtool ran every file"
    failed = {what for path, what in paths.items() if path not in passed}
    return {m.what for m in changed} - failed


def explained(alert: str, what: str) -> bool:
    return any(name in ("", alert) and what.startswith(words) for name, words in SURVIVORS)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("shop", marks=pytest.mark.full),
        pytest.param("the rest of the shop", marks=pytest.mark.full),
        pytest.param("without policies", marks=pytest.mark.full),
        pytest.param("declared", marks=pytest.mark.full),
    ],
)
def test_no_broken_rule_passes_its_tests(name: str, tmp_path: Path) -> None:
    if name == "declared":
        text = catalogs.NO_POLICIES + catalogs.DECLARED
        catalog = catalogs.catalog_of(text, tmp_path / "catalog")
    elif name == "without policies":
        catalog = catalogs.catalog_of(catalogs.NO_POLICIES, tmp_path / "catalog")
    else:
        catalog = catalogs.shop()
    build = catalogs.built(catalog, tmp_path)
    every = (
        1 if name in ("shop", "without policies") else int(os.environ.get("MUTANTS_EVERY", SOME))
    )
    survivors, count = [], 0
    rules = [(f, r) for f, r in alerting_rules(build) if r["alert"] not in catalog.alerts]
    if name == "declared":
        rules = [(f, r) for f, r in rules if r["alert"].startswith(("Backup", "Certificate"))]
    else:
        rest = name == "the rest of the shop"
        rules = [(f, r) for f, r in rules if (r["alert"] not in OF_SERVICES) == rest]
    for at, (file, rule) in enumerate(rules):
        made = [Mutant("unchanged", rule), *list(mutants(rule))[::every]]
        alive = living(build, tmp_path / f"mutants-{at}", file, rule, made)
        assert "unchanged" in alive, f"the tests of {rule['alert']} fail as they are"
        alive.remove("unchanged")
        survivors += [f"{rule['alert']}: {w}" for w in alive if not explained(rule["alert"], w)]
        count += len(made) - 1
    assert not survivors, "\n".join(["survivors:", *survivors])
    alerts = {rule["alert"] for _, rule in rules}
    if name in ("shop", "without policies"):
        assert alerts == OF_SERVICES
    assert len(alerts) > 4
    assert count > (150 if every == 1 else 30), "mutants are made"
