"""OpenSLO's alert policies and conditions as burn-rate windows of the catalog."""

from __future__ import annotations

from typing import Any

from opsloop.catalog.import_openslo_sli import Documents
from opsloop.catalog.import_openslo_window import shorthand
from opsloop.catalog.import_read import Map
from opsloop.catalog.import_windows import Kind, Window, alerting, fits, or_shipped
from opsloop.catalog.imported import Origin
from opsloop.catalog.slo import MINUTE, SHORTEST_SHORT, Period
from opsloop.catalog.units import Duration

PAGES = ("page", "critical", "sev1", "sev-1", "p0", "p1", "high", "fatal", "emergency")
SHORT_PART = 12  # a short window ends an alert soon after its cause: a twelfth, as is usual


def alerting_of(library: Documents, spec: Map, period: str) -> dict[str, Any]:
    """What `alertPolicies` say. Without any, an objective has the alerts that all have."""
    windows: list[Window] = []
    asked: set[Kind] = set()
    policies = spec.items("alertPolicies", words=True)
    if not policies:
        why = "the SLO names no alert policy, and an objective nobody hears of is none"
        spec.book.change(spec.origin, "no alerts", "the shipped burn-rate alerts", why)
        return {}
    for given in policies:
        policy = _policy(library, spec, given)
        if policy is not None:
            found = _conditions(library, policy, period)
            asked |= {w.kind for _, w in found}
            windows += [w for at, w in found if fits(spec.book, at, w, period)]
    if not asked:
        return {}
    windows = or_shipped(spec.book, spec.at("alertPolicies"), windows, asked, period)
    # A kind that no condition asks for has no windows, so it has no alerts.
    written = alerting(period, windows)
    return {"windows": written} if written else {}


def _policy(library: Documents, spec: Map, given: Map | str) -> Map | None:
    if isinstance(given, str):
        return library.get("AlertPolicy", given, spec.at("alertPolicies"))
    if given.has("alertPolicyRef"):
        name = given.text("alertPolicyRef")
        given.rest()
        return library.get("AlertPolicy", name, given.at("alertPolicyRef"))
    return given


def _conditions(library: Documents, policy: Map, period: str) -> list[tuple[Origin, Window]]:
    policy.skip("apiVersion", "kind", "metadata")
    spec = policy.map("spec", required=True)
    policy.rest()
    if spec is None:
        return []
    spec.skip("description")
    spec.leave("alertWhenResolved", "whoever was told is told of the end too")
    if not spec.flag("alertWhenNoData", True):
        why = "missing data always alerts, or nobody would see that an objective is blind"
        spec.book.leave(spec.at("alertWhenNoData"), "alertWhenNoData: false", why)
    _targets(library, spec)
    conditions = spec.maps("conditions", required=True)
    breaching = spec.flag("alertWhenBreaching", True)
    spec.rest()
    if not breaching:
        why = "burn-rate alerts fire when they are breached"
        spec.book.leave(spec.at("alertWhenBreaching"), "alertWhenBreaching: false", why)
        return []
    found = [_condition(library, given, period) for given in conditions]
    return [condition for condition in found if condition is not None]


def _targets(library: Documents, spec: Map) -> None:
    named = False
    for given in spec.maps("notificationTargets"):
        named = True
        if given.has("targetRef"):
            library.use("AlertNotificationTarget", given.text("targetRef"))
    if named:
        spec.book.leave(
            spec.at("notificationTargets"),
            "notificationTargets",
            "who is told is in notifications:, with routes by severity and team",
        )


def _condition(library: Documents, given: Map, period: str) -> tuple[Origin, Window] | None:
    condition: Map | None = given
    if given.has("conditionRef"):
        at = given.at("conditionRef")
        condition = library.get("AlertCondition", given.text("conditionRef"), at)
        given.rest()
    if condition is None:
        return None
    condition.skip("apiVersion", "kind", "metadata")
    spec = condition.map("spec", required=True)
    condition.rest()
    rule = spec.map("condition", required=True) if spec is not None else None
    if spec is None or rule is None:
        return None
    spec.skip("description")
    severity = spec.text("severity", required=True)
    spec.rest()
    kind = rule.text("kind") or "burnrate"
    if kind.lower() != "burnrate":
        rule.book.leave(rule.origin, f"a condition of kind {kind!r}", "only burn rates are known")
        return None
    op = rule.text("op")
    if op not in ("", "gt", "gte"):
        rule.book.leave(rule.origin, f"a condition with op {op!r}", "an alert is for fast burning")
        return None
    threshold = rule.number("threshold", required=True)
    long = shorthand(rule, "lookbackWindow")
    if rule.has("alertAfter") and rule.text("alertAfter") not in ("0m", "0"):
        rule.leave("alertAfter", "a short window does this: it must burn as fast as the long one")
    rule.skip("alertAfter")
    rule.rest()
    if threshold is None or long is None:
        return None
    as_kind: Kind = "page" if severity.lower() in PAGES else "ticket"
    short = max(int(long) // SHORT_PART // int(MINUTE) * int(MINUTE), int(SHORTEST_SHORT))
    budget = threshold * int(long) / int(Period.parse(period).length)
    return rule.origin, Window(as_kind, long, Duration(short), budget)
