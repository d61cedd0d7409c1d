"""docs/reference/metrics.md lists what the engine really signals, and all of it."""

from __future__ import annotations

import ast

from opsloop.web.signals import CORE, SIGNALS
from tests.docs.pages import ROOT


def _signalled() -> set[tuple[str, tuple[str, ...]]]:
    """(metric, labels) of each call of the Signals port in the core."""
    found = set()
    for file in (ROOT / "src/opsloop/remediation").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("count", "observe") and _is_signals(node.func.value):
                assert isinstance(node.args[0], ast.Constant), f"{file}: a name that is no text"
                name = node.args[0].value
                assert isinstance(name, str)
                suffix = "_total" if node.func.attr == "count" else ""
                labels = tuple(sorted(k.arg or "" for k in node.keywords))
                found.add((f"opsloop_{name}{suffix}", labels))
    return found


def _is_signals(value: ast.expr) -> bool:
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return str(name).lstrip("_") == "signals"


def test_what_the_core_signals_is_declared_and_what_is_declared_is_signalled() -> None:
    assert _signalled() == {(s.name, tuple(sorted(s.labels))) for s in CORE}


def test_names_are_as_prometheus_wants_them() -> None:
    assert len({s.name for s in SIGNALS}) == len(SIGNALS)
    for signal in SIGNALS:
        assert signal.name.startswith("opsloop_")
        assert signal.name.endswith("_total") == (signal.kind == "counter"), signal.name
        assert signal.help.endswith("."), signal.name
