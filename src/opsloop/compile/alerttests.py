"""promtool unit tests of every alert, as files: shipped ones from cases, own ones as declared."""

from __future__ import annotations

from typing import Any

from opsloop import names
from opsloop.catalog.model import AlertTest, Catalog
from opsloop.catalog.units import Duration
from opsloop.compile import testcases
from opsloop.compile.alertrule import OWN
from opsloop.compile.alerts import GROUP_ALERTS, GROUP_LOOP, AlertRule, interval_of
from opsloop.compile.conditions import Clause
from opsloop.compile.prometheus import up_jobs
from opsloop.compile.rules import GROUP_HOST, GROUP_OWN, GROUP_SERVICE
from opsloop.compile.selectors import quote
from opsloop.compile.slo_names import GROUP_BUDGET, GROUP_OBJECTIVES, GROUP_WINDOWS
from opsloop.compile.testseries import Case, Subject
from opsloop.compile.yamltext import dump

_RULES = "../rules"
_NOTE = "Written by opsloop build; run by promtool test rules."
# Clauses of one rule that are tested: they differ in numbers and selectors only.
_MOST_CLAUSES = 8
_MOST_AFTERMATHS = 3  # one of a service's own incidents, two of what others depend on


def test_files(catalog: Catalog, rules: list[AlertRule], groups: list[str]) -> dict[str, str]:
    """File name to text. groups: the names of the rule files that there are.

    A shipped rule has a file for each of its first clauses, about one subject of it: what a
    clause's subjects share is the expression itself.
    """
    found: dict[str, str] = {}
    for rule in rules:
        stem = rule.stem
        if rule.shape == OWN:
            found |= _own(catalog, rule, stem, groups)
            continue
        for at, subject in enumerate(_subjects(catalog, rule)):
            cases = testcases.cases(subject) if subject else testcases.watchdog(rule)
            if cases:
                found[f"{stem}.{at}.yml" if at else f"{stem}.yml"] = _file(rule, cases)
    return found


def _subjects(catalog: Catalog, rule: AlertRule) -> list[Subject | None]:
    """What the rule is tested on; None for Watchdog, which is about nothing."""
    if rule.shape == names.WATCHDOG:
        return [None]
    most = _MOST_AFTERMATHS if rule.shape == names.INCIDENT_AFTERMATH else _MOST_CLAUSES
    return [
        Subject(catalog, rule, clause, name)
        for clause in rule.clauses[:most]
        for name in _picked(catalog, rule, clause)
    ]


def _picked(catalog: Catalog, rule: AlertRule, clause: Clause) -> list[str]:
    """The first subject; of ServiceDown, one that is scraped and one behind an exporter."""
    if rule.shape != names.SERVICE_DOWN:
        return [clause.subjects[0]]
    return [
        found[0]
        for jobs in up_jobs(catalog)
        if (found := [j for j in jobs if j in clause.subjects])
    ]


def _file(rule: AlertRule, cases: list[Case]) -> str:
    group = GROUP_LOOP if rule.urgent else GROUP_ALERTS
    value = {
        "rule_files": [f"{_RULES}/{group}.yml"],
        "evaluation_interval": str(cases[0].tick),
        "tests": [_test(rule, case) for case in cases],
    }
    return dump(value, _NOTE)


def _test(rule: AlertRule, case: Case) -> dict[str, Any]:
    test: dict[str, Any] = {
        "name": case.name,
        "interval": str(case.tick),
        "input_series": [{"series": s.series, "values": s.values} for s in case.series],
    }
    if rule.shape == names.INCIDENT_AFTERMATH:
        return test | {"promql_expr_test": [_asked(rule, case, *check) for check in case.checks]}
    checks = []
    for at, value in case.checks:
        check: dict[str, Any] = {
            "eval_time": str(Duration(at * int(case.tick))),
            "alertname": rule.alert,
        }
        if value is not None:
            labels = {**case.labels, **rule.labels}
            said = {k: w.render(case.labels, value) for k, w in rule.annotations.items()}
            check["exp_alerts"] = [{"exp_labels": labels, "exp_annotations": said}]
        checks.append(check)
    return test | {"alert_rule_test": checks}


def _asked(rule: AlertRule, case: Case, at: int, value: float | None) -> dict[str, Any]:
    """A check of one of several rules of the same name that fire together."""
    told = {"alertname": rule.alert, "alertstate": "firing"}
    inside, all_labels = (
        ",".join(f"{k}={quote(v)}" for k, v in sorted(labels.items()))
        for labels in (told | dict(rule.labels), {**case.labels, **rule.labels, **told})
    )
    samples = [{"labels": f"ALERTS{{{all_labels}}}", "value": 1}] if value is not None else []
    return {
        "expr": f"ALERTS{{{inside}}}",
        "eval_time": str(Duration(at * int(case.tick))),
        "exp_samples": samples,
    }


def _own(catalog: Catalog, rule: AlertRule, stem: str, groups: list[str]) -> dict[str, str]:
    """The user's tests; their alert may rest on any recording rule, so all are read."""
    alert = catalog.alerts[rule.alert]
    if not alert.tests:
        return {}
    recorded = [GROUP_SERVICE, GROUP_HOST, *_objectives(catalog, alert.expr), GROUP_OWN]
    order = [g for g in (*recorded, GROUP_LOOP, GROUP_ALERTS) if g in groups]
    value = {
        "rule_files": [f"{_RULES}/{group}.yml" for group in order],
        "evaluation_interval": str(interval_of(catalog, rule)),
        "group_eval_order": order,
        "tests": [_own_test(rule.alert, test) for test in alert.tests],
    }
    return {f"{stem}.yml": dump(value, _NOTE)}


def _objectives(catalog: Catalog, expr: str) -> tuple[str, ...]:
    """The groups of objectives, where an alert or an own rule asks for what they record.

    They are many rules, which would slow down every other test.
    """
    texts = (expr, *(rule.expr for rule in catalog.rules.values()))
    asked = any("slo:" in text for text in texts)
    return (GROUP_OBJECTIVES, GROUP_WINDOWS, GROUP_BUDGET) if asked else ()


def _own_test(alert: str, test: AlertTest) -> dict[str, Any]:
    """Firing or not is read from the series ALERTS: annotations are free text of the user."""
    checks = []
    for expected in test.expect:
        wanted = {"alertname": alert, "alertstate": "firing", **expected.labels}
        inside = ",".join(f"{k}={quote(v)}" for k, v in wanted.items())
        checks.append(
            {
                "expr": f"clamp_max(count(ALERTS{{{inside}}}), 1)",
                "eval_time": str(expected.at),
                "exp_samples": [{"labels": "{}", "value": 1}] if expected.firing else [],
            }
        )
    return {
        "name": test.name,
        "interval": str(test.interval),
        "input_series": [{"series": s.series, "values": s.values} for s in test.series],
        "promql_expr_test": checks,
    }
