"""The SLO rules and their generated tests, through the real promtool."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.slo_tests import slo_test_files
from opsloop.errors import InputError
from tests.compile.slo_specs import HTTP, SOURCES, of_each_source, spec, written
from tests.support.servers import require

FULL = pytest.mark.full


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([require("promtool"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_tests(root: Path, *patterns: str) -> None:
    files = sorted(f for p in patterns for f in (root / "tests").glob(p))
    assert files, f"no test file like {patterns}"
    promtool("test", "rules", *files)


def check(root: Path) -> None:
    promtool("check", "rules", *sorted((root / "rules").glob("*.yml")))


def test_no_objectives_make_no_rules() -> None:
    assert slo_groups([]) == []
    assert slo_test_files([]) == {}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_tiles_of_each_source(name: str, tmp_path: Path) -> None:
    root = written([spec(source=SOURCES[name], sli=name)], tmp_path)
    check(root)
    if name in ("rates", "ratio"):  # nobody but their author knows the series of free PromQL
        assert not list((root / "tests").glob("slo-sli-*"))
        return
    run_tests(root, "slo-sli-*.yml")


def test_a_slow_scrape_moves_the_tiles(tmp_path: Path) -> None:
    root = written([spec(timeout="75s")], tmp_path)
    text = (root / "rules/slo.yml").read_text()
    assert "offset 1m15s" in text
    assert "offset 2m15s" in text
    run_tests(root, "slo-sli-*.yml")


@pytest.mark.parametrize(
    "period", ["1d", *(pytest.param(p, marks=FULL) for p in ("7d", "30d", "90d"))]
)
def test_windows_and_alerts_of_a_period(period: str, tmp_path: Path) -> None:
    run_tests(written([spec(period=period)], tmp_path), "slo-windows-*.yml")


@pytest.mark.full
@pytest.mark.parametrize("objective", ["99%", "90%", "60%", "99.999%"])
def test_windows_and_alerts_of_an_objective(objective: str, tmp_path: Path) -> None:
    # Of a day, whose windows are the shortest.
    root = written([spec(objective=objective, period="1d")], tmp_path)
    run_tests(root, "slo-windows-*.yml", "slo-budget-*.yml")


@pytest.mark.parametrize("period", ["1d", "36h", "28d", "30d", "90d", "calendar-month"])
def test_budget_of_a_period(period: str, tmp_path: Path) -> None:
    run_tests(written([spec(period=period)], tmp_path), "slo-budget-*.yml")


def many() -> list[SLOSpec]:
    """All sources, periods beside each other on one SLI, own alerting, no pages, a runbook."""
    return [
        *of_each_source(),
        spec("week", period="7d"),
        spec("month", period="calendar-month", objective="99%"),
        spec("careful", alerting="min-50", min_events=50),
        spec("quiet", alerting="no-page", page=False),
        spec("silent", alerting="none", page=False, ticket=False, period="14d"),
        spec("availability", "web", runbook="https://runbooks.example/web"),
    ]


def test_many_objectives_beside_each_other(tmp_path: Path) -> None:
    root = written(many(), tmp_path)
    check(root)
    run_tests(root, "slo-budget-*.yml", "slo-sli-http-availability.yml")


@pytest.mark.long
def test_every_test_of_many_objectives(tmp_path: Path) -> None:
    run_tests(written(many(), tmp_path), "*.yml")


def test_equal_input_gives_equal_bytes_in_any_order(tmp_path: Path) -> None:
    def text(specs: Sequence[SLOSpec], folder: str) -> dict[str, str]:
        root = written(specs, tmp_path / folder)
        return {str(p.relative_to(root)): p.read_text() for p in sorted(root.glob("*/*.yml"))}

    assert text(many(), "a") == text(list(reversed(many())), "b")


def test_heavy_rules_grow_with_what_is_measured_and_not_with_objectives() -> None:
    one = slo_groups([spec()])
    thousand = slo_groups([spec(service=f"s{n}") for n in range(1000)])
    assert [len(g["rules"]) for g in one[1:]] == [len(g["rules"]) for g in thousand[1:]]
    assert len(thousand[0]["rules"]) == 1000


def test_every_range_is_half_open() -> None:
    for group in slo_groups(many()):
        for rule in group["rules"]:
            for part in rule["expr"].split("[")[1:]:
                window = part.partition("]")[0]
                # Free PromQL is its author's; a look-back for the last sample may hold both ends.
                assert window.endswith("999ms") or window in ("30m", "5m"), rule


def test_one_name_for_two_things_is_refused() -> None:
    with pytest.raises(InputError, match="two different things"):
        slo_groups([spec(), spec("other", source=SOURCES["runs"])])
    with pytest.raises(InputError, match="here twice"):
        slo_groups([spec(), spec()])


def test_the_runbook_follows_the_service(tmp_path: Path) -> None:
    rules = [
        rule
        for group in slo_groups([spec(), spec(service="web", runbook="https://runbooks.example/w")])
        for rule in group["rules"]
        if "alert" in rule
    ]
    for rule in rules:
        assert 'eq $labels.service "web"' in rule["annotations"]["runbook"]
        assert "https://runbooks.example/w" in rule["annotations"]["runbook"]
    assert {r["labels"]["severity"] for r in rules if r["alert"] == "SLOBurnRateCritical"} == {"P0"}


def test_tests_name_every_series_that_budgets_write(tmp_path: Path) -> None:
    root = written([spec()], tmp_path)
    tests = "\n".join(p.read_text() for p in (root / "tests").glob("*.yml"))
    rules = yaml.safe_load((root / "rules/slo-budget.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        assert rule.get("record", rule.get("alert")) in tests


def test_many_services_are_not_named_in_selectors() -> None:
    services = [spec(service=f"s{n}", source=HTTP) for n in range(101)]
    tile = slo_groups(services)[1]["rules"][0]["expr"]
    assert "s100" not in tile
    assert "last_over_time(http_requests_total{}" in tile
