"""The panel model: variables get into PromQL as they must, and dashboards are whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from opsloop.catalog.units import Duration
from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.panels import Link, Query
from opsloop.compile.panelvars import ALL, Values, substituted, timing, uses
from opsloop.errors import InputError
from tests.compile import catalogs


@pytest.mark.parametrize(
    ("text", "values", "made"),
    [
        ('up{service="$service"}', {"service": "api"}, 'up{service="api"}'),
        ('up{service="${service}"}', {"service": 'a"}\\b\n'}, r'up{service="a\"}\\b\n"}'),
        ('up{job=~"$job"}', {"job": ["a.b", "c|d"]}, r'up{job=~"a\\.b|c\\|d"}'),
        ('up{job=~"$job"}', {"job": "a"}, 'up{job=~"a"}'),
        ('up{job!~"$job"}', {"job": ["a", ALL]}, 'up{job!~".*"}'),
        ("rate(x[$__rate_interval])", {"__rate_interval": "1m30s"}, "rate(x[1m30s])"),
        (
            'label_replace(x, "a", "$1", "b", "(.*)")',
            {},
            'label_replace(x, "a", "$1", "b", "(.*)")',
        ),
    ],
)
def test_values_are_quoted_as_their_place_needs(text: str, values: Values, made: str) -> None:
    assert substituted(text, values) == made


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ('up{service="$service"}', {}, "$service: has no value"),
        ('up{service="$service"}', {"service": ["a"]}, "$service: takes one value here"),
        ('up{service="$service"}', {"service": ALL}, "$service: takes one value here"),
        ("rate(x[$__interval])", {"__interval": "5m]) or vector(1"}, "is not a duration"),
        ("x + $service", {"service": "y"}, "is not a duration"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, values: Values, message: str) -> None:
    with pytest.raises(InputError) as raised:
        substituted(text, values)
    assert message in str(raised.value)


def test_uses_names_variables_and_no_groups() -> None:
    assert uses('x{a="$service",b=~"${job}"}[$__range] "$1"') == {"service", "job", "__range"}


def test_timing_is_grafanas() -> None:
    """The larger of four scrapes and a step with one scrape more."""
    assert timing(15, 3600, Duration(5_000)) == {
        "__interval": "15s",
        "__rate_interval": "20s",
        "__range": "3600s",
    }
    assert timing(1, 60, Duration(15_000))["__rate_interval"] == "60s"


def test_legends_and_links_are_filled() -> None:
    assert Query("A", "up", "{{service}} {{ gone }}!").name({"service": "api"}) == "api !"
    link = Link("x", "uid", passes=(("service", "{{service}}"), ("slo", "$slo")))
    labels = {"service": "a&b/c"}
    assert link.url("/dashboards", {"slo": "x y"}, labels) == (
        "/dashboards/uid?var-service=a%26b%2Fc&var-slo=x%20y"
    )
    assert Link("x", page="/services/{{service}}").url("", {}, labels) == "/services/a%26b%2Fc"


def test_the_model_needs_no_grafana() -> None:
    """The console draws it with little memory."""
    code = (
        "import sys; from opsloop.compile.dashboards import dashboards_of;"
        " print([m for m in sys.modules if m.startswith('grafana')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=catalogs.ROOT, env={"PYTHONPATH": "src"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_a_catalog_of_little_has_few_dashboards(tmp_path: Path) -> None:
    hosts = "apiVersion: opsloop/v1\nhosts: {local: {}}\n"
    found = dashboards_of(catalogs.catalog_of(hosts, tmp_path))
    assert [d.uid for d in found] == ["opsloop-overview", "opsloop-remediation"]


def test_the_shop_has_all_dashboards() -> None:
    sizes = {d.title: len(list(d.panels)) for d in dashboards_of(catalogs.shop())}
    assert sizes == {"System Overview": 15, "Golden Signals": 14, "SLO": 12, "Remediation": 12}
