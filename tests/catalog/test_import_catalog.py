"""Imports: what is refused and where, names, teams, references, and whatever else YAML may hold."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from opsloop.catalog.check_services import RESERVED_NAMES
from opsloop.catalog.import_catalog import NAME, NothingCarried, import_texts
from opsloop.catalog.import_text import escaped
from opsloop.catalog.imported import Imported
from opsloop.catalog.interpolate import interpolate
from opsloop.catalog.load import load
from opsloop.catalog.slo import pairs_of
from opsloop.errors import CatalogError, InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "import"
EXAMPLES = {p: p.read_text() for p in sorted(GOLDEN.glob("*/*.yaml"))}
ERRORS = 'sum(rate(r_total{code="500"}[{{.window}}]))'
TOTAL = "sum(rate(r_total[{{.window}}]))"


def sloth(service: str = "web", slos: Any = None, **more: Any) -> str:
    return yaml.safe_dump({"version": "prometheus/v1", "service": service, "slos": slos, **more})


def slo(name: str = "up", objective: Any = 99.9, **more: Any) -> dict[str, Any]:
    events = {"error_query": ERRORS, "total_query": TOTAL}
    return {"name": name, "objective": objective, "sli": {"events": events}, "alerting": {}} | more


def one(*texts: str, team: str | None = None) -> Imported:
    return import_texts([(f"{i}.yaml", t) for i, t in enumerate(texts)], team)


def refused(*texts: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        one(*(textwrap.dedent(t) for t in texts))
    assert caught.value.exit_code == 2
    assert "nothing was written" in caught.value.reason
    return str(caught.value).splitlines()


def services(result: Imported) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(result.text)["services"]
    return found


BAD_SLOTH = """\
version: prometheus/v1
service: web
slos:
  - name: a
    objective: 100.5
    sli:
      events:
        error_query: sum(rate(r_total[5m]))
        total_query: sum(rate(r_total[{{.window}}])
  - name: b
    objective: lots
    sli: {raw: {error_ratio_query: "x{{.window}}"}, plugin: {id: p}}
  - objective: 99
    sli: {}
"""


def test_every_mistake_at_once_with_line_and_path() -> None:
    assert refused(BAD_SLOTH) == [
        "0.yaml:5: slos[0].objective: '100.5%' is not between 0% and 100%, both excluded",
        (
            "0.yaml:8: slos[0].sli.events.error_query: does not contain {{.window}}"
            " (write [{{.window}}])"
        ),
        "0.yaml:9: slos[0].sli.events.total_query: '(' is not closed",
        "0.yaml:11: slos[1].objective: 'lots' is not a number",
        "0.yaml:12: slos[1].sli: an sli has one of events, raw and plugin, not raw and plugin",
        "0.yaml:13: slos[2].name: name is missing (add name:)",
        "0.yaml:14: slos[2].sli: an sli has one of events, raw and plugin, and has none",
    ]


def test_a_file_that_is_half_valid_is_refused_as_a_whole() -> None:
    good = sloth(slos=[slo()])
    assert refused(good + "---\nversion: prometheus/v1\nslos: [\n")[0].startswith("0.yaml:")
    assert refused(good, "version: prometheus/v2\nservice: a\n") == [
        (
            "1.yaml:1: version 'prometheus/v2' is not known (Sloth has version: prometheus/v1, the"
            " others have apiVersion: and kind:)"
        )
    ]
    assert refused(good, "just words")[0] == "1.yaml:1: a document is a mapping, not 'just words'"
    assert refused(good, "")[0] == "1.yaml:1: the file is empty"
    assert refused("apiVersion: opsloop/v1\nservices: {}\n") == [
        "0.yaml:1: is a catalog of opsloop already (opsloop check reads it)"
    ]
    assert refused("apiVersion: openslo.com/v2alpha\nkind: SLO\n") == [
        "0.yaml:1: openslo.com/v2alpha is not read (what is read is openslo/v1 and openslo/v1alpha)"
    ]
    assert refused("apiVersion: v1\nkind: ConfigMap\n") == [
        "0.yaml: has no SLO that is read here (give files of Sloth, Pyrra or OpenSLO)"
    ]


def test_an_slo_that_is_here_twice() -> None:
    assert refused(sloth(slos=[slo()]), sloth(slos=[slo()])) == [
        (
            "1.yaml:3: slos[0]: SLO 'up' of 'web' is here twice, first in 0.yaml:3"
            " (rename one of them, or give its file alone)"
        )
    ]


PYRRA = """\
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: x, namespace: n}
spec:
  target: "ninety"
  window: 30 days
  indicator: {ratio: {errors: {metric: "a{"}, total: {}}}
