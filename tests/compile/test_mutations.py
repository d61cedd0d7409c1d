"""Every shipped alert is broken in each small way, and promtool's tests must see it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from opsloop.catalog.model import Catalog
from tests.compile import catalogs
from tests.compile.mutants import Mutant, Rule, mutants
from tests.compile.slo_mutants import sampled
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
    ("BackupStale", "[15m] to [30m] (2)"): "not told apart yet: for how long a failure is known",
    ("BackupStale", "[15m] to [7m30s] (2)"): "not told apart yet: for how long a failure is known",
    ("CertificateExpiring", "for doubled"): "not told apart yet: its tests look every few minutes",
    ("EngineStuck", "0 to 1 (4)"): "a time of 1970 is none",
    ("IncidentAftermath", "annotation "): "nobody is told of it",
    **{
        ("IncidentAftermath", f"by {label} dropped ({nth})"): "what is taken away is by service"
        for label in ("team", "tier", "environment")
        for nth in (2, 4)
    },
}
# All mutants take an hour: of those of a catalog one in so many is taken with the slow tests, and
# few with the core ones; MUTANTS_EVERY=1 takes all.
CORE = 89
EACH = {"shop": 7, "the rest of the shop": 29, "without policies": 7, "declared": 2}
DECLARED = ("Backup", "Certificate", "Probe")
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
    if covers := rule["labels"].get("covers"):
        part = ".".join(x for x in (covers, rule["labels"].get("period")) if x)
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


def catalog_named(name: str, folder: Path) -> Catalog:
    if name == "declared":
        return catalogs.catalog_of(catalogs.NO_POLICIES + catalogs.DECLARED, folder)
    if name == "without policies":
        return catalogs.catalog_of(catalogs.NO_POLICIES, folder)
    return catalogs.shop()


def rules_of(name: str, build: Path, own: Iterable[str]) -> list[tuple[str, Rule]]:
    """(file, rule) of those rules of a catalog that are broken under this name."""
    rules = [(f, r) for f, r in alerting_rules(build) if r["alert"] not in own]
    if name == "declared":
        return [(f, r) for f, r in rules if r["alert"].startswith(DECLARED)]
    rest = name == "the rest of the shop"
    return [(f, r) for f, r in rules if (r["alert"] not in OF_SERVICES) == rest]


def surviving(
    name: str, every: int, folder: Path, *, unchanged: bool
) -> tuple[list[str], int, set[str]]:
    """(survivors that nothing explains, how many were made, of which alerts)."""
    catalog = catalog_named(name, folder / "catalog")
    build = catalogs.built(catalog, folder)
    survivors, count, alerts = [], 0, set()
    for at, (file, rule) in enumerate(rules_of(name, build, catalog.alerts)):
        alert = rule["alert"]
        made = [m for m in mutants(rule) if sampled(f"{alert} {m.what}", every)]
        alerts.add(alert)
        count += len(made)
        made += [Mutant("unchanged", rule)] if unchanged else []
        alive = living(build, folder / f"mutants-{at}", file, rule, made) if made else set()
        if unchanged:
            assert "unchanged" in alive, f"the tests of {alert} fail as they are"
            alive.remove("unchanged")
        survivors += [f"{alert}: {w}" for w in sorted(alive) if not explained(alert, w)]
    return survivors, count, alerts


def test_some_broken_rules(tmp_path: Path) -> None:
    survivors, count, _ = surviving("shop", CORE, tmp_path / "shop", unchanged=False)
    more, others, _ = surviving("the rest of the shop", CORE, tmp_path / "rest", unchanged=False)
    assert survivors + more == []
    assert count + others > 10, "mutants are made"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.long if n == "declared" else pytest.mark.full)
        for n in EACH
    ],
)
def test_no_broken_rule_passes_its_tests(name: str, tmp_path: Path) -> None:
    every = int(os.environ.get("MUTANTS_EVERY", EACH[name]))
    survivors, count, alerts = surviving(name, every, tmp_path, unchanged=True)
    assert not survivors, "\n".join([f"of {count} mutants live:", *survivors])
    if name in ("shop", "without policies"):
        assert alerts == OF_SERVICES
    assert len(alerts) > 4
    assert count > 150 / every, "mutants are made"
