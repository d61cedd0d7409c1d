"""The join of what is known of alerts: states, order, sentences, who was told; and silences."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from opsloop.drivers.listed import Listed, Matcher, Rule, RuleAlert, Silence
from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.plan import Run, RunState
from opsloop.report import alert_rows as lines
from opsloop.report import silences
from opsloop.report.alerts import Missing, Sources, board
from opsloop.report.told import Failures, Heard, heard, is_about, kinds, told
from opsloop.web.messages import Message
from tests.store.samples import plan

NOW = 1_800_000_000.0
DOWN = {"alertname": "ServiceDown", "severity": "P0", "service": "api", "policy": "restart-down"}
KINDS = {"people": ("slack",), "people-page": ("pagerduty", "slack"), "engine": ("webhook",)}


def fires(labels: dict[str, str], at: float = NOW - 60, *, state: str = "firing") -> RuleAlert:
    return RuleAlert(state, at, labels, {"summary": "s"}, 1.0)


def rule(labels: dict[str, str], *alerts: RuleAlert, for_s: float = 0.0) -> Rule:
    return Rule(labels["alertname"], for_s, labels, alerts=alerts)


def known(
    labels: dict[str, str], fingerprint: str = "a1", at: float = NOW - 60, **status: Any
) -> Listed:
    receivers = status.pop("receivers", ("people",))
    alert = Alert(fingerprint, at, True, labels, {"summary": "s"}, NOW + 240, **status)
    return Listed(alert, receivers)


def episode(state: EpisodeState = EpisodeState.NEW, reason: str = "", at: float = NOW) -> Episode:
    return Episode(7, "a1", at, DOWN, {}, True, state, at, at, None, None, reason)


def message(vendor: str, body: dict[str, Any], title: str = "", **other: Any) -> Message:
    values: dict[str, Any] = {
        "id": 1,
        "received_at": NOW - 30,
        "vendor": vendor,
        "path": "/",
        "accepted": True,
        "reason": "",
        "status": "firing",
        "title": title,
        "body": json.dumps(body),
    }
    return Message(**{**values, **other})


def page(alert: str, service: str = "api") -> Message:
    return message("pagerduty", {"payload": {"class": alert, "component": service}}, "it is down")


def slack(title: str, text: str = "", **other: Any) -> Message:
    return message("slack", {"attachments": [{"title": title, "text": text}]}, title, **other)


# The join


def test_labels_that_prometheus_adds_on_the_way_do_not_matter() -> None:
    listed = [known({**DOWN, "cluster": "north"}), known({**DOWN, "instance": "x"}, "a2")]
    one, other = DOWN, {**DOWN, "instance": "x"}
    rows = board(Sources(NOW, [rule(DOWN, fires(one), fires(other))], listed)).rows
    assert [(r.fingerprint, r.state) for r in rows] == [("a1", "firing"), ("a2", "firing")]


def test_what_only_alertmanager_knows_fires_too() -> None:
    posted = known({"alertname": "RemediationFailed", "original": "ServiceDown", "severity": "P0"})
    (row,) = board(Sources(NOW, [], [posted])).rows
    assert row.state == "firing"
    assert lines.cells(board(Sources(NOW, [], [posted])), row)[1] == (
        "RemediationFailed (ServiceDown)"
    )


@pytest.mark.parametrize(("age", "state"), [(80.0, "firing"), (100.0, "unsent")])
def test_an_alert_that_does_not_come_through(age: float, state: str) -> None:
    found = board(Sources(NOW, [rule(DOWN, fires(DOWN, NOW - age))], []))
    assert found.rows[0].state == state
    # Where Alertmanager does not answer, nobody knows.
    away = board(Sources(NOW, [rule(DOWN, fires(DOWN, NOW - age))], None))
    assert away.rows[0].state == "firing"


def test_a_lost_watchdog_is_in_the_sentence() -> None:
    watchdog = {"alertname": "Watchdog"}
    found = board(Sources(NOW, [rule(watchdog, fires(watchdog, NOW - 500))], []))
    assert lines.sentence(found) == (
        "Nothing fires; alerts of Prometheus do not reach Alertmanager."
    )
    assert found.shown(False) == []


def test_the_worst_is_first() -> None:
    def named(name: str, severity: str) -> dict[str, str]:
        return {"alertname": name, "severity": severity}

    rules = [
        rule(named("P", "P0"), fires(named("P", "P0"), state="pending"), for_s=120),
        rule(named("Q", "P0")),
        rule(named("L", "P1"), fires(named("L", "P1"), NOW - 900)),
    ]
    listed = [
        known(named("C", "P1"), "c", NOW - 20),
        known(named("B", "P1"), "b", NOW - 40),
        known(named("N", ""), "n"),
        known(named("I", "P0"), "i", inhibited_by=("c",)),
        known(named("S", "P0"), "s", silenced_by=("x",)),
        known(named("A", "P0"), "a", NOW - 10),
    ]
    found = board(Sources(NOW, rules, listed))
    assert [r.alert for r in found.rows] == ["A", "L", "B", "C", "N", "P", "I", "S", "Q"]
    assert lines.sentence(found) == (
        "P0 A fires since 10 s; 4 more fire (3 P1, 1 other); 1 is inhibited; 1 is silenced;"
        " 1 is pending."
    )


def test_nothing_at_all() -> None:
    assert lines.sentence(board(Sources(NOW, [], []))) == "Nothing fires."
    held = board(Sources(NOW, [], [known(DOWN, silenced_by=("x",))]))
    assert lines.sentence(held) == "Nothing fires that people should know of; 1 is silenced."


@pytest.mark.parametrize(
    ("state", "reason", "sentence", "cell"),
    [
        (EpisodeState.NEW, "", "", "to be decided (episode 7)"),
        (
            EpisodeState.NEW,
            "cool-down",
            " and the loop waits (cool-down)",
            "waits: cool-down (episode 7)",
        ),
        (
            EpisodeState.ESCALATED,
            "all tried",
            " and the loop has given it to people",
            "gave it to people: all tried (episode 7)",
        ),
        (EpisodeState.WATCHED, "dry-run", "", "watches: dry-run (episode 7)"),
    ],
)
def test_what_the_loop_does(state: EpisodeState, reason: str, sentence: str, cell: str) -> None:
    sources = Sources(NOW, [], [known(DOWN)], episodes=[episode(state, reason)])
    found = board(sources)
    assert lines.sentence(found) == f"P0 ServiceDown of api fires since 60 s{sentence}."
    assert lines.cells(found, found.rows[0])[-1] == cell


def test_an_alert_that_the_engine_never_got() -> None:
    found = board(Sources(NOW, [], [known(DOWN)]))
    assert lines.cells(found, found.rows[0])[-1] == "restart-down: the engine has not received it"
    pending = board(Sources(NOW, [rule(DOWN, fires(DOWN, state="pending"), for_s=90)], []))
    assert lines.cells(pending, pending.rows[0])[-1] == "restart-down when it fires"
    assert lines.cells(pending, pending.rows[0])[4] == "pending, fires in 30 s"


def test_what_the_loop_keeps_from_people_while_it_acts_is_in_the_sentence() -> None:
    run = Run(
        id=4,
        episode_id=7,
        policy="restart-down",
        service="api",
        attempt=0,
        state=RunState.ACTING,
        plan=plan(),
        token=1,
        created_at=NOW,
        acting_at=NOW,
        acted_at=None,
        finished_at=None,
        good_since=None,
        reason="",
        detail={},
    )
    running = known({"alertname": "RemediationRunning", "service": "api"}, "r1")
    sources = Sources(
        NOW,
        [],
        [known(DOWN, inhibited_by=("r1",)), running],
        episodes=[episode(EpisodeState.RUNNING)],
        runs={7: run},
    )
    found = board(sources)
    assert lines.sentence(found) == (
        "Nothing fires that people should know of; the loop acts on P0 ServiceDown of api"
        " (run 4, acting); 1 is inhibited."
    )
    assert [r.alert for r in found.shown(False)] == ["ServiceDown"]
    assert lines.cells(found, found.shown(False)[0])[4] == "inhibited by RemediationRunning of api"


def test_an_alert_without_a_policy_is_nothing_of_the_loops() -> None:
    labels = {k: v for k, v in DOWN.items() if k != "policy"}
    watched = episode(EpisodeState.WATCHED, "no policy acts on ServiceDown")
    found = board(Sources(NOW, [], [known(labels)], episodes=[watched]))
    assert lines.cells(found, found.rows[0])[-1] == "no policy"


def test_the_newest_episode_counts() -> None:
    old = episode(EpisodeState.ESCALATED, "old", NOW - 900)
    new = dataclasses.replace(episode(EpisodeState.NEW, "new"), id=8)
    (row,) = board(Sources(NOW, [], [known(DOWN)], episodes=[old, new])).rows
    assert row.episode == new
    (blind,) = board(Sources(NOW, [rule(DOWN, fires(DOWN))], None, episodes=[old, new])).rows
    assert blind.episode == new


def test_the_fields_of_the_json_stay() -> None:
    missing = (Missing("Prometheus", "it is away", "x is not known"),)
    silence = Silence("x", "active", (), "why", "ann", NOW, NOW + 60)
    listed = [
        known(DOWN, silenced_by=("x", "gone"), inhibited_by=("f",), receivers=("people-page",))
    ]
    failures = {"slack": Failures(3, 2.4), "webhook": Failures(5, 0.0), "email": Failures(1)}
    sources = Sources(
        NOW, None, listed, [silence], KINDS, failures, episodes=[episode()], missing=missing
    )
    body = lines.as_json(board(sources), everything=False)
    json.dumps(body, allow_nan=False)
    assert list(body) == [
        *("summary", "complete", "missing", "alerts", "failing_receivers", "broken_rules"),
        *("paused", "paused_why"),
    ]
    (row,) = body["alerts"]
    assert list(row) == [
        *("alert", "severity", "service", "instance", "team", "policy", "state", "since"),
        *("fires_at", "value", "silenced_by", "inhibited_by", "muted_by", "told", "told_after"),
        *("loop", "fingerprint", "labels", "annotations"),
    ]
    assert row["silenced_by"][0] == {
        "id": "x",
        "by": "ann",
        "why": "why",
        "until": "2027-01-15T08:01:00.000Z",
    }
    assert row["inhibited_by"] == [
        {"fingerprint": "f", "alert": None, "service": None, "instance": None}
    ]
    assert [f["kind"] for f in body["failing_receivers"]] == ["email", "slack"]
    assert body["failing_receivers"][1]["receivers"] == ["people", "people-page"]
    assert "notifications by email, slack fail" in body["summary"]


def test_odd_text_does_no_harm() -> None:
    odd = {"alertname": "A\x1b[2J", "severity": "P0", "service": "a\nb\u202e"}
    silence = Silence("x", "active", (), "\x07\nwhy", "\x1b]0;x", NOW, NOW + 60)
    found = board(Sources(NOW, [], [known(odd, silenced_by=("x",)), known(odd, "b")], [silence]))
    for row in found.rows:
        assert all(cell.isprintable() for cell in lines.cells(found, row))
    assert lines.sentence(found).isprintable()


# Who was told


def ways(labels: dict[str, str], *messages: Message, since: float = NOW - 60) -> dict[str, str]:
    found = told(labels, since, ("engine", "people-page"), KINDS, heard(messages))
    return {t.via: t.status for t in found}


def test_the_engine_and_nobody_are_no_people() -> None:
    assert ways(DOWN) == {"pagerduty": "unknown", "slack": "unknown"}
    assert told(DOWN, NOW, ("engine", "nobody"), KINDS, []) == []


def test_told_not_yet_and_refused() -> None:
    refused = dataclasses.replace(page("ServiceDown"), accepted=False, reason="no key")
    assert ways(DOWN, slack("[P0] ServiceDown: api"), refused) == {
        "pagerduty": "refused",
        "slack": "told",
    }
    assert ways(DOWN, slack("[P0] DiskFull: old")) == {"pagerduty": "unknown", "slack": "not yet"}
    again = [refused, dataclasses.replace(page("ServiceDown"), received_at=NOW - 10)]
    assert ways(DOWN, *again)["pagerduty"] == "told"


def test_a_message_of_an_earlier_time_tells_nothing_of_this() -> None:
    early = slack("[P0] ServiceDown: api", received_at=NOW - 3600)
    assert ways(DOWN, early)["slack"] == "not yet"
    resolved = slack("[resolved] ServiceDown: api", status="resolved")
    assert ways(DOWN, resolved)["slack"] == "unknown"


@pytest.mark.parametrize(
    ("sent", "about"),
    [
        (slack("[P0] ServiceDown: api (2 firing)"), True),
        (slack("[P0] ServiceDown", "Team: shop\nService: api"), True),
        (slack("2 alerts", "ServiceDown of api fires"), True),
        (slack("[P0] ServiceDown: api-two"), False),
        (slack("[P0] OtherServiceDown: api"), False),
        (slack("[P0] RemediationFailed of ServiceDown: api"), False),
        (slack("[P1] HighLatency: api", "because of it ServiceDown-ish"), False),
        (page("ServiceDown"), True),
        (page("ServiceDown", "web"), False),
        (page("HighErrorRate"), False),
        (message("pagerduty", {"payload": {}}, "ServiceDown on api"), True),
        (message("webhook", {"alerts": [{"labels": {"alertname": "A"}}, {"labels": DOWN}]}), True),
        (message("webhook", {"alerts": [{"labels": {**DOWN, "instance": "x"}}, 3]}), False),
        (message("webhook", {"alerts": None}), False),
    ],
)
def test_which_message_is_about_an_alert(sent: Message, about: bool) -> None:
    (found,) = heard([sent])
    assert is_about(found, DOWN) is about


def test_a_message_about_what_the_loop_gave_up() -> None:
    labels = {"alertname": "RemediationFailed", "original": "ServiceDown", "service": "api"}
    (of_it,) = heard([slack("[P0] RemediationFailed of ServiceDown: api")])
    (other,) = heard([slack("[P0] RemediationFailed of DiskFull: api")])
    assert (is_about(of_it, labels), is_about(other, labels)) == (True, False)


@pytest.mark.parametrize("body", ["", "[1]", "nonsense", "[" * 100_000])
def test_what_cannot_be_read_is_left_out(body: str) -> None:
    read: list[Heard] = heard([dataclasses.replace(slack("x"), body=body)])
    assert read == []


def test_the_grace_is_told_and_failures_are_seen() -> None:
    sources = Sources(
        NOW,
        [],
        [known(DOWN, receivers=("people-page",))],
        kinds=KINDS,
        failures={"pagerduty": Failures(9, 2.6)},
        inbox=[slack("[P0] ServiceDown: api")],
    )
    found = board(sources)
    assert lines.cells(found, found.rows[0])[6] == (
        "pagerduty (when is not recorded), FAILS (3 in 15 min), slack 01-15 07:59:30"
    )
    waiting = dataclasses.replace(found.rows[0], told=(), told_after=NOW + 20)
    assert lines.cells(found, waiting)[6] == "in 20 s, unless it is healed"


def test_receivers_of_a_configuration() -> None:
    config = {
        "receivers": [
            {"name": "a", "slack_configs": [{}], "pagerduty_configs": [{}]},
            {"name": "nobody"},
            {"name": "empty", "email_configs": []},
        ]
    }
    assert kinds(config) == {"a": ("pagerduty", "slack"), "nobody": (), "empty": ()}
    assert kinds({}) == {}


# Silences


def test_the_fields_of_a_silence_stay() -> None:
    silence = Silence("0123456789", "active", (Matcher("a", "=~", "b"),), "w", "ann", NOW, NOW + 90)
    assert silences.row(silence, 2) == {
        "id": "0123456789",
        "state": "active",
        "matchers": ['a=~"b"'],
        "starts_at": "2027-01-15T08:00:00.000Z",
        "ends_at": "2027-01-15T08:01:30.000Z",
        "by": "ann",
        "why": "w",
        "mutes": 2,
    }
    assert silences.cells(silence, 2, NOW) == (
        *("01234567", "active", 'a=~"b"', "01-15 08:01:30", "90 s", "ann", "w", "2"),
    )


def test_silences_in_force_come_first() -> None:
    def made(name: str, state: str, ends_at: float) -> Silence:
        return Silence(name, state, (), "", "", NOW, ends_at)

    given = [made("d", "expired", 1), made("c", "pending", 9), made("b", "active", 9)]
    found = silences.ordered([*given, made("a", "active", 5)])
    assert [s.id for s in found] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("matchers", "everything"),
    [
        ([], True),
        (["service=~.+"], True),
        (["service=~.+", "team=~.+"], True),
        (["service=~.+", "team=shop"], False),
        (["service!=x"], True),
        (["instance=~.+"], True),
        (["service=~api|web"], True),
        (["service=~api|we"], False),
        (["service=~api.*"], False),
        (["service=api"], False),
        (["team=shop"], False),  # the only one today
        (["environment=demo"], True),
        (["environment=other"], False),
        (["policy=~restart"], False),  # not every alert has one
        (["service=~[[:alpha:]]+"], True),  # Python would read it otherwise
        (["service=~(?i:a"], True),
    ],
)
def test_what_matches_everything(matchers: list[str], everything: bool) -> None:
    values = {
        "service": {"api", "web"},
        "team": {"shop"},
        "environment": {"demo"},
        "policy": {"restart"},
    }
    found = silences.matches_everything([Matcher.parse(m) for m in matchers], values)
    assert (found is not None) is everything