"""


def test_pyrra_says_all_too() -> None:
    assert refused(PYRRA) == [
        "0.yaml:5: spec.target: 'ninety' is not a number",
        "0.yaml:6: spec.window: '30 days' is not a duration",
        "0.yaml:7: spec.indicator.ratio.errors.metric: '{' is not closed",
        "0.yaml:7: spec.indicator.ratio.total.metric: metric is missing (add metric:)",
    ]


OPENSLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: x}
spec:
  service: s
  indicatorRef: nowhere
  budgetingMethod: Sometimes
  timeWindow: [{duration: 4weeks, isRolling: true}]
  objectives: [{target: 99.9}, {}]
  alertPolicies: [missing]
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: y}
spec:
  service: s
  indicatorRef: nowhere
  budgetingMethod: Occurrences
  timeWindow: [{duration: 4w, isRolling: true}]
  objectives: [{target: 99.9}, {}]
  alertPolicies: [missing]
"""


def test_openslo_says_all_too() -> None:
    assert refused(OPENSLO) == [
        "0.yaml:8: spec.timeWindow[0].duration: '4weeks' is not a duration as 4w or 1M",
        (
            "0.yaml:7: spec.budgetingMethod: 'Sometimes' is not one of Occurrences, Timeslices,"
            " RatioTimeslices"
        ),
        (
            "0.yaml:17: spec.indicatorRef: there is no SLI 'nowhere' in these files"
            " (give the file that has it too)"
        ),
        (
            "0.yaml:21: spec.alertPolicies: there is no AlertPolicy 'missing' in these files"
            " (give the file that has it too)"
        ),
        (
            "0.yaml:20: spec.objectives[0].target: a target is between 0 and 1"
            " (write targetPercent: 99.9)"
        ),
        (
            "0.yaml:20: spec.objectives[1]: an objective has one of target and targetPercent"
            " (write target: 0.999)"
        ),
    ]


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(NothingCarried) as caught:
        one(sloth(slos=[slo(objective=100)]))
    assert caught.value.exit_code == 2
    whats = [n.what for n in caught.value.not_carried]
    assert whats == ["the SLO, whose objective is 100%", "service 'web'"]


def test_names_become_valid_and_unique_and_that_is_said() -> None:
    result = one(
        sloth("My Service", [slo("A_b"), slo("a b", 98), slo("a-b", 97), slo("x" * 60, 96)]),
        sloth("my-service", [slo()]),
        sloth("prometheus", [slo()]),
        sloth("42", [slo()]),
    )
    found = services(result)
    assert sorted(found) == ["my-service", "my-service-2", "prometheus-2", "service"]
    assert sorted(found["my-service-2"]["slos"]) == ["a-b", "a-b-2", "a-b-3", "x" * 40]
    assert set(found["my-service"]["slos"]) == {"up"}
    told = {(c.was, c.now) for c in result.changed if "team" not in c.now}
    assert told == {
        ("service 'My Service'", "'my-service-2'"),
        ("service 'prometheus'", "'prometheus-2'"),
        ("service '42'", "'service'"),
        ("slo 'A_b'", "'a-b-2'"),
        ("slo 'a b'", "'a-b-3'"),
        (f"slo {'x' * 60!r}", repr("x" * 40)),
    }


