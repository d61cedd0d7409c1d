"""The replay of alerts: what it writes, when it takes a rule to fire, who it takes to be told."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from benchmarks import alert_incidents, alert_scores
from benchmarks._output import Result
from benchmarks.alert_catalog import Built, _without_recordings, build
from benchmarks.alert_metrics import metrics_of
from benchmarks.alert_people import People
from benchmarks.alert_replay import Firing, spells
from benchmarks.alert_scrapes import show
from benchmarks.alert_world import Effect, Segment
from benchmarks.alert_write import Series, moment, write
from benchmarks.slo import prometheus
from tests.support.servers import require

START = 1_767_571_200
ALERTMANAGER = """\
route:
  receiver: people
  group_by: [service]
  group_wait: 30s
  group_interval: 1m
  repeat_interval: 4h
  routes:
    - matchers: ['policy!=""']
      receiver: engine
      group_by: ["..."]
      group_wait: 0s
      continue: true
    - matchers: ['severity="P0"']
      receiver: page
    - matchers: ['alertname=~"Quiet|Silent"']
      receiver: nobody
inhibit_rules:
  - source_matchers: ['alertname="Down"']
    target_matchers: ['alertname=~"Slow|Down"', 'severity!="P0"']
    equal: [service]
receivers:
  - {name: people, slack_configs: [{channel: "#a"}]}
  - {name: page, pagerduty_configs: [{routing_key_file: k}]}
  - {name: engine, webhook_configs: [{url: "http://127.0.0.1:1"}]}
  - {name: nobody}
