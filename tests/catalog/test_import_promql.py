"""Which queries become selectors, which stay PromQL and why; and what the PromQL comes to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsloop.catalog.import_measure import (
    averaged,
    from_errors,
    from_good,
    from_ratio,
    grouping,
    per_minute,
    ready,
)
from opsloop.catalog.import_tokens import NotPromQL
from opsloop.catalog.imported import Measured

W = "{{.window}}"
BAD = f'sum(rate(r_total{{code=~"5.."}}[{W}]))'
ALL = f"sum(rate(r_total[{W}]))"


def events(measured: Measured) -> dict[str, Any]:
    assert measured.exact, measured.why
    found = dict(measured.sli["events"])
    assert found.pop("series") == "all"
    return found


def pair(errors: str, total: str) -> Measured:
    return from_errors(ready(errors), ready(total))


@pytest.mark.parametrize(
    ("errors", "total", "expected"),
    [
        (BAD, ALL, {"total": "r_total", "errors": 'r_total{code=~"5.."}'}),
        (f"({BAD})", f"(({ALL}))", {"total": "r_total", "errors": 'r_total{code=~"5.."}'}),
        (f"{BAD} or vector(0)", ALL, {"total": "r_total", "errors": 'r_total{code=~"5.."}'}),
        (f"{BAD} or on() vector(0)", ALL, {"total": "r_total", "errors": 'r_total{code=~"5.."}'}),
        (
            f"sum(increase(lost_total[{W}]))",
            f"sum(increase(all_total[{W}]))",
            {"total": "all_total", "errors": "lost_total"},
        ),
        (
            f'{ALL} - sum(rate(r_total{{ok="1"}}[{W}]))',
            ALL,
            {"total": "r_total", "good": 'r_total{ok="1"}'},
        ),
        (
            # The order of matchers and the spaces do not matter.
            f'sum(rate(h_count{{b="2",a="1"}}[{W}])) - sum(rate(h_bucket{{a="1",b="2",le="1"}}[{W}]))',
            'sum( rate( h_count{ a="1", b="2", } [{{ .window }}] ) )',
            {"total": 'h_count{a="1",b="2"}', "good": 'h_bucket{a="1",b="2",le="1"}'},
        ),
        (
            "sum(rate(a:b_total[5m])) # why",
            "sum(rate(c[5m]))",
            {"total": "c", "errors": "a:b_total"},
        ),
    ],
)
def test_events_that_are_proven(errors: str, total: str, expected: dict[str, str]) -> None:
    assert events(pair(errors, total)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"{BAD} / {ALL}", {"total": "r_total", "errors": 'r_total{code=~"5.."}'}),
        (f"1 - ({BAD} / {ALL})", {"total": "r_total", "good": 'r_total{code=~"5.."}'}),
        (f"1 - {BAD} / {ALL}", {"total": "r_total", "good": 'r_total{code=~"5.."}'}),
        (f"({ALL} - {BAD}) / {ALL}", {"total": "r_total", "good": 'r_total{code=~"5.."}'}),
        (f"1 - ({ALL} - {BAD}) / {ALL}", {"total": "r_total", "errors": 'r_total{code=~"5.."}'}),
        (f"1 - (1 - {BAD} / {ALL})", {"total": "r_total", "errors": 'r_total{code=~"5.."}'}),
    ],
)
def test_ratios_that_are_proven(query: str, expected: dict[str, str]) -> None:
    assert events(from_ratio(ready(query))) == expected
    other = {"errors": "good", "good": "errors"}
    flipped = {other.get(k, k): v for k, v in expected.items()}
    assert events(from_ratio(ready(query), success=True)) == flipped


@pytest.mark.parametrize(
    ("errors", "total", "why"),
    [
        (f"sum by (a) (rate(x[{W}]))", ALL, "it is grouped with by"),
        (f"sum(rate(x[{W}])) by (a)", ALL, "it is grouped with by"),
        (f"sum(rate(x[{W}])) without (a)", ALL, "it is grouped with without"),
        (f"rate(x[{W}])", ALL, "there is no sum around rate"),
        (f"sum(irate(x[{W}]))", ALL, "'irate' is no part of a sum of rates"),
        (f"sum(rate(x[{W}] offset 5m))", ALL, "'offset' is no part of a sum of rates"),
        (f"sum(rate(x[{W}])) * 2", ALL, "'*' is no part of a sum of rates"),
        (f"sum(rate(x[{W}])) > 0", ALL, "'>' is no part of a sum of rates"),
        (f"sum(rate(x[{W}])) or sum(rate(y[{W}]))", ALL, "'sum' is no part of a sum of rates"),
        (f"sum(rate(x[{W}])) + sum(rate(y[{W}]))", ALL, "more than one counter is added up"),
        (f"sum(rate(x[{W}])) + sum(rate(x[{W}]))", ALL, "more than one counter is added up"),
        (f"{ALL} - {ALL}", ALL, "more than one counter is added up"),
        (f"{ALL} - {BAD} or vector(0)", ALL, "`or vector(0)` stands behind more than one counter"),
        (f"{BAD} or vector(1)", ALL, "'1' is no part of a sum of rates"),
        (f"sum(increase(x[{W}]))", ALL, "its parts use different functions or ranges"),
        (f"sum(rate(x[5m])) + 0 * sum(rate(x[{W}]))", ALL, "'0' is no part of a sum of rates"),
        ("sum(rate(x[5m]))", ALL, "its parts use different functions or ranges"),
        (f'sum(rate({{__name__="x"}}[{W}]))', ALL, "'{' is no part of a sum of rates"),
        (f'sum(rate(x{{__name__=~"y"}}[{W}]))', ALL, "'__name__' is no part of a sum of rates"),
        (f"sum(rate(x[{W}:]))", ALL, "':' is no part of a sum of rates"),
        ("sum(x)", "sum(y)", "'x' is no part of a sum of rates"),
        (f"sum(rate(x{W}[5m]))", ALL, "'{window}' is no part of a sum of rates"),
    ],
)
def test_what_is_not_proven_says_why(errors: str, total: str, why: str) -> None:
    found = pair(errors, total)
    assert found.why == why
    assert set(found.sli) == {"promql"}


def test_bare_counters_only_where_the_file_says_so() -> None:
    assert events(from_errors('x{a="b"}', "sum(x)", counters=True)) == {
        "total": "x",
        "errors": 'x{a="b"}',
    }
    assert not from_errors("x", "sum(rate(x[5m]))", counters=True).exact
    assert not from_errors("x", "y").exact


@pytest.mark.parametrize(
    "query", ["sum(", "sum)", "a ] b", 'a{b="c}', "a ; b", "", "  ", "{{.x}}", "[{(]})"]
)
def test_what_is_no_promql(query: str) -> None:
    with pytest.raises(NotPromQL):
        ready(query)


def test_grouping_is_named() -> None:
    assert grouping("sum by (a, b) (x) / sum by(a, b)(y) + sum(z) without (c)") == "a, b, c"
    assert grouping("sum by () (x)") == ""


def test_rates_keep_their_numbers_and_others_do_not() -> None:
    """Only what is surely in events a second is counted; increases are as long as their window."""
    rates = pair(f"sum by (a) (rate(x[{W}]))", f"sum by (a) (rate(y[{W}]))")
    assert set(rates.sli["promql"]) == {"errors", "total"}
    for query in (f"sum by (a) (increase(x[{W}]))", f"sum by (a) (rate(x[{W}])) * 60"):
        assert set(pair(query, query).sli["promql"]) == {"error_ratio"}


def test_a_window_is_found_or_made() -> None:
    assert (
        from_ratio("my_ratio{window}").sli["promql"]["error_ratio"] == "avg(\nmy_ratio{window}\n)"
    )
    (one,) = from_ratio("max(rate(a[5m])) / max(rate(b[5m]))").sli["promql"].values()
    assert one == "max(rate(a[{window}])) / max(rate(b[{window}]))"
    (two,) = from_ratio("max(rate(a[5m])) / max(rate(b[1h]))").sli["promql"].values()
    assert two == "avg_over_time((\nmax(rate(a[5m])) / max(rate(b[1h]))\n)[{window}:1m])"


GAUGE = "it compares a gauge"
EVALUATED: list[tuple[str, Measured, dict[str, str], float]] = [
    (
        "groups become one whole",
        pair(f"sum by (g) (increase(bad[{W}]))", f"sum by (g) (increase(all[{W}]))"),
        {
            'bad{g="a"}': "0+1x60",
            'all{g="a"}': "0+2x60",
            'all{g="b"}': "0+8x60",
            'bad{g="b"}': "0+0x60",
        },
        0.1,
    ),
    (
        "no good event at all is a failure",
        per_minute(from_good("good", "all", counters=True)),
        {"all": "0+4x60"},
        1.0,
    ),
    (
        "no bad event at all is none",
        per_minute(from_errors("bad", "all", counters=True)),
        {"all": "0+4x60"},
        0.0,
    ),
    (
        "good rates of which there are none",
        from_good(ready(f"sum by (a) (rate(good[{W}]))"), ready(f"sum(rate(all[{W}]))")),
        {"all": "0+60x60"},
        1.0,
    ),
    (
        "a share of success",
        from_ratio("health", success=True),
        {"health": "0.75x60"},
        0.25,
    ),
    (
        "several series of a share are averaged",
        from_ratio("health"),
        {'health{i="1"}': "0.5x60", 'health{i="2"}': "0x60"},
        0.25,
    ),
    (
        "a gauge over its limit",
        averaged("(max(age)\n) > bool 30", GAUGE),
        {"age": "40x60"},
        1.0,
    ),
    (
        "one of two series over the limit",
        averaged("(age\n) > bool 30", GAUGE),
        {'age{i="1"}': "40x60", 'age{i="2"}': "20x60"},
        0.5,
    ),
]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("what", [case[0] for case in EVALUATED])
def test_what_prometheus_makes_of_it(what: str, tmp_path: Path) -> None:
    _, measured, series, expected = next(case for case in EVALUATED if case[0] == what)
    promql = measured.sli["promql"]
    ratio = promql.get("error_ratio") or f"({promql['errors']}) / sum({promql['total']})"
    rule = {"record": "got", "expr": f"sum({ratio.replace('{window}', '5m')})"}
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": k, "values": v} for k, v in series.items()],
                "promql_expr_test": [
                    {
                        "expr": "round(got, 0.001)",
                        "eval_time": "30m",
                        "exp_samples": [{"labels": "{}", "value": expected}],
                    }
                ],
            }
        ],
    }
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]})
    )
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