def test_teams() -> None:
    labelled = sloth("a", [slo()], labels={"team": "Pay Ments", "owner": "x", "tier": "7"})
    owned = sloth("b", [slo()], labels={"owner": "blue"})
    bare = sloth("c", [slo()])
    found = services(one(labelled, owned, bare, team="mine"))
    assert [found[n]["team"] for n in "abc"] == ["pay-ments", "blue", "mine"]
    assert "tier" not in found["a"]
    assert services(one(bare))["c"]["team"] == "platform"


def test_documents_of_one_service_share_it_and_its_first_runbook() -> None:
    def alerting(link: str) -> dict[str, Any]:
        return {"alerting": {"annotations": {"runbook": link}}}

    result = one(
        sloth(slos=[slo("a", **alerting("https://a.example"))]),
        sloth(slos=[slo("b", 98, **alerting("https://b.example"))]),
    )
    web = services(result)["web"]
    assert web["runbook"] == "https://a.example"
    assert list(web["slos"]) == ["a", "b"]
    assert "annotations runbook" in [n.what for n in result.not_carried]


def test_what_the_catalog_would_refuse_is_left_out_and_never_shown() -> None:
    secret = "https://user:" + "hunter22@example.org"
    result = one(
        sloth(slos=[
            slo("a", description=f"see {secret}"),
            slo("b", 98, description="x" * 3000),
            slo("c", sli={"events": {
                "error_query": f'sum(rate(r_total{{u="{secret}"}}[{{{{.window}}}}]))',
                "total_query": TOTAL,
            }}),
        ])
    )  # fmt: skip
    assert list(services(result)["web"]["slos"]) == ["a", "b"]
    said = "\n".join(map(str, (*result.not_carried, *result.changed)))
    assert said.count("the description") == 2
    assert "the SLO 'c'" in said
    assert "hunter22" not in said + result.text


def test_text_comes_back_as_it_was(tmp_path: Path) -> None:
    texts = [
        "${HOME} and $${HOME}",
        "a: b # c",
        "- x",
        "yes",
        "1e5",
        "0x1",
        "'q' \"p\"",
        "l1\nl2 ${A}",
    ]
    texts += ["{window}", "tab\there", "\u2028x", "💥", "trailing \n\n x"]
    result = one(sloth(slos=[slo(f"s{i}", 99 - i, description=t) for i, t in enumerate(texts)]))
    path = tmp_path / "opsloop.yaml"
    path.write_text(result.text)
    slos = load(path, {}).catalog.services["web"].slos
    assert [slos[f"s{i}"].description for i in range(len(texts))] == [t.strip() for t in texts]


@given(st.text(alphabet="${}Aa:-"))
def test_escapes_survive_references(text: str) -> None:
    assert interpolate(escaped(text), {}) == (text, [])


def test_windows_of_two_periods() -> None:
    def windows(period: str, budget: float) -> str:
        pair = {
            speed: {"errorBudgetPercent": budget, "shortWindow": "5m", "longWindow": "1h"}
            for speed in ("quick", "slow")
        }
        spec = {"sloPeriod": period, "page": pair, "ticket": pair}
        head = {"apiVersion": "sloth.slok.dev/v1", "kind": "AlertWindows"}
        return yaml.safe_dump({**head, "spec": spec})

    result = one(windows("7d", 3), windows("30d", 4), sloth(slos=[slo()]))
    (carried,) = result.slos
    assert str(carried.value.window) == "30d"
    assert {str(w.budget) for w in carried.value.alerting.windows} == {"4%"}
    assert [n.what for n in result.not_carried] == ["alert windows of 7d"]
    twice = refused(windows("30d", 4), windows("30d", 4))
    assert twice == ["1.yaml:1: alert windows of 30d are in 0.yaml:1 already"]


def test_the_shipped_windows_are_not_repeated() -> None:
    shipped = {
        "page": {"quick": (2, "5m", "1h"), "slow": (5, "30m", "6h")},
        "ticket": {"quick": (10, "2h", "1d"), "slow": (10, "6h", "3d")},
    }
    spec: dict[str, Any] = {"sloPeriod": "30d"}
    for kind, speeds in shipped.items():
        spec[kind] = {
            speed: {"errorBudgetPercent": b, "shortWindow": s, "longWindow": w}
            for speed, (b, s, w) in speeds.items()
        }
    text = yaml.safe_dump({"apiVersion": "sloth.slok.dev/v1", "kind": "AlertWindows", "spec": spec})
    assert "alerting" not in services(one(text, sloth(slos=[slo()])))["web"]["slos"]["up"]


