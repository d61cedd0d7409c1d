"""The dimension of what a PromQL query computes: events, bytes, seconds, in their powers."""

from __future__ import annotations

from typing import Any

import promql_parser as p

from tests.compile.promql_tree import COMPARED, SETS

Dimension = dict[str, int]
"""Base (n, B or s) to its power; {}: a share, a number of times, a state. None: any (a constant)."""

_EXACT: dict[str, Dimension] = {
    "node_load1": {"n": 1},
    "slo:coverage:period": {},
    "slo:exhaustion:seconds": {"s": 1},
    "slo:budget_left:events": {"n": 1},
    "slo:budget_left:minutes": {"s": 1},
}
_ENDINGS: tuple[tuple[str, Dimension], ...] = (
    ("_timestamp_seconds", {"s": 1}),
    ("_seconds_bucket", {"s": 1}),
    ("_seconds_total", {"s": 1}),
    ("_seconds", {"s": 1}),
    ("_bytes_total", {"B": 1}),
    ("_bytes", {"B": 1}),
    (":value", {}),
    (":ratio", {}),
    (":period", {"n": 1}),
    (":tile1m", {"n": 1}),
    ("_total", {"n": 1}),
)
_STATES = (
    "up", "ALERTS", "opsloop_active", "opsloop_paused", "pg_up", "opsloop_container_running",
    "opsloop_container_info",
)  # fmt: skip
_WANTED: dict[str, tuple[Dimension, ...]] = {
    "share": ({},),
    "times": ({},),
    "state": ({},),
    "count": ({"n": 1}, {}),
    "time": ({"s": 1},),
    "data": ({"B": 1},),
    "data rate": ({"B": 1, "s": -1},),
    "event rate": ({"n": 1, "s": -1},),
}


class Mixed(ValueError):
    """Two things of different dimension are added or compared."""


def fits(dimension: Dimension | None, families: tuple[str, ...]) -> bool:
    return dimension is None or any(dimension in _WANTED[f] for f in families)


def dimension(node: Any) -> Dimension | None:
    """Of what an expression computes. Raises Mixed."""
    match node:
        case p.NumberLiteral() | p.StringLiteral():
            return None
        case p.ParenExpr() | p.UnaryExpr() | p.SubqueryExpr():
            return dimension(node.expr)
        case p.MatrixSelector():
            return _metric(node.vector_selector)
        case p.VectorSelector():
            return _metric(node)
        case p.AggregateExpr():
            inner = dimension(node.expr)
            return {"count": {"n": 1}, "group": None}.get(str(node.op), inner)
        case p.Call():
            return _call(node)
        case p.BinaryExpr():
            return _binary(node)
    raise AssertionError(type(node))


def _metric(node: Any) -> Dimension:
    name = node.name or next(m.value for m in node.matchers.matchers if m.name == "__name__")
    if name in _EXACT:
        return _EXACT[name]
    if name in _STATES or name.startswith("slo:burn_rate:"):
        return {}
    if ":latency_seconds:" in name:
        return {"s": 1}
    if name in ("service:requests:rate1m", "service:errors:rate1m"):
        return {"n": 1, "s": -1}
    if name == "service:error_ratio:rate1m":
        return {}
    # A bucket counts events; its bound is what a quantile gives.
    return next((d for end, d in _ENDINGS if name.endswith(end)), {"n": 1})


def _call(node: Any) -> Dimension | None:
    name, arguments = node.func.name, list(node.args)
    if name in ("time", "timestamp"):
        return {"s": 1}
    if name in ("vector", "scalar") or name.startswith(("day", "hour", "minute")):
        return None
    if name == "histogram_quantile":
        return _base(arguments[1])
    inner = dimension(arguments[0])
    if name in ("rate", "irate", "deriv"):
        return _times(_counted(arguments[0], inner), {"s": 1}, -1)
    if name == "increase":
        return _counted(arguments[0], inner)
    return {"n": 1} if name in ("count_over_time", "changes") else inner


def _counted(node: Any, inner: Dimension | None) -> Dimension | None:
    name = node.vector_selector.name or ""
    return {"n": 1} if name.endswith(("_bucket", "_count")) else inner


def _base(node: Any) -> Dimension:
    """Of the bounds of the buckets below."""
    while not isinstance(node, p.MatrixSelector):
        node = node.expr if hasattr(node, "expr") else list(node.args)[-1]
    return _metric(node.vector_selector)


def _times(left: Dimension | None, right: Dimension | None, power: int) -> Dimension | None:
    if left is None and right is None:
        return None
    found = dict(left or {})
    for base, exponent in (right or {}).items():
        found[base] = found.get(base, 0) + power * exponent
    return {b: e for b, e in found.items() if e}


def _binary(node: Any) -> Dimension | None:
    left, right, op = dimension(node.lhs), dimension(node.rhs), str(node.op)
    if op == "*":
        return _times(left, right, 1)
    if op == "/":
        if isinstance(node.rhs, p.NumberLiteral) and node.rhs.val == 86_400 and left == {"s": 1}:
            return {"n": 1}  # days
        return _times(left, right, -1)
    if op in ("and", "unless"):
        return left
    if None not in (left, right) and left != right:
        raise Mixed(f"{node.lhs} {op} {node.rhs}: {left} and {right}")
    if op in COMPARED and node.modifier is not None and node.modifier.return_bool:
        return {}
    assert op in ("+", "-", "or", *SETS, *COMPARED)
    return right if left is None else left
