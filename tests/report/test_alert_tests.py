"""The table of alerts by kind of case: what a test is told to be about, and which alerts lack one."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsloop.catalog.load import load
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from opsloop.report import alert_tests

RULES = """\
groups:
  - name: alerts
    rules:
      - {alert: Full, expr: up}
      - {alert: Forgotten, expr: up}
      - {record: a:b, expr: up}
"""
TESTS = """\
tests:
  - name: fires just above its limit, and resolves
    alert_rule_test:
      - {eval_time: 2m, alertname: Full}
      - {eval_time: 10s, alertname: Full}
      - {eval_time: 1m30s, alertname: Full, exp_alerts: [{exp_labels: {}}]}
  - name: does not fire just below its limit
    alert_rule_test: [{eval_time: 1m, alertname: Full}]
  - name: does not fire while all is well
    alert_rule_test: [{eval_time: 1m, alertname: Full}]
  - name: a queue that was restarted
    promql_expr_test:
      - {expr: 'count(ALERTS{alertname="Full",alertstate="firing"})', eval_time: 1m, exp_samples: [{value: 1}]}
      - {expr: "other", eval_time: 2m, exp_samples: []}
"""
FILES = {"prometheus/rules/alerts.yml": RULES, "prometheus/tests/Full.yml": TESTS}
# Fewer than five tests, each for a reason.
FEWER = {
    "SpoolFull": (1, "the shop's own alert, whose tests are the catalog's"),
    "Watchdog": (1, "always fires: it has no limit, no data and no end"),
}


def test_kinds_are_read_from_checks_and_names() -> None:
    assert [(c.name[:24], c.kinds) for c in alert_tests.cases_of(FILES)] == [
        ("fires just above its lim", ("fires", "resolves")),
        ("does not fire just below", ("just below",)),
        ("does not fire while all ", ("quiet",)),
        ("a queue that was restart", ("fires", "restart")),
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("does not fire just within its limit", "just below"),
        ("does not fire for a handful of events", "just below"),
        ("does not fire for a moment", "moment"),
        ("does not fire for a short burst", "moment"),
        ("flapping", "moment"),
        ("no data", "no data"),
        ("the series end", "no data"),
        ("no traffic", "no data"),
        ("does not fire while only the exporter is gone", "no data"),
        ("the counter is reset by a restart", "restart"),
        ("fewer than 5 errors in 1h are no page", "just below"),
        ("does not fire while all answer", "quiet"),
    ],
)
def test_words_of_a_test_that_stays_quiet(name: str, kind: str) -> None:
    text = f"tests:\n  - name: {name}\n    alert_rule_test: [{{eval_time: 1m, alertname: Full}}]\n"
    (case,) = alert_tests.cases_of({"prometheus/tests/Full.yml": text})
    assert case.kinds == (kind,)


def test_an_alert_without_a_test_has_a_row() -> None:
    rows = alert_tests.table(FILES)
    assert [(row.alert, row.tests) for row in rows] == [("Forgotten", 0), ("Full", 4)]
    headers, cells = alert_tests.lines(rows)
    assert headers == ["alert", *alert_tests.KINDS, "tests", "result"]
    assert cells == [
        ["Forgotten", *["-"] * 7, "0", "untested"],
        ["Full", "2", "1", "-", "1", "-", "1", "1", "4", "ok"],
        ["2 alerts", "2", "1", "0", "1", "0", "1", "1", "4", "ok"],
    ]


def test_failed_tests_are_counted_where_they_stand() -> None:
    path = "prometheus/tests/Full.yml"
    (_, row) = alert_tests.table(FILES, {path: frozenset({"a queue that was restarted"})})
    assert row.failed == ("a queue that was restarted",)
    assert (row.cell("restart"), row.cell("fires"), row.cell("quiet")) == (
        "1 (1 failed)",
        "2 (1 failed)",
        "1",
    )
    assert alert_tests.lines([row])[1][-1][-1] == "1 failed"
    # promtool names no test when it cannot even read the file.
    (_, row) = alert_tests.table(FILES, {path: frozenset()})
    assert len(row.failed) == 4


def test_every_alert_of_the_shop_has_at_least_five_tests() -> None:
    catalog = load(Path("examples/shop/opsloop.yaml"), {}).catalog
    rows = alert_tests.table(compile_catalog(catalog, Options()).files)
    fewer = {row.alert: row.tests for row in rows if row.tests < FEWER.get(row.alert, (5, ""))[0]}
    assert fewer == {}
    assert all(row.counts.get("fires") for row in rows), "each alert fires in a test"
