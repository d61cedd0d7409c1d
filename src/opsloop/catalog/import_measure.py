"""SLIs of other tools as the catalog writes them: exact where proven, PromQL for the rest."""

from __future__ import annotations

import re
from typing import Any

from opsloop.catalog.import_promql import (
    Proof,
    Unproven,
    events,
    good_of,
    selector_text,
)
from opsloop.catalog.import_tokens import NotPromQL, tokens
from opsloop.catalog.imported import Measured
from opsloop.catalog.slo import WINDOW_PLACEHOLDER

LONGEST = 2000  # characters of a selector or query in the catalog
_TEMPLATE = re.compile(r"\{\{-?\s*\$?\.window\s*-?\}\}")
_RATE_ONLY = frozenset(("sum", "rate", "or", "on", "vector"))
_GROUPED = re.compile(r"\b(?:by|without)\s*\(\s*([^()\s][^()]*?)\s*\)")
_FIXED = re.compile(r"\[\s*((?:\d+(?:ms|[smhdwy]))+)\s*\]")


def ready(query: str) -> str:
    """`query` with {window} for Sloth's template. Raises NotPromQL for what no lexer takes."""
    text = _TEMPLATE.sub(WINDOW_PLACEHOLDER, query).strip()
    if "{{" in text:
        raise NotPromQL("holds a template other than {{.window}}")
    if len(text) > LONGEST:
        raise NotPromQL(f"is longer than {LONGEST} characters; record a part of it as a rule")
    tokens(text)
    return text


def grouping(query: str) -> str:
    """The labels that `query` groups by, as text; empty when it does not."""
    return ", ".join(dict.fromkeys(_GROUPED.findall(query)))


def from_errors(errors: str, total: str, *, counters: bool = False) -> Measured:
    """Failed and all events. counters: a bare selector is a counter, since its file says so."""
    try:
        proof = Proof(counters)
        failed, every = proof.linear(errors), proof.linear(total)
        return events(failed, every)
    except Unproven as reason:
        why = str(reason)
    if _is_rate(errors) and _is_rate(total):
        return Measured({"promql": {"errors": errors, "total": total}}, why)
    return Measured(_ratio(f"sum(\n{errors}\n)\n/\nsum(\n{total}\n)"), why)


def from_good(good: str, total: str, *, counters: bool = False) -> Measured:
    """Good and all events."""
    try:
        proof = Proof(counters)
        return good_of(proof.linear(good), proof.linear(total))
    except Unproven as reason:
        why = str(reason)
    if _is_rate(good) and _is_rate(total):
        # With no good series at all every event has failed; an empty answer would hide that.
        part = f"(sum(\n{good}\n) or 0 * sum(\n{total}\n))"
        return Measured({"promql": {"errors": f"sum(\n{total}\n)\n-\n{part}", "total": total}}, why)
    return Measured(_ratio(f"1 - (\nsum(\n{good}\n)\n/\nsum(\n{total}\n)\n)"), why)


def from_ratio(query: str, *, success: bool = False) -> Measured:
    """A share of events that is computed already: of the failed ones, or of the good ones."""
    try:
        return Proof(False).ratio(query, success)
    except Unproven as reason:
        why = str(reason)
    if grouping(query) or not re.search(r"\b(?:sum|avg|max|min|count)\b", query):
        query = f"avg(\n{query}\n)"
    return Measured(_ratio(f"1 - (\n{query}\n)" if success else query), why)


def selectors(total: str, *, errors: str = "", good: str = "") -> Measured | None:
    """Plain selectors as events; None when one of them is more than a metric with matchers."""
    try:
        parts = {n: selector_text(q) for n, q in (("errors", errors), ("good", good)) if q}
        return Measured({"events": {"total": selector_text(total), **parts, "series": "all"}})
    except Unproven:
        return None


def _ratio(query: str) -> dict[str, Any]:
    return {"promql": {"error_ratio": windowed(query)}}


def windowed(query: str) -> str:
    """`query` with {window} in it: for its one fixed range, or as an average over time."""
    if WINDOW_PLACEHOLDER in query:
        return query
    if len(set(_FIXED.findall(query))) == 1:
        return _FIXED.sub(f"[{WINDOW_PLACEHOLDER}]", query)
    return f"avg_over_time((\n{query}\n)[{WINDOW_PLACEHOLDER}:1m])"


def _is_rate(query: str) -> bool:
    """Whether this is surely in events a second: sums of rate() over {window}, nothing else."""
    names = [t for kind, t in tokens(query) if kind == "name"]
    calls = re.findall(r"\b([a-z_]+)\s*\(", query)
    plain = not re.search(r"[*/%^<>@]", re.sub(r"\{[^{}]*\}", "", query))
    ranges = query.count("[")
    return (
        plain
        and set(calls) <= {*_RATE_ONLY, "by", "without"}
        and names.count("rate") == ranges == query.count(f"[{WINDOW_PLACEHOLDER}]")
        and ranges > 0
    )


def averaged(query: str, why: str) -> Measured:
    """A comparison that is 0 or 1 at each moment, averaged over time and over its series."""
    inner = f"avg_over_time((\n{query}\n)[{WINDOW_PLACEHOLDER}:1m])"
    return Measured({"promql": {"error_ratio": f"avg(\n{inner}\n)"}}, why)


def per_minute(measured: Measured) -> Measured:
    """The same SLI with each minute weighing the same, however many events it has."""
    why = "RatioTimeslices weigh each minute the same"
    events = measured.sli.get("events")
    if events is not None:
        total = _rate(events["total"])
        if "good" in events:
            # With no good series at all every event has failed.
            return Measured(
                _ratio(f"1 - (\n({_rate(events['good'])} or 0 * {total})\n/\n{total}\n)"), why
            )
        return Measured(_ratio(f"({_rate(events['errors'])} or 0 * {total})\n/\n{total}"), why)
    promql = measured.sli["promql"]
    if "error_ratio" in promql:
        return Measured(measured.sli, why)
    errors, total = promql["errors"], promql["total"]
    return Measured(_ratio(f"sum(\n{errors}\n)\n/\nsum(\n{total}\n)"), why)


def _rate(selector: str) -> str:
    return f"sum(rate({selector}[{WINDOW_PLACEHOLDER}]))"
