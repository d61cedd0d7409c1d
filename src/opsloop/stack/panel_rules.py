"""The dashboards' queries as a rules file, so that promtool reads every one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opsloop.compile.grafana_files import DASHBOARDS
from opsloop.compile.panelvars import SPECIAL, substituted, uses
from opsloop.compile.yamltext import dump

_DURATION = "5m"
_VALUE = "x"


def rules_of(root: Path) -> str | None:
    """One rule for each query of the dashboards in the bundle at `root`, each named by dashboard,
    panel and query; None without dashboards."""
    rules = []
    for path in sorted((root / DASHBOARDS).glob("*.json")):
        dashboard = json.loads(path.read_text())
        for name, expr in _queries(dashboard):
            values = {n: _DURATION if n in SPECIAL else _VALUE for n in uses(expr)}
            rules.append({"record": name, "expr": substituted(expr, values)})
    return dump({"groups": [{"name": "dashboards", "rules": rules}]}) if rules else None


def _queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    uid = str(dashboard["uid"]).replace("-", "_")
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"{uid}:panel_{panel['id']}:{target['refId']}", target["expr"]
    for number, annotation in enumerate(dashboard["annotations"]["list"]):
        yield f"{uid}:annotation_{number}", annotation["expr"]
