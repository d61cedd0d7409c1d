"""Small forms: YAML text, selectors, samples for them, templates of annotations, windows."""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from opsloop.catalog.units import Duration
from opsloop.compile import alertmanager, dependents, grace, maintenance, samples, selectors
from opsloop.compile.native import word
from opsloop.compile.selectors import Selector, one_of, quote
from opsloop.compile.wording import ByLabel, Label, Value, Wording
from opsloop.compile.yamltext import dump
from opsloop.errors import InputError
from tests.compile import catalogs

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
TREES = st.recursive(
    st.one_of(TEXTS, st.integers(-(10**9), 10**9), st.booleans(), st.floats(-1e9, 1e9)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, TREES, min_size=1, max_size=5))
def test_yaml_text_reads_back_as_it_was(value: dict[str, Any]) -> None:
    assert yaml.safe_load(dump(value, "a note")) == value


@pytest.mark.parametrize(
    "text", ["no", "On", "~", "null", "1.5", "0x1f", "1e3", "2020-01-01", "12:30", "- a", "a: b",
             "#c", "a\nb", " a\nb", "a\n", "a\tb\nc", "'", '"', "{{ $x }}", "é", "\u2028", "\x7f",
             "🙂", "5m", "../../x", ".5", "=", "", "a\n\nb", "%x", "@y", "`z"],
)  # fmt: skip
def test_yaml_text_keeps_text_that_looks_like_something_else(text: str) -> None:
    assert yaml.safe_load(dump({"a": [text], "b": {text: text}})) == {
        "a": [text],
        "b": {text: text},
    }


def test_yaml_text_refuses_what_has_no_form() -> None:
    with pytest.raises(TypeError, match="object has no YAML form"):
        dump({"a": object()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", "m{x}"),
        (" a:b_1 { } ", "a:b_1{x}"),
        ('m{a="b"}', 'm{x,a="b"}'),
        ("m{ a = 'b' , c!~\"d|\\\\.\", }", 'm{x,a="b",c!~"d|\\\\."}'),
        ('m{a=`x\\d"`}', 'm{x,a="x\\\\d\\""}'),
        ('m{a="}{,"}', 'm{x,a="}{,"}'),
    ],
)
def test_selectors_take_further_matchers(text: str, expected: str) -> None:
    assert Selector.parse(text).where("x") == expected


@given(st.text(max_size=20))
def test_a_quoted_value_reads_back(value: str) -> None:
    parsed = Selector.parse(f"m{{a={quote(value)}}}")
    assert parsed.matchers[0].value == value
    assert Selector.parse(parsed.where()) == parsed


def test_one_of_is_a_set_of_names() -> None:
    assert one_of("service", ["b", "a-c", "b"]) == 'service=~"a-c|b"'
    assert one_of("service", ["only"]) == 'service="only"'


@pytest.mark.parametrize(
    "pattern",
    ["5..", "4..|5..", "[45]\\d{2}", "(?i)error", "a+b*c?", "x(y|z)w", "[^0-9]+", "\\w+@\\d\\.com",
     "", ".*", ".+", "fail(ed)?|(?:time|ti)out", "a{2,3}", "^/api/v[12]/.*$", "\\S+", "[]a]", "-1"],
)  # fmt: skip
def test_a_text_is_found_for_a_pattern(pattern: str) -> None:
    matcher = selectors.Matcher("l", "=~", pattern)
    found = samples.meeting([matcher])
    assert found is not None
    assert re.fullmatch(pattern, found.get("l", "")) is not None
    other = samples.meeting([], [matcher])
    if pattern != ".*":
        assert other is not None
        assert re.fullmatch(pattern, other.get("l", "")) is None


def test_samples_meet_some_and_fail_others() -> None:
    requests = Selector.parse('m{method=~"GET|PUT",route!=""}').matchers
    errors = Selector.parse('m{code=~"5..",method!="PUT"}').matchers
    both, fine = samples.meeting((*requests, *errors)), samples.meeting(requests, errors)
    assert both is not None
    assert both == {"code": "500", "method": "GET", "route": both["route"]}
    assert fine is not None
    assert fine["code"] != "500"
    assert fine["method"] in ("GET", "PUT")
    impossible = Selector.parse('m{a="b",a="c"}').matchers
    assert samples.meeting(impossible) is None
    assert samples.left_out(()) is None
    assert samples.left_out(requests) == {"method": "200"}


