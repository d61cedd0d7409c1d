"""Sloth's metric names beside ours: the series and labels that its dashboards ask for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from opsloop import __version__
from opsloop.compile.slo_names import (
    BUDGET,
    GROUP_SLOTH,
    LEFT_RATIO,
    RATIO_PERIOD,
    burn_rate,
    window_ratio,
)
from opsloop.compile.slo_promtool import series
from opsloop.compile.slo_sloth import sloth_groups
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.yamltext import dump
from tests.compile import catalogs
from tests.compile.slo_specs import spec
from tests.support.servers import require

KEPT = {"service": "api", "team": "shop", "tier": "1", "environment": "demo"}
SLOTH = {
    "sloth_id": "api-availability", "sloth_service": "api", "sloth_slo": "availability",
}  # fmt: skip


def ours(one: SLOSpec) -> list[tuple[str, float]]:
    """Every series of ours that the group reads, with a value that is told apart."""
    sli = {"service": one.service, "sli": one.sli}
    period = {"period": str(one.period)}
    found = [(series(BUDGET, one.series_labels), float(one.budget))]
    for at, window in enumerate(sorted({w for p in one.pairs for w in p.windows})):
        ratio = 0.001 * (at + 1)
        found.append((series(window_ratio(window), sli), ratio))
        found.append(
            (series(burn_rate(window), one.series_labels | period), ratio / float(one.budget))
        )
    found.append((series(RATIO_PERIOD, sli | period), 0.0004))
    left = 1 - 0.0004 / float(one.budget)
    return [*found, (series(LEFT_RATIO, one.series_labels), left)]


def test_each_name_has_the_value_and_labels_that_sloth_gives_it(tmp_path: Path) -> None:
    one, other = spec(), spec("availability", "web", objective="99%", period="7d")
    groups = sloth_groups([one, other])
    (tmp_path / "rules.yml").write_text(dump({"groups": groups}))
    windows = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    wanted = {
        "slo:objective:ratio": 0.999,
        "slo:error_budget:ratio": 0.001,
        "slo:time_period:days": 30.0,
        "slo:current_burn_rate:ratio": 1.0,
        "slo:period_burn_rate:ratio": 0.4,
        "slo:period_error_budget_remaining:ratio": 0.6,
        "sloth_slo_info": 1.0,
    } | {f"slo:sli_error:ratio_rate{w}": 0.001 * (at + 1) for at, w in enumerate(windows)}
    wanted["slo:sli_error:ratio_rate30d"] = 0.0004
    checks = []
    for name, value in wanted.items():
        labels = KEPT | SLOTH
        if "ratio_rate" in name:
            labels |= {"sloth_window": name.rpartition("ratio_rate")[2], "period": "30d"}
        if name in ("slo:time_period:days", "slo:current_burn_rate:ratio"):
            labels |= {"period": "30d"}
        if name == "sloth_slo_info":
            labels |= {
                "sloth_mode": "opsloop", "sloth_spec": "opsloop/v1",
                "sloth_version": __version__, "sloth_objective": "99.9",
            }  # fmt: skip
        # promtool compares floats exactly; a difference of one part in a million is the same.
        told = series(name, labels)
        same = f'abs({name}{{sloth_service="api"}} - {value!r}) < bool 0.000001'
        checks += [
            {"expr": same, "exp_samples": [{"labels": series("", labels), "value": 1}]},
            {
                "expr": f'count({name}{{sloth_service="api"}})',
                "exp_samples": [{"labels": "{}", "value": 1}],
            },
            {"expr": f"group({told})", "exp_samples": [{"labels": "{}", "value": 1}]},
        ]
    checks.append(
        {
            "expr": 'slo:time_period:days{sloth_id="web-availability"} * 1',
            "exp_samples": [
                {
                    "labels": series(
                        "",
                        KEPT
                        | {"service": "web", "sloth_id": "web-availability", "sloth_service": "web"}
                        | {"sloth_slo": "availability", "period": "7d"},
                    ),
                    "value": 7,
                }
            ],
        }
    )
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": f"{value!r}x5"}
                    for name, value in [*ours(one), *ours(other)]
                ],
                "promql_expr_test": [c | {"eval_time": "3m"} for c in checks],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [require("promtool"), "test", "rules", "test.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("wanted", [True, False])
def test_the_catalog_asks_for_them(tmp_path: Path, wanted: bool) -> None:
    text = catalogs.SHOP.read_text()
    if wanted:
        text = text.replace("stack:\n", "stack:\n  slo: {sloth_names: true}\n", 1)
    build = catalogs.built(catalogs.catalog_of(text, tmp_path / "catalog"), tmp_path)
    path = build / f"prometheus/rules/{GROUP_SLOTH}.yml"
    assert path.exists() is wanted
    if wanted:
        done = subprocess.run(
            [require("promtool"), "check", "rules", str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout + done.stderr
        assert "duplicate" not in done.stdout + done.stderr


def test_nothing_to_name_is_no_group() -> None:
    assert sloth_groups([]) == []
