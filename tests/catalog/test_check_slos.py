"""What objectives may say, what is only warned of, and which selectors are surely no parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.catalog.check_slos import LEAST_PAGE, LEAST_TICKET
from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.catalog.selector import Matcher, Selector
from opsloop.catalog.slo import Period, windows_for
from opsloop.catalog.subset import outside
from opsloop.catalog.units import Duration
from opsloop.errors import CatalogError

HEAD = "apiVersion: opsloop/v1\n"
WEB = HEAD + "services:\n  web:\n    team: shop\n    targets: {static: ['w:80']}\n"


def warnings(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "opsloop.yaml"
    file.write_text(text)
    return [f"{w.line}: {w.path}: {w.message}" for w in load(file, {}).warnings]


@pytest.mark.parametrize(
    "text",
    [
        # Two promises of one measure, of two periods, with other alerts
        WEB + "    metrics: http\n    slos:\n      a: {objective: 99%, sli: availability}\n"
        "      b: {objective: 99.9%, sli: availability}\n"
        "      c: {objective: 99%, window: 7d, sli: availability}\n"
        "      d: {objective: 99%, sli: availability, alerting: {page: false}}\n",
        # Own metrics with their buckets
        WEB + "    metrics: {latency: 'job_seconds{kind=\"a\"}', buckets: [1s, 90s]}\n"
        "    slos:\n      a: {objective: 99%, sli: {latency: {threshold: 90s}}}\n",
        # Errors in a metric of their own
        WEB + "    slos:\n      a: {objective: 99%, sli: {events: {total: a_total, errors: b_total}}}\n",
        # A month that the retention holds
        HEAD + "stack: {retention: 33d}\n" + WEB.removeprefix(HEAD) + "    metrics: http\n"
        "    slos:\n      a: {objective: 99%, window: calendar-month, sli: availability}\n",
        # A service that only its objectives watch, and a person who decides on them
        HEAD + "processes:\n  web: {command: [w], port: 8000}\nservices:\n  web:\n    team: shop\n"
        "    process: web\n    metrics: http\n    slos:\n      a: {objective: 99%, sli: availability}\n"
        "remediation:\n  policies:\n    burn:\n      when:\n        alert: [SLOBurnRateCritical,"
        " SLOBurnRateHigh, SLODataMissing]\n      mode: approve\n      steps: [restart]\n"
        "      limits: {max_runs: 6, window: 1h}\n",
    ],
)  # fmt: skip
def test_fine(text: str, tmp_path: Path) -> None:
    assert warnings(text, tmp_path) == []


def test_what_is_not_exact_is_said_of_each(tmp_path: Path) -> None:
    text = WEB + (
        "    metrics: {latency: job_seconds}\n"
        "    slos:\n"
        "      a: {objective: 99%, sli: {promql: {error_ratio: '1 - avg_over_time(up[{window}])'}}}\n"
        "      b: {objective: 99%, sli: {promql: {errors: 'rate(e[{window}])', total: 'rate(t[{window}])'}}}\n"
        "      c: {objective: 99%, sli: {latency: {threshold: 1s}}}\n"
    )
    assert warnings(text, tmp_path) == [
        (
            "8: services.web.slos.a.sli.promql: free PromQL is not counted exactly: its numbers are"
            " estimates from rates"
        ),
        (
            "9: services.web.slos.b.sli.promql: free PromQL is not counted exactly: its numbers are"
            " estimates from rates"
        ),
        (
            "10: services.web.slos.c.sli.latency.threshold: nobody has said whether 1s is a bound of"
            " the histogram's buckets"
        ),
    ]


def test_what_rests_on_a_broken_field_is_not_told_too(tmp_path: Path) -> None:
    file = tmp_path / "opsloop.yaml"
    file.write_text(
        WEB + "    metrics: htpp\n    slos:\n      a: {objective: 99%, sli: availability}\n"
    )
    with pytest.raises(CatalogError) as caught:
        load(file, {})
    assert [p.path for p in caught.value.problems] == ["services.web.metrics"]


@pytest.mark.parametrize(
    ("retention", "windows", "kept"),
    [
        (None, [], "15d"),
        (None, ["7d"], "15d"),
        (None, ["13d", "14d"], "16d"),
        (None, ["30d", "90d"], "92d"),
        (None, ["calendar-month"], "33d"),
        ("100d", ["30d"], "100d"),
    ],
)
def test_samples_are_kept_as_long_as_objectives_need(
    retention: str | None, windows: list[str], kept: str
) -> None:
    slos = {
        f"s{at}": {"objective": "99%", "window": window, "sli": "availability"}
        for at, window in enumerate(windows)
    }
    catalog = Catalog.model_validate(
        {
            "apiVersion": "opsloop/v1",
            "stack": {"retention": retention} if retention else {},
            "services": {"web": {"team": "a", "metrics": "http", "slos": slos}},
        }
    )
    assert catalog.retention == Duration.parse(kept)


def test_the_shipped_windows_pass_their_own_rule() -> None:
    periods = [Period.parse(f"{days}d") for days in range(1, 91)]
    for period in [*periods, Period.parse("calendar-month")]:
        for pair in windows_for(period):
            least = LEAST_PAGE if pair.kind == "page" else LEAST_TICKET
            assert pair.factor > least or (pair.kind == "ticket" and pair.factor == least), period


@pytest.mark.parametrize(
    ("part", "total", "missed"),
    [
        ("m", "m", None),
        ('m{a="1"}', "m", None),
        ('m{a="1",b=~"5.."}', 'm{a="1"}', None),
        ("m", 'm{a="1"}', 'a="1"'),
        ("m", 'm{a!="1"}', 'a!="1"'),
        ("m", 'm{a=~"1|2"}', 'a=~"1|2"'),
        ("m", 'm{a=~".*"}', None),
        ("m", 'm{a!=""}', 'a!=""'),
        ('m{a="3"}', 'm{a=~"1|2"}', 'a=~"1|2"'),
        ('m{a="2"}', 'm{a=~"1|2"}', None),
        ('m{a=~"1|2"}', 'm{a="1"}', 'a="1"'),
        ('m{a=~"4..|5.."}', 'm{a!~"4.."}', None),  # true, but not seen: patterns list no texts
        ('m{a=~"404|500"}', 'm{a!~"4.."}', 'a!~"4.."'),
        ('m{a!="1"}', 'm{a="1"}', None),  # what else there is nobody knows
        ('m{a=~"1|2",a!="2"}', 'm{a="1"}', None),
        ('m{a=~"5[0-9]{2}"}', 'm{a=~"5[0-9]"}', None),
        ('m{a="x"}', 'm{a=~"("}', None),
    ],
)
def test_outside(part: str, total: str, missed: str | None) -> None:
    found = outside(Selector.parse(part), Selector.parse(total))
    assert (str(found) if found else None) == missed


def _meets(labels: dict[str, str], matchers: tuple[Matcher, ...]) -> bool:
    for m in matchers:
        value = labels.get(m.label, "")
        same = value == m.value if m.op in ("=", "!=") else bool(re.fullmatch(m.value, value))
        if same != (m.op in ("=", "=~")):
            return False
    return True


matchers = st.builds(
    Matcher,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(["", "1", "2", "1|2", "2|", "[12]", ".*", ".+"]),
)
selectors = st.builds(Selector, st.just("m"), st.lists(matchers, max_size=3).map(tuple))


@given(selectors, selectors)
def test_what_is_refused_has_a_series_that_shows_it(part: Selector, total: Selector) -> None:
    missed = outside(part, total)
    if missed is None:
        return
    values = ["", "0", "1", "2", "a", "1|2", "2|", "[12]", ".*", ".+"]
    label = missed.label
    mine = tuple(m for m in part.matchers if m.label == label)
    assert any(_meets({label: v}, mine) and not _meets({label: v}, (missed,)) for v in values)