def test_wordings_are_templates_and_texts() -> None:
    limits = ByLabel.of("service", {"a": "5%", "b": "1%", "c": "5%", "d": "{{x}}"})
    wording = Wording.of(Value("humanizePercentage"), " of ", Label("service"), " > ", limits)
    assert wording.template() == (
        '{{ $value | humanizePercentage }} of {{ $labels.service }} > {{ if eq $labels.service "b" }}'
        '1%{{ else if eq $labels.service "d" }}{{ "{{" }}x}}{{ else }}5%{{ end }}'
    )
    assert wording.render({"service": "b"}, 0.12345) == "12.35% of b > 1%"
    assert wording.render({"service": "c"}, 2) == "200% of c > 5%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.5, "500ms"), (0.0000123, "12.3us"), (1.0, "1s"), (59.994, "59.99s"),
     (61, "1m 1s"), (3661, "1h 1m 1s"), (90061, "1d 1h 1m 1s")],
)  # fmt: skip
def test_durations_read_as_prometheus_writes_them(seconds: float, text: str) -> None:
    assert Wording.of(Value("humanizeDuration")).render({}, seconds) == text


def test_grace_is_window_hold_and_two_evaluations_and_at_most_three_minutes() -> None:
    s = Duration.of
    assert grace.grace(s(12), s(6), s(5)) == s(28)
    assert grace.grace(s(60), s(10), s(15)) == s(100)
    assert grace.grace(s(120), s(100), s(1)) == s(180)


def test_grace_of_the_shop() -> None:
    files = {
        (a.alert, a.policy): str(a.grace)
        for a in alertmanager.loop_alerts(catalogs.shop(), _rules(catalogs.shop()))
    }
    assert files == {
        ("BackupFailed", "rerun-backup"): "32s",
        ("BackupMissing", "rerun-backup"): "32s",
        ("BackupStale", "rerun-backup"): "32s",
        ("CertificateExpiring", "renew-certificate"): "32s",
        ("DiskFull", "clean-disk"): "32s",
        ("DiskWillFill", "clean-disk"): "32s",
        ("HighErrorRate", "restart-on-errors"): "1m20s",
        ("HighLatency", "scale-on-latency"): "1m20s",
        ("ServiceDown", "restart-down"): "28s",
        ("SpoolFull", "clean-spool"): "23s",
    }


def test_a_policy_that_does_not_act_by_itself_has_no_grace() -> None:
    shop = catalogs.shop()
    for mode in ("approve", "dry-run"):
        other = shop.model_copy(
            update={"remediation": shop.remediation.model_copy(update={"mode": mode})}
        )
        assert {int(a.grace) for a in alertmanager.loop_alerts(other, _rules(other))} == {0}


def _rules(catalog: Any) -> Any:
    from opsloop.compile.alerts import alert_rules
    from opsloop.compile.options import Options

    return alert_rules(catalog, Options())


def test_a_window_over_midnight_is_two_intervals_on_two_days() -> None:
    catalog = catalogs.unchecked(catalogs.EVERYTHING)
    by_name = {i["name"]: i["time_intervals"] for i in maintenance.time_intervals(catalog)}
    assert by_name["nightly"] == [
        {"times": [{"start_time": "22:30", "end_time": "24:00"}], "weekdays": ["friday", "sunday"]},
        {
            "times": [{"start_time": "00:00", "end_time": "01:15"}],
            "weekdays": ["saturday", "monday"],
        },
    ]
    assert by_name["data-day"] == [{"times": [{"start_time": "10:00", "end_time": "12:00"}]}]
    assert maintenance.classes(catalog) == (
        ["nightly"],
        [
            (["front"], ["front-day", "nightly"]),
            (["queue"], ["data-day", "front-day", "nightly"]),
            (["store"], ["data-day", "nightly"]),
        ],
    )


def test_dependents_are_found_through_others_and_in_circles() -> None:
    catalog = catalogs.unchecked(catalogs.EVERYTHING)
    assert dependents.dependents_of(catalog)["silent"] == ["front", "middle", "queue", "store"]
    circle = catalogs.EVERYTHING.replace(
        'targets: {static: ["10.0.2.9:80"]}',
        'targets: {static: ["10.0.2.9:80"]}\n    depends_on: [front]',
    )
    found = dependents.dependents_of(catalogs.unchecked(circle))["silent"]
    assert found == ["front", "middle", "queue", "store"]


@given(st.text(string.printable.replace("\n", "").replace("\r", ""), max_size=30))
def test_a_word_of_a_command_survives_supervisors_expansion_and_comments(text: str) -> None:
    import shlex

    written = word(text)
    uncommented = re.split(r"\s[;#]", written)[0]
    assert shlex.split(uncommented % {}) == [text]


def test_a_word_with_a_line_break_is_refused() -> None:
    with pytest.raises(InputError, match="line break"):
        word("a\nb")
