"""Objectives, periods, alert windows and floors: exact values, and refusals with the reason."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from opsloop.catalog.slo import (
    SLI,
    SLO,
    BurnPair,
    Objective,
    Period,
    decimal,
    event_floor,
    pairs_of,
    required_retention,
    windows_for,
)
from opsloop.catalog.units import Duration


@given(st.integers(1, 9_999_999))
def test_an_objective_is_exact(parts: int) -> None:
    text = decimal(Fraction(parts, 100_000))
    objective = Objective.parse(f"{text}%")
    assert objective.ratio == Fraction(parts, 10_000_000)
    assert objective.ratio + objective.budget == 1
    assert str(objective) == f"{text}%"
    assert Fraction(decimal(objective.budget)) == objective.budget


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("100%", "leaves no error budget"),
        ("100.000%", "leaves no error budget"),
        ("100.1%", "not between 0% and 100%"),
        ("0%", "not between 0% and 100%"),
        ("99.9", "write it in percent"),
        ("-1%", "write it in percent"),
        ("nan%", "write it in percent"),
        ("", "write it in percent"),
    ],
)
def test_an_objective_that_means_nothing_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Objective.parse(text)


def test_a_number_is_no_objective() -> None:
    with pytest.raises(ValidationError, match="has no unit"):
        SLO.model_validate({"objective": 99.9, "sli": "availability"})


@pytest.mark.parametrize("text", ["23h59m", "90d1m", "1d1s", "0", "month", "4"])
def test_a_period_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"between 1d and 90d|whole number of minutes|duration"):
        Period.parse(text)


def shown(pairs: tuple[BurnPair, ...]) -> list[tuple[str, str, str, float]]:
    return [(p.kind, str(p.long), str(p.short), float(p.factor)) for p in pairs]


def test_windows_of_30d_are_the_known_ones() -> None:
    expected = [
        ("page", "1h", "5m", 14.4),
        ("page", "6h", "30m", 6.0),
        ("ticket", "1d", "2h", 3.0),
        ("ticket", "3d", "6h", 1.0),
    ]
    assert shown(windows_for(Period.parse("30d"))) == expected
    assert shown(windows_for(Period.parse("calendar-month"))) == expected


def test_windows_scale_with_the_period() -> None:
    assert shown(windows_for(Period.parse("7d"))) == [
        ("page", "14m", "2m", 14.4),
        ("page", "1h24m", "7m", 6.0),
        ("ticket", "5h36m", "28m", 3.0),
        ("ticket", "16h48m", "1h24m", 1.0),
    ]
    assert shown(windows_for(Period.parse("1d"))) == [
        ("page", "10m", "2m", 2.88),  # the one over 12m would fire after this one, always
        ("ticket", "48m", "4m", 3.0),
        ("ticket", "2h24m", "12m", 1.0),
    ]


@given(st.integers(1440, 129_600))
def test_windows_of_any_period_can_alert(minutes: int) -> None:
    period = Period(Duration(minutes * 60_000))
    pairs = windows_for(period)
    assert {p.kind for p in pairs} == {"page", "ticket"}
    for pair in pairs:
        assert pair.short >= Duration.parse("2m")
        assert pair.long >= Duration.parse("10m")
        assert pair.long > pair.short
        assert int(pair.long) % 60_000 == int(pair.short) % 60_000 == 0
        assert pair.factor > 1.5 if pair.kind == "page" else pair.factor >= 1


def test_a_complete_outage_is_noticed_whatever_the_objective() -> None:
    slo = SLO.model_validate({"objective": "90%", "sli": "availability"})
    assert [float(p.factor * slo.objective.budget) for p in pairs_of(slo)] == [0.9, 0.6, 0.3, 0.1]


def test_own_windows_and_kinds_are_kept() -> None:
    alerting = {
        "ticket": False,
        "windows": [
            {"kind": "page", "long": "2h", "short": "10m", "budget": "5%"},
            {"kind": "ticket", "long": "1d", "short": "1h", "budget": "10%"},
        ],
    }
    slo = SLO.model_validate({"objective": "99%", "sli": "availability", "alerting": alerting})
    assert shown(pairs_of(slo)) == [("page", "2h", "10m", 18.0)]


def test_the_floor_keeps_chance_from_paging() -> None:
    pairs = windows_for(Period.parse("30d"))
    assert [event_floor(p, Objective.parse("99.9%")) for p in pairs] == [5, 6, 10, 10]
    # Where most events must fail for the alert, fewer of them are proof.
    assert event_floor(pairs[0], Objective.parse("94%")) < 5


def test_retention_is_the_period_and_two_days() -> None:
    assert required_retention(Period.parse("30d")) == Duration.parse("32d")
    assert required_retention(Period.parse("calendar-month")) == Duration.parse("33d")


@pytest.mark.parametrize(
    ("sli", "kind"),
    [
        ("availability", "availability"),
        ({"availability": None}, "availability"),
        ({"latency": {"threshold": "300ms"}}, "latency"),
        ({"freshness": {"metric": "m", "max_age": "26h"}}, "freshness"),
        ({"probe": "front"}, "probe"),
        ({"events": {"total": "a", "errors": "b"}}, "events"),
        ({"promql": {"error_ratio": "x[{window}]"}}, "promql"),
        ({"promql": {"errors": "x[{window}]", "total": "y[{window}]"}}, "promql"),
    ],
)
def test_kinds_of_sli(sli: object, kind: str) -> None:
    assert SLI.model_validate(sli).kind == kind


@pytest.mark.parametrize(
    ("sli", "words"),
    [
        ({}, "exactly one of availability, latency"),
        ({"availability": {}, "probe": "front"}, "not availability and probe"),
        ({"events": {"total": "a"}}, "exactly one of errors and good"),
        ({"events": {"total": "a", "errors": "b", "good": "c"}}, "exactly one of errors and good"),
        ({"promql": {"error_ratio": "x"}}, "does not contain {window}"),
        ({"promql": {"errors": "x[{window}]"}}, "either error_ratio, or errors and total"),
        ({"promql": {}}, "either error_ratio, or errors and total"),
        ({"latency": {"threshold": 300}}, "has no unit"),
    ],
)
def test_an_sli_that_is_not_one_is_refused(sli: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SLI.model_validate(sli)


def test_written_out_and_read_again_it_is_the_same() -> None:
    slo = SLO.model_validate(
        {"objective": "99.95%", "window": "calendar-month", "sli": {"probe": "front"}}
    )
    assert SLO.model_validate(slo.model_dump(mode="json", by_alias=True)) == slo