"""


@pytest.fixture(scope="module")
def built() -> Built:
    return build()


def firing(alert: str, begin: float, end: float, severity: str = "P1", **more: str) -> Firing:
    labels = {"alertname": alert, "service": "web", "severity": severity, **more}
    return Firing(alert, labels, begin, end)


def told(*firings: Firing) -> list[tuple[float, str, list[str], bool]]:
    found = People(ALERTMANAGER).told(firings)
    return [(t.at, t.receiver, [f.alert for f in t.new], t.resolved) for t in found]


@pytest.mark.parametrize(
    ("times", "step", "wait", "expected"),
    [
        ([], 15, 0, []),
        ([15], 15, 0, [(15, 30)]),
        ([15, 30], 15, 30, []),
        ([15, 30, 45], 15, 30, [(45, 60)]),
        ([15, 30, 60, 75, 90, 105], 15, 30, [(90, 120)]),
        ([5, 6, 7], 1, 1.5, [(7, 8)]),
        ([15, 30, 90, 105], 15, 0, [(15, 45), (90, 120)]),
    ],
)
def test_a_rule_fires_after_its_wait(
    times: list[float], step: float, wait: float, expected: list[tuple[float, float]]
) -> None:
    assert list(spells(times, step, wait)) == expected


def test_one_page_for_what_joins_before_the_first_message() -> None:
    assert told(firing("A", 0, 200), firing("B", 20, 200)) == [
        (30, "people", ["A", "B"], False),
        (210, "people", [], True),
    ]


def test_what_joins_later_is_told_at_the_next_interval() -> None:
    assert told(firing("A", 0, 500), firing("B", 31, 500)) == [
        (30, "people", ["A"], False),
        (90, "people", ["B"], False),
        (510, "people", [], True),
    ]


def test_what_ends_before_the_first_message_is_never_told() -> None:
    assert told(firing("A", 0, 29)) == []
    assert told(firing("A", 0, 500, "P0", policy="p")) == [
        (30, "page", ["A"], False),
        (510, "page", [], True),
    ]
    assert told(firing("Quiet", 0, 500)) == []


def test_an_inhibited_alert_is_told_when_its_source_has_ended() -> None:
    down, slow = firing("Down", 0, 100, "P0"), firing("Slow", 0, 500)
    assert told(down, slow) == [
        (30, "page", ["Down"], False),
        (150, "page", [], True),
        (150, "people", ["Slow"], False),
        (510, "people", [], True),
    ]
    other = firing("Slow", 0, 100, service="other")
    assert (30, "people", ["Slow"], False) in told(down, other)


def test_a_still_firing_alert_is_repeated_but_is_no_new_page() -> None:
    hours = 5 * 3600
    found = told(firing("A", 0, hours))
    assert [new for _, _, new, _ in found] == [["A"], [], []]
    assert not found[1][3]


def test_series_arrive_with_their_stale_markers(tmp_path: Path) -> None:
    require("prometheus")
    flags = ("--web.enable-remote-write-receiver", "--storage.tsdb.min-block-duration=100000h")
    with prometheus(tmp_path / "data", *flags, "--storage.tsdb.max-block-duration=100000h") as url:
        series = Series("queue", {"job": 'a"b', "instance": "x"})
        for at in range(0, 120, 15):
            if at == 60:
                series.end(moment((START + at) * 1000))
            elif at < 60 or at > 90:
                series.add(moment((START + at) * 1000), at / 2)
        assert write(url, [series, Series("empty", {})]) == 6
        assert write(url, []) == 0
        fields = {"query": "queue", "start": START, "end": START + 105, "step": 15}
        asked = urllib.parse.urlencode(fields)
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{asked}") as answer:
            (found,) = json.load(answer)["data"]["result"]
    assert found["metric"] == {"__name__": "queue", "job": 'a"b', "instance": "x"}
    assert [(at - START, v) for at, v in found["values"]] == [
        (0, "0"),
        (15, "7.5"),
        (30, "15"),
        (45, "22.5"),
        (105, "52.5"),
    ]
    with pytest.raises(RuntimeError, match="samples are refused"):
        _refused(tmp_path)


def _refused(tmp_path: Path) -> None:
    with prometheus(tmp_path / "other", "--web.enable-remote-write-receiver") as url:
        for at in (START, START - 60):
            series = Series("queue", {})
            series.add(moment(at * 1000), 1)
            write(url, [series])


def test_effects_are_about_jobs_and_metrics_that_there_are(built: Built) -> None:
    """One that is not would break nothing, and its incident would be none."""
    targets = {t.job: t for t in built.targets}
    services = {"down", "hang", "errors", "slow", "traffic", "scrape_duration_seconds"}
    known = {rule.alert for rule in built.rules}
    chosen = list(alert_incidents.incidents(known))
    assert len(chosen) >= 20
    assert len({i.name for i in chosen}) == len(chosen)
    effects = [e for i in chosen for e in i.effects]
    effects += alert_incidents.quiet_week(0, 1, 60).effects
    for effect in effects:
        target = targets[effect.job]
        if effect.what in services:
            continue
        shown = [s for s in metrics_of(target) if s.metric == effect.what]
        assert any(effect.labels.items() <= s.labels.items() for s in shown), effect


def test_a_counter_starts_again_when_its_process_does(built: Built) -> None:
    target = next(t for t in built.targets if t.job == "checkout")
    effect = Effect("down", "checkout", 300, 400, nth=0)
    series = show(target, 0, Segment("x", START, 900, (effect,), seed=1))
    up = next(s for s in series if s.metric == "up")
    assert len(up) == 60
    requests = next(s for s in series if s.labels.get("code") == "200")
    assert 52 <= len(requests) <= 55  # seven scrapes without, and one marker of its end


def test_recordings_are_put_in_their_place() -> None:
    recorded = {"a:b": "sum(c:d)", "c:d": "up"}
    found = _without_recordings("a:b > 1 and xa:b", recorded)
    assert found.split() == ["(", "sum((", "up", "))", ")", ">", "1", "and", "xa:b"]
    with pytest.raises(RuntimeError, match="a:b"):
        _without_recordings('a:b{x="1"}', recorded)


def test_scores_tell_what_was_missed_wrong_and_never_shown(built: Built) -> None:
    incident = next(
        i
        for i in alert_incidents.incidents(["ServiceDown"])
        if i.must == (("ServiceDown", "checkout"),)
    )
    begin = alert_incidents.BEGIN
    labels = {"alertname": "ServiceDown", "service": "checkout", "severity": "P0"}
    seen = Firing("ServiceDown", labels, begin + 45, begin + 700)
    noise = Firing("MemoryHigh", labels | {"severity": "P1", "alertname": "MemoryHigh"}, 5, 900)

    def found(*firings: Firing) -> dict[str, Result]:
        results = alert_scores.results(built, [(incident, firings)], [[noise]], 1.0)
        return {r.name: r for r in results}

    right = found(seen)
    assert right["P0: recall"].value == 1
    assert right["ServiceDown (P0): time to detect, p95"].value == 45
    assert right["ServiceDown (P0): beyond its arithmetic minimum, most"].value == 15
    assert right["pages per incident: most"].value == 1
    assert right["1 quiet weeks: most P1 of a service in a week"].value == 1
    assert right["MemoryHigh (P1): per quiet week"].value == 1
    assert right["DiskFull (P1): recall"].note == alert_scores.NO_INCIDENT
    missed = found()
    assert missed["P0: recall"].value == 0
    assert incident.name in missed["P0: recall"].note
    wrong = found(seen, Firing("DiskFull", labels | {"alertname": "DiskFull"}, begin, begin + 99))
    assert wrong["DiskFull (P1): per quiet week"].value == 0
    assert (wrong["all alerts: precision"].value or 1) < 1