def windows_of(result: Imported) -> list[tuple[str, str, str]]:
    (carried, *_) = result.slos
    return [(w.kind, str(w.long), str(w.budget)) for w in carried.value.alerting.windows]


def test_windows_that_cannot_be_taken_leave_nobody_deaf() -> None:
    slow = {"errorBudgetPercent": 1, "shortWindow": "30m", "longWindow": "6h"}
    long = {"errorBudgetPercent": 50, "shortWindow": "6h", "longWindow": "40d"}
    even = {"errorBudgetPercent": 10, "shortWindow": "6h", "longWindow": "3d"}
    spec = {
        "sloPeriod": "30d",
        "page": {"quick": slow, "slow": slow},
        "ticket": {"quick": long, "slow": even},
    }
    text = yaml.safe_dump({"apiVersion": "sloth.slok.dev/v1", "kind": "AlertWindows", "spec": spec})
    result = one(text, sloth(slos=[slo()]))
    assert windows_of(result) == [
        ("ticket", "3d", "10%"),
        ("page", "1h", "2%"),
        ("page", "6h", "5%"),
    ]
    assert ("page windows", "the shipped ones") in [(c.was, c.now) for c in result.changed]
    whys = [n.why for n in result.not_carried if n.what.endswith("window")]
    assert whys == [
        "a page needs a burn rate of more than 1.5, and this is 1.2",
        "a page needs a burn rate of more than 1.5, and this is 1.2",
        "its long window, 40d, is longer than the period of 30d",
    ]


POLICY = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: x}
spec:
  service: s
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: prometheus, spec: {query: 'e_total'}}}
        total: {metricSource: {type: prometheus, spec: {query: 't_total'}}}
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{target: 0.99}]
  alertPolicies:
    - kind: AlertPolicy
      metadata: {name: p}
      spec:
        alertWhenBreaching: BREACHING
        conditions:
          - kind: AlertCondition
            metadata: {name: c}
            spec:
              severity: SEVERITY
              condition: {kind: burnrate, threshold: THRESHOLD, lookbackWindow: 1d, alertAfter: 0m}
