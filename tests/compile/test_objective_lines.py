"""The lines of objectives on the charts are what the catalog promises, read by promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from opsloop.catalog.model import Catalog
from opsloop.catalog.slo import pairs_of
from opsloop.compile.dashboards import dashboards_of
from tests.compile import catalogs
from tests.support.servers import require


def lines(catalog: Catalog) -> list[tuple[str, dict[str, str], dict[str, float]]]:
    """(query, values of variables, samples that it must give by label slo) of every line."""
    found = []
    for service, declared in catalog.services.items():
        slos = declared.slos
        errors = {n: float(s.objective.budget) for n, s in slos.items() if s.sli.availability}
        seconds = {n: s.sli.latency.threshold.seconds for n, s in slos.items() if s.sli.latency}
        shares = {n: float(slos[n].objective.ratio) for n in seconds}
        mine = {"service": service}
        for uid, number, expected in (
            ("opsloop-signals", 6, errors),
            ("opsloop-signals", 8, seconds),
            ("opsloop-signals", 10, shares),
        ):
            (query,) = limits(catalog, uid, number)
            found.append((query.text(mine), mine, expected))
        for name, slo in slos.items():
            chosen = {**mine, "slo": name}
            factors = {
                f"{kind} {at}": [float(p.factor) for p in pairs_of(slo) if p.kind == kind][
                    at : at + 1
                ]
                for kind in ("page", "ticket")
                for at in (0, 1)
            }
            burn = limits(catalog, "opsloop-slo", 8)
            for query, factor in zip(burn, factors.values(), strict=True):
                found.append(
                    (query.text(chosen), chosen, dict.fromkeys([name], *factor) if factor else {})
                )
    return found


def limits(catalog: Catalog, uid: str, number: int) -> list[Any]:
    (dashboard,) = (d for d in dashboards_of(catalog) if d.uid == uid)
    return [q for q in dashboard.panel(number).queries if q.role == "limit"]


def test_lines_are_those_of_the_catalog(tmp_path: Path) -> None:
    for name, catalog in {
        "shop": catalogs.shop(),
        "several": catalogs.catalog_of(catalogs.SEVERAL, tmp_path / "catalog"),
    }.items():
        build = catalogs.built(catalog, tmp_path / name)
        tests = [
            {
                "expr": text,
                "eval_time": "5m",
                "exp_samples": [
                    {"labels": f'{{slo="{slo}"}}', "value": value}
                    for slo, value in expected.items()
                ],
            }
            for text, _, expected in lines(catalog)
        ]
        assert len(tests) > 10
        test = {
            "rule_files": ["rules/slo-objectives.yml"],
            "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": [], "promql_expr_test": tests}],
        }
        (build / "prometheus/lines.yml").write_text(json.dumps(test))
        done = subprocess.run(
            [require("promtool"), "test", "rules", "lines.yml"],
            cwd=build / "prometheus", capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
