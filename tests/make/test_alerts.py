"""`make validate-prometheus` and `make test-alerts` pass on the shop, and fail on a broken rule."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.house.tracked import ROOT
from tests.support.servers import require

CATALOG = """
apiVersion: opsloop/v1
services:
  api: {team: shop, targets: {static: ["127.0.0.1:1"]}}
rules:
  own:jobs:sum: {expr: EXPR}
alerts:
  QueueLong:
    expr: own:jobs:sum > 10
    severity: P1
    service: api
    summary: The queue is long
    tests:
      - name: a long queue
        series: [{series: 'jobs{queue="a"}', values: "VALUEx20"}]
        expect: [{at: 2m, firing: true}]
"""


def run_make(target: str, catalog: str | Path) -> subprocess.CompletedProcess[str]:
    require("promtool")
    require("amtool")
    return subprocess.run(
        ["make", "--no-print-directory", target, f"CATALOG={catalog}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


FULL = pytest.mark.full  # promtool runs every test of the stack's own alerts too


@pytest.mark.parametrize(
    "target",
    # The same tests run in tests/compile/test_tools.
    ["validate-prometheus", pytest.param("test-alerts", marks=pytest.mark.long)],
)
def test_the_shop_passes(target: str) -> None:
    done = run_make(target, "examples/shop/opsloop.yaml")
    assert done.returncode == 0, done.stderr
    assert "passed promtool check config, promtool check rules, amtool check-config" in done.stdout


@pytest.mark.parametrize(
    ("expr", "value", "validation", "tests"),
    [
        pytest.param("sum(jobs)", "11+0", "", "", marks=FULL),
        # It does not fire as its test expects.
        pytest.param("sum(jobs)", "10+0", "", "QueueLong", marks=FULL),
        # A rule below it was changed.
        pytest.param("sum(jobs) - 5", "11+0", "", "QueueLong", marks=FULL),
        ("sum(jobs", "11+0", "unclosed left parenthesis", "unclosed left parenthesis"),
    ],
)
def test_a_broken_rule_fails(
    expr: str, value: str, validation: str, tests: str, tmp_path: Path
) -> None:
    """validation, tests: what the two targets complain of; empty when they pass."""
    catalog = tmp_path / "opsloop.yaml"
    catalog.write_text(CATALOG.replace("EXPR", f'"{expr}"').replace("VALUE", value))
    for target, complaint in (("validate-prometheus", validation), ("test-alerts", tests)):
        done = run_make(target, catalog)
        assert bool(done.returncode) is bool(complaint), done.stderr
        assert complaint in done.stderr