"""


@pytest.mark.parametrize(
    ("breaching", "severity", "threshold", "expected"),
    [
        ("true", "Critical", "3", [("page", "1d", "10%")]),
        ("true", "low", "1", [("ticket", "1d", "3.333334%")]),
        ("true", "page", "1.5", [("page", "1h", "2%"), ("page", "6h", "5%")]),
        ("true", "ticket", "31", [("ticket", "1d", "10%"), ("ticket", "3d", "10%")]),
        ("false", "page", "3", []),
    ],
)
def test_alert_conditions(
    breaching: str, severity: str, threshold: str, expected: list[tuple[str, str, str]]
) -> None:
    text = POLICY.replace("BREACHING", breaching).replace("SEVERITY", severity)
    result = one(text.replace("THRESHOLD", threshold))
    assert windows_of(result) == expected
    for carried in result.slos:
        least = {"page": 1.5, "ticket": 1}
        assert all(p.factor >= least[p.kind] for p in pairs_of(carried.value))


@pytest.mark.parametrize(
    ("window", "expected", "told"),
    [
        ("{duration: 1M, isRolling: false}", "calendar-month", []),
        ("{duration: 1M, isRolling: true}", "30d", ["a rolling month"]),
        ("{duration: 2w, isRolling: false}", "14d", ["the alignment to the calendar"]),
        ("{duration: 1Y, isRolling: true}", "90d", ["a window of 365d"]),
        ("{duration: 6h, isRolling: true}", "1d", ["a window of 6h"]),
        (
            "{duration: 1M, calendar: {startTime: '2024-01-01', timeZone: UTC}}",
            "calendar-month",
            [],
        ),
        (
            "{duration: 1M, calendar: {startTime: 2024-01-01 12:30:00, timeZone: UTC}}",
            "calendar-month",
            ["the start 2024-01-01 12:30:00"],
        ),
        (
            "{duration: 1Q, calendar: {startTime: 2024-01-01 00:00:00, timeZone: Asia/Tokyo}}",
            "90d",
            ["the alignment to the calendar"],
        ),
    ],
)
def test_time_windows(window: str, expected: str, told: list[str]) -> None:
    text = POLICY.split("  alertPolicies", maxsplit=1)[0].replace(
        "{duration: 30d, isRolling: true}", window
    )
    result = one(text)
    (carried,) = result.slos
    assert str(carried.value.window) == expected
    said = [n.what for n in result.not_carried] + [c.was for c in result.changed]
    assert [s for s in said if s != "no alerts" and "team" not in s] == told


def test_a_service_of_objectives_alone_needs_nothing_to_scrape(tmp_path: Path) -> None:
    result = one(sloth(slos=[slo()]))
    path = tmp_path / "opsloop.yaml"
    path.write_text(result.text)
    assert load(path, {}).catalog.services["web"].slos
    path.write_text(result.text.replace("series: all", "series: own"))
    with pytest.raises(CatalogError, match="has nothing to scrape"):
        load(path, {})


def test_aliases_and_anchors() -> None:
    text = textwrap.dedent(f"""\
        version: prometheus/v1
        service: web
        slos:
          - &first
            name: a
            objective: 99
            sli: {{events: {{error_query: '{ERRORS}', total_query: '{TOTAL}'}}}}
          - <<: *first
            name: b
            objective: 98
    """)
    assert list(services(one(text))["web"]["slos"]) == ["a", "b"]


KEYS = sorted(
    {
        key
        for text in EXAMPLES.values()
        for document in yaml.safe_load_all(text)
        for key in json.dumps(document).split('"')
        if key.isidentifier()
    }
)
WORDS = [
    "prometheus/v1",
    "sloth.slok.dev/v1",
    "pyrra.dev/v1alpha1",
    "openslo/v1",
    "SLO",
    "99.9",
    "4w",
]
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
        st.sampled_from([*WORDS, ERRORS, TOTAL]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=20,
)  # fmt: skip


def outcome(*texts: str) -> Imported | InputError:
    try:
        return one(*texts)
    except InputError as error:
        return error


def judge(*texts: str) -> None:
    """Whatever the text: a catalog that is fine, or an InputError that says something."""
    result = outcome(*texts)
    if isinstance(result, InputError):
        problems = result.problems if isinstance(result, CatalogError) else []
        assert str(result)
        assert all(p.message and p.line >= 0 for p in problems)
        return
    data = yaml.safe_load(result.text)
    assert all(NAME.fullmatch(n) and n not in RESERVED_NAMES for n in data["services"])
    assert sum(len(s["slos"]) for s in data["services"].values()) == len(result.slos) > 0


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=120))
@example("- - a")
@example("kind: SLOList\nitems: [a]")
@example("a: &a [*a]")
@example("version: prometheus/v1\nservice: {}\nslos: 1")
def test_any_text(text: str) -> None:
    judge(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(values, min_size=1, max_size=2))
def test_any_values(documents: list[Any]) -> None:
    judge(*(yaml.safe_dump(d) for d in documents))


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Each place inside a document: its container and its key."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in items:
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += _spots(inner)
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_examples_with_something_broken(data: st.DataObject) -> None:
    """One or two fields of a real file are gone, or hold something else."""
    text = data.draw(st.sampled_from(list(EXAMPLES.values())))
    documents = list(yaml.safe_load_all(text))
    for _ in range(data.draw(st.integers(1, 2))):
        spots = _spots(documents)
        if not spots:
            break
        container, key = data.draw(st.sampled_from(spots))
        if data.draw(st.booleans()):
            container[key] = data.draw(values)
        else:
            del container[key]
    judge(yaml.safe_dump_all(documents))
