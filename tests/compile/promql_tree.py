"""What a PromQL query is made of, by its syntax tree: selectors, labels, dimensions, most series."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser as p

COUNTED = ("rate", "irate", "increase", "resets", "changes", "count")
_DURATIONS = {"$__rate_interval": "4242s", "$__interval": "4243s", "$__range": "4244s"}
RATE_INTERVAL_S = 4242.0
SETS = ("and", "or", "unless")
COMPARED = ("==", "!=", ">", "<", ">=", "<=")


def parsed(expr: str) -> Any:
    """The tree of an expression with variables; a special one becomes a duration that is told."""
    for name, value in _DURATIONS.items():
        expr = expr.replace(name, value)
    return p.parse(expr)


@dataclass(frozen=True)
class Use:
    """A selector where it stands: its range in seconds and the functions around it, inner first."""

    metric: str
    matchers: Mapping[str, tuple[str, str]]
    range_s: float | None
    around: tuple[str, ...]
    by: tuple[frozenset[str] | None, ...]  # of each aggregation around it; None: `without`


def uses(node: Any, around: tuple[str, ...] = (), by: tuple[Any, ...] = ()) -> Iterator[Use]:
    """Every selector below a node."""
    match node:
        case p.AggregateExpr():
            yield from uses(node.expr, (str(node.op), *around), (_by(node), *by))
        case p.Call():
            for argument in node.args:
                yield from uses(argument, (node.func.name, *around), by)
        case p.BinaryExpr():
            yield from uses(node.lhs, around, by)
            yield from uses(node.rhs, around, by)
        case p.SubqueryExpr():
            yield from uses(node.expr, (*around, "[subquery]"), by)
        case p.ParenExpr() | p.UnaryExpr():
            yield from uses(node.expr, around, by)
        case p.MatrixSelector():
            yield _use(node.vector_selector, node.range.total_seconds(), around, by)
        case p.VectorSelector():
            yield _use(node, None, around, by)


def _use(node: Any, range_s: float | None, around: tuple[str, ...], by: tuple[Any, ...]) -> Use:
    found = {m.name: (str(m.op).rpartition(".")[2], m.value) for m in node.matchers.matchers}
    return Use(node.name or "", found, range_s, around, by)


def _by(node: Any) -> frozenset[str] | None:
    if node.modifier is None:
        return frozenset()
    if node.modifier.type == p.AggModifierType.By:
        return frozenset(node.modifier.labels)
    return None


def labels(node: Any) -> frozenset[str] | None:
    """The labels that its series may have; None: those of raw series, whatever they are."""
    match node:
        case p.AggregateExpr():
            if str(node.op) in ("topk", "bottomk"):
                return labels(node.expr)
            return _by(node)
        case p.Call():
            inner = next((labels(a) for a in node.args if _is_vector(a)), frozenset())
            if node.func.name == "histogram_quantile" and inner is not None:
                return inner - {"le"}
            if node.func.name == "label_replace" and inner is not None:
                return inner | {node.args[1].val}
            return inner
        case p.BinaryExpr():
            return _joined(node)
        case p.SubqueryExpr() | p.ParenExpr() | p.UnaryExpr():
            return labels(node.expr)
        case p.VectorSelector() | p.MatrixSelector():
            return None
    return frozenset()


def _is_vector(node: Any) -> bool:
    return not isinstance(node, p.NumberLiteral | p.StringLiteral)


def _joined(node: Any) -> frozenset[str] | None:
    left, right = labels(node.lhs), labels(node.rhs)
    if isinstance(node.lhs, p.NumberLiteral) or _is_scalar(node.lhs):
        return right
    if isinstance(node.rhs, p.NumberLiteral) or _is_scalar(node.rhs):
        return left
    op, how = str(node.op), node.modifier
    if op == "or":
        return left if left == right else (None if None in (left, right) else left & right)  # type: ignore[operator]
    if op in SETS:
        return left
    if how is not None and how.matching is not None:
        if how.card == p.VectorMatchCardinality.OneToMany:
            return right
        if how.card == p.VectorMatchCardinality.ManyToOne:
            return left
        if how.matching.type == p.LabelModifierType.Include:
            return frozenset(how.matching.labels)
    return left


def _is_scalar(node: Any) -> bool:
    while isinstance(node, p.ParenExpr):
        node = node.expr
    return isinstance(node, p.NumberLiteral) or (
        isinstance(node, p.Call) and node.func.name in ("time", "scalar")
    )


def most_series(node: Any, sizes: Mapping[str, float]) -> float:
    """How many series it can have: the product of its labels' values, unless something limits it.

    sizes: label -> how many values it has at most; a label that is pinned by = has one, and what
    has `instance` has the service and job of that. `host` is the size of `instance` for machines.
    What has the labels of raw series, or a label without a size, can have any number.
    """
    limit = _limit(node)
    found = labels(node)
    pinned = _pinned(node)
    product = math.inf
    if found is not None and "instance" in found:
        found -= {"service", "job"}
        if all(u.metric.startswith(("node_", "host:")) for u in uses(node)):
            sizes = {**sizes, "instance": sizes["host"]}
    if found is not None:
        product = math.prod(1 if x in pinned else sizes.get(x, math.inf) for x in found)
    return min(limit, product)


def _limit(node: Any) -> float:
    match node:
        case p.AggregateExpr() if str(node.op) in ("topk", "bottomk"):
            most: Any = node.param
            return min(float(most.val), _limit(node.expr))
        case p.AggregateExpr() | p.SubqueryExpr() | p.ParenExpr() | p.UnaryExpr():
            return _limit(node.expr)
        case p.Call():
            return min((_limit(a) for a in node.args if _is_vector(a)), default=1)
        case p.BinaryExpr():
            if _is_scalar(node.lhs):
                return _limit(node.rhs)
            if _is_scalar(node.rhs) or str(node.op) == "unless":
                return _limit(node.lhs)
            if str(node.op) == "or":
                return _limit(node.lhs) + _limit(node.rhs)
            if str(node.op) == "and":
                how: Any = node.modifier
                on = frozenset(how.matching.labels) if how.matching else None
                mine = labels(node.lhs)
                told_apart = mine is not None and (on is None or mine <= on)
                return min(_limit(node.lhs), _limit(node.rhs) if told_apart else math.inf)
            return min(_limit(node.lhs), _limit(node.rhs))
    return math.inf


def _pinned(node: Any) -> set[str]:
    """Labels of which every selector below has one value."""
    found = [{n for n, (op, _) in u.matchers.items() if op == "Equal"} for u in uses(node)]
    return set.intersection(*found) if found else set()


def without_nan(node: Any) -> bool:
    """Whether a quotient whose divisor may be 0, or a quantile without events, is guarded."""
    match node:
        case p.BinaryExpr():
            op = str(node.op)
            if op in COMPARED and not (node.modifier and node.modifier.return_bool):
                # A comparison drops NaN.
                inner = node.lhs
                while isinstance(inner, p.ParenExpr):
                    inner = inner.expr
                if isinstance(inner, p.Call) and inner.func.name == "histogram_quantile":
                    return True
                if isinstance(inner, p.BinaryExpr) and str(inner.op) == "/":
                    return without_nan(inner.lhs) and without_nan(inner.rhs)
            if op == "/" and not _never_zero(node.rhs):
                return False
            return without_nan(node.lhs) and without_nan(node.rhs)
        case p.Call():
            if node.func.name == "histogram_quantile":
                return False
            return all(without_nan(a) for a in node.args if _is_vector(a))
        case p.AggregateExpr() | p.SubqueryExpr() | p.ParenExpr() | p.UnaryExpr():
            return without_nan(node.expr)
    return True


_NEVER_ZERO = (
    "node_filesystem_size_bytes", "node_memory_MemTotal_bytes", "node_cpu_seconds_total",
    "process_max_fds", "pg_settings_max_connections", "slo:budget:ratio",
)  # fmt: skip


def _never_zero(node: Any) -> bool:
    while isinstance(node, p.ParenExpr):
        node = node.expr
    match node:
        case p.NumberLiteral():
            return bool(node.val)
        case p.BinaryExpr():
            op = str(node.op)
            if op in (">", "!=") and isinstance(node.rhs, p.NumberLiteral):
                return True
            return op == "*" and _never_zero(node.lhs) and _never_zero(node.rhs)
        case p.UnaryExpr() | p.AggregateExpr():
            return _never_zero(node.expr) or str(getattr(node, "op", "")) == "count"
        case p.VectorSelector():
            return node.name in _NEVER_ZERO
        case p.Call():
            return node.func.name == "days_in_month"
    return False
