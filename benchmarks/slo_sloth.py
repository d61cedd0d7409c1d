"""Sloth's rules for one SLO of events, as its documentation describes them: 17 for each."""

from __future__ import annotations

from typing import Any

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
PAGE = (("5m", "1h", "14.4"), ("30m", "6h", "6"))
TICKET = (("2h", "1d", "3"), ("6h", "3d", "1"))


def ratio(errors: str, total: str, window: str) -> str:
    """The SLI of a window: `errors` and `total` are selectors."""
    return f"(sum(rate({errors}[{window}])))\n/\n(sum(rate({total}[{window}])))"


def groups(
    service: str, slo: str, errors: str, total: str, objective: float
) -> list[dict[str, Any]]:
    """Its three groups for a 30-day SLO."""
    ids = {"sloth_id": f"{service}-{slo}", "sloth_service": service, "sloth_slo": slo}
    me = "{" + ", ".join(f'{k}="{v}"' for k, v in ids.items()) + "}"
    on = "on(sloth_id, sloth_slo, sloth_service) group_left"
    recorded = [
        _record(f"slo:sli_error:ratio_rate{w}", ratio(errors, total, w), ids | {"sloth_window": w})
        for w in WINDOWS
    ]
    mean = f"slo:sli_error:ratio_rate5m{me}[30d]"
    recorded.append(
        _record(
            "slo:sli_error:ratio_rate30d",
            f"sum_over_time({mean})\n/ ignoring (sloth_window)\ncount_over_time({mean})",
            ids | {"sloth_window": "30d"},
        )
    )
    budget = f"slo:error_budget:ratio{me}"
    meta = [
        _record("slo:objective:ratio", f"vector({objective})", ids),
        _record("slo:error_budget:ratio", f"vector(1-{objective})", ids),
        _record("slo:time_period:days", "vector(30)", ids),
        _record(
            "slo:current_burn_rate:ratio", f"slo:sli_error:ratio_rate5m{me}\n/ {on}\n{budget}", ids
        ),
        _record(
            "slo:period_burn_rate:ratio", f"slo:sli_error:ratio_rate30d{me}\n/ {on}\n{budget}", ids
        ),
        _record(
            "slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{me}", ids
        ),
        _record("sloth_slo_info", "vector(1)", ids | {"sloth_mode": "cli-gen-prom"}),
    ]
    alerts = [
        _alert("page", PAGE, me, objective, ids),
        _alert("ticket", TICKET, me, objective, ids),
    ]
    name = f"{service}-{slo}"
    return [
        {"name": f"sloth-slo-sli-recordings-{name}", "rules": recorded},
        {"name": f"sloth-slo-meta-recordings-{name}", "rules": meta},
        {"name": f"sloth-slo-alerts-{name}", "rules": alerts},
    ]


def _record(name: str, expr: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"record": name, "expr": expr, "labels": labels}


def _alert(
    severity: str,
    pairs: tuple[tuple[str, str, str], ...],
    me: str,
    objective: float,
    ids: dict[str, str],
) -> dict[str, Any]:
    def above(window: str, factor: str) -> str:
        series = f"slo:sli_error:ratio_rate{window}{me}"
        return f"max({series} > ({factor} * (1-{objective}))) without (sloth_window)"

    expr = "\nor\n".join(f"(\n{above(s, f)}\nand\n{above(lg, f)}\n)" for s, lg, f in pairs)
    return {
        "alert": f"{ids['sloth_id']}-{severity}",
        "expr": expr,
        "labels": {"sloth_severity": severity},
        "annotations": {"summary": "High error rate"},
    }
